"""The header of a file of arrays: its numbers may come from anybody."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from latent_jax.array_files import ITEM_BYTES, ArrayFileError, read_array, read_header, view
from latent_jax.models import safetensors
from tests.launching import environment

ARRAYS = {"a": np.arange(4, dtype=np.float32).reshape(2, 2), "b": np.arange(3, dtype=np.int8)}
WHOLE = safetensors.to_bytes(ARRAYS)
ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def made(header, body=bytes(8)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_the_header_says_where_arrays_are():
    header = read_header(io.BytesIO(WHOLE))
    assert header.metadata == {"format": "pt"} and [*header.entries] == ["a", "b"]
    for name, array in ARRAYS.items():
        entry = header.entries[name]
        np.testing.assert_array_equal(view(WHOLE, entry, array.dtype), array)
        np.testing.assert_array_equal(read_array(io.BytesIO(WHOLE), entry, array.dtype), array)
    assert read_header(io.BytesIO(made({"a": ENTRY}))).metadata == {}
    assert read_header(io.BytesIO(made({}, b""))).entries == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a header of 0 bytes in 0: the file is cut off"),
        (WHOLE[:20], "the file is cut off"),
        (b"\xff" * 30, "the file is cut off"),
        (WHOLE[:-1], "b ends at byte 19 of 18: it is cut off"),
        (WHOLE + b"x", "1 bytes behind the last array belong to none"),
        (made(b"[]"), "its header is not that of safetensors: it holds an empty list"),
        (made(b"{" * 100_000), "its header is not that of safetensors"),
        (made(b"[" * 100_000), "nested too deeply"),
        (made(b"\xff\xff"), "is not UTF-8 text"),
        (made({"a": 5}), "holds 5 at 'a', where an object was expected"),
        (made({"__metadata__": {"a": 1}}), "holds 1 at 'a', where text was expected"),
        (made({"__metadata__": []}), "__metadata__ holds an empty list"),
        (made({"a": {**ENTRY, "dtype": None}}), "a has null as its 'dtype'"),
        (made({"a": {**ENTRY, "dtype": "F8"}}), "a is F8; only F64, "),
        (made({"a": {**ENTRY, "dtype": "\x1b[31m"}}), r"a is '\\x1b\[31m'; only"),
        (made({"\x1b": {**ENTRY, "shape": [3]}}), r"'\\x1b' has 8 bytes, and its shape is \[3\]"),
        (made({"a": {**ENTRY, "shape": "2"}}), "as its 'shape', where a list was expected"),
        (made({"a": {**ENTRY, "shape": [2.0]}}), "shape of a holds 2.0"),
        (made({"a": {**ENTRY, "shape": [True]}}), "shape of a holds true"),
        (made({"a": {**ENTRY, "shape": [-2]}}), r"a has \[-2\] as its shape"),
        (made({"a": {**ENTRY, "shape": [-2, -1]}}), r"a has \[-2, -1\] as its shape"),
        (made({"a": {**ENTRY, "shape": [2] + [1] * 32}}), "as its shape"),
        (made({"a": {**ENTRY, "shape": [0, 10**30], "data_offsets": [0, 0]}}), "as its shape"),
        (made({"a": {**ENTRY, "shape": [0, 2**40, 2**40]}}), "as its shape"),
        (made({"a": {**ENTRY, "shape": [3]}}), r"a has 8 bytes, and its shape is \[3\] of F32"),
        (made({"a": {**ENTRY, "data_offsets": [0]}}), r"a has \[0\] as its data_offsets"),
        (made({"a": {**ENTRY, "data_offsets": [0, 8, 8]}}), "as its data_offsets"),
        (made({"a": {**ENTRY, "data_offsets": [-8, 0]}}), "as its data_offsets"),
        (made({"a": {**ENTRY, "data_offsets": [8, 0]}}), "as its data_offsets"),
        (made({"a": {**ENTRY, "data_offsets": [0, 10**30]}}), "it is cut off"),
        (made({"a": {**ENTRY, "data_offsets": [0, 1e999]}}), "no number of JSON"),
        (made({"a": {**ENTRY, "more": 1}}), "a has more, which the format does not have"),
        (made({"a": ENTRY, "b": ENTRY}), "b begins at byte 0 and overlaps another array"),
        (
            made({"a": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
            "a begins at byte 4 and has a gap before it",
        ),
        (
            made(json.dumps({"a": ENTRY, "c": ENTRY}).replace("c", "a").encode()),
            "not that of safetensors: .* a is there twice",
        ),
    ],
)
def test_a_header_that_does_not_hold_is_refused(content, message):
    with pytest.raises(ArrayFileError, match=message) as error:
        read_header(io.BytesIO(content))
    assert str(error.value).isprintable() and len(str(error.value)) < 300


def test_a_flipped_bit_of_a_header_gives_no_other_error():
    random, n_header = np.random.default_rng(0), 8 + int.from_bytes(WHOLE[:8], "little")
    n_refused = 0
    for at in range(8 * n_header):
        damaged = bytearray(WHOLE)
        damaged[at // 8] ^= 1 << at % 8
        damaged[random.integers(n_header)] ^= 1 << random.integers(8)
        try:
            read_header(io.BytesIO(bytes(damaged)))
        except ArrayFileError:
            n_refused += 1
    assert n_refused > 7 * n_header


def test_all_that_is_read_has_a_dtype_of_its_size():
    assert {word: dtype.itemsize for word, dtype in safetensors.DTYPES.items()} == ITEM_BYTES


def test_it_needs_no_jax():
    code = "import sys, latent_jax.array_files, latent_jax.exact.model_file; print(*sys.modules)"
    words = dict(capture_output=True, text=True, check=True, env=environment())
    found = subprocess.run([sys.executable, "-c", code], **words).stdout.split()
    assert "latent_jax.array_files" in found and "jax" not in found
