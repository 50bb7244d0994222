"""The header of a GGUF file: all its numbers may come from anybody."""

import io
import struct

import numpy as np
import pytest

from latent_jax.models.gguf import GGUFError, open_gguf, read_header
from tests.models.gguf_files import made, text

WORDS = {
    "a.u8": ("u8", 200),
    "a.i8": ("i8", -3),
    "a.u16": ("u16", 60_000),
    "a.i16": ("i16", -300),
    "a.u32": ("u32", 2**32 - 1),
    "a.i32": ("i32", -(2**31)),
    "a.f32": ("f32", 1e-5),
    "a.bool": ("bool", True),
    "a.text": ("str", "Ġé"),
    "a.u64": ("u64", 2**64 - 1),
    "a.i64": ("i64", -(2**63)),
    "a.f64": ("f64", 0.1),
    "a.numbers": (["i32"], [3, -1, 4]),
    "a.texts": (["str"], ["x", "", "yz"]),
    "a.bools": (["bool"], [True, False]),
    "a.nested": ([["u8"]], [[1, 2], []]),
    "a.nothing": (["str"], []),
}
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
BLOCKS = np.arange(4 * 18, dtype=np.uint8).tobytes()
TENSORS = {"one": ARRAY, "two": (2, (64, 2), BLOCKS)}
WHOLE = made(WORDS, TENSORS)


def header(content):
    return read_header(io.BytesIO(content))


@pytest.mark.parametrize("version", [2, 3])
def test_every_type_of_value_and_the_tensors_come_back(version, tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(made(WORDS, TENSORS, version))
    found = open_gguf(path)
    for key, (_, value) in WORDS.items():
        theirs = found.words[key]
        if key == "a.nested":
            theirs = [[*item] for item in theirs]
        assert (theirs.tolist() if isinstance(theirs, np.ndarray) else theirs) == value, key
        assert key != "a.bool" or theirs is True
    np.testing.assert_array_equal(found.read("one"), ARRAY)
    assert found.read("two").shape == (2, 64)
    assert found.tensors["two"].first % 32 == 0


@pytest.mark.parametrize("alignment", [1, 8, 512])
def test_tensors_lie_at_multiples_of_the_alignment(alignment, tmp_path):
    path = tmp_path / "a.gguf"
    words = {"general.alignment": alignment}
    path.write_bytes(made(words, TENSORS, alignment=alignment))
    found = open_gguf(path)
    assert all(tensor.first % alignment == 0 for tensor in found.tensors.values())
    np.testing.assert_array_equal(found.read("one"), ARRAY)


def test_the_last_tensor_need_not_be_padded(tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(made({}, {"one": ARRAY})[:-8])
    np.testing.assert_array_equal(open_gguf(path).read("one"), ARRAY)


def infos(*axes, kind=0, offset=0, body=bytes(64)):
    """Return a file of one tensor of any numbers."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I", len(axes))
    head += struct.pack(f"<{len(axes)}QIQ", *axes, kind, offset)
    return head + bytes(-len(head) % 32) + body


def counts(n_tensors, n_words, rest=b""):
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_words) + rest


def word(kind, rest):
    return counts(0, 1, text("k") + struct.pack("<I", kind) + rest)


def nested(depth):
    return word(9, struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQ", 0, 0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the magic ends behind the file, which has 0 bytes"),
        (b"GGML" + WHOLE[4:], "does not begin with the letters GGUF"),
        (made({}, {}, version=1), "it is of the version 1 kind"),
        (made({}, {}, version=3 << 24), "it is of the big-endian kind"),
        (WHOLE[:7], "the version ends behind the file"),
        (counts(2**63, 0), "9,223,372,036,854,775,808 tensors do not fit into 24 bytes"),
        (counts(0, 2**64 - 1), "keys do not fit into 24 bytes"),
        (counts(0, 1, struct.pack("<Q", 2**40) + bytes(20)), "a key ends behind the file"),
        (counts(0, 1, text(b"\xff") + bytes(20)), "a key is not UTF-8 text"),
        (word(13, bytes(8)), "k has a value of the unknown type 13"),
        (word(7, b"\2"), "k has a byte that is neither true nor false"),
        (word(4, b"\0"), "k ends behind the file"),
        (word(8, struct.pack("<Q", 2**60)), "k ends behind the file"),
        (word(9, struct.pack("<IQ", 77, 0)), "k has values of the unknown type 77"),
        (word(9, struct.pack("<IQ", 4, 2**61)), "values of k do not fit into"),
        (word(9, struct.pack("<IQ", 8, 2**40)), "values of k do not fit into"),
        (nested(100_000), "k has arrays in arrays, more than 4 deep"),
        (counts(0, 2, 2 * (text("k") + struct.pack("<IB", 0, 1))), "the key k is there twice"),
        (made({"general.alignment": 24}, TENSORS), "general.alignment is 24; it is a power of 2"),
        (made({"general.alignment": ("u64", 2**63)}, TENSORS), "general.alignment is 922"),
        (made({"general.alignment": True}, TENSORS), "general.alignment is True"),
        (made({"general.alignment": "32"}, TENSORS), "general.alignment is 32; it is a power"),
        (infos(), "t has 0 axes"),
        (infos(1, 1, 1, 1, 1), "t has 5 axes"),
        (infos(4, kind=13), "t is of type Q5_K; F32, F16, Q4_0, Q4_1, Q8_0, Q4_K, Q6_K, BF16 are"),
        (infos(4, kind=999), "t is of type 999"),
        (infos(0), r"t has axes of \[0\]"),
        (infos(33, kind=2), "Q4_0 needs rows of whole blocks of 32"),
        (infos(2**40, 2**40, 2**40), "t needs .* bytes at 96 of 160"),
        (infos(32), "t needs 128 bytes at 64 of 128"),
        (infos(4, offset=32), "t begins at byte 32, and the one before ends 0"),
        (infos(8, body=bytes(96)), "64 bytes behind the last tensor belong to none"),
        (WHOLE[:-40], "two needs 72 bytes"),
        (WHOLE + bytes(40), "40 bytes behind the last tensor"),
    ],
)
def test_what_is_no_whole_file_is_refused_in_a_line(content, message):
    with pytest.raises(GGUFError, match=message):
        header(content)


def test_a_header_that_is_cut_anywhere_is_refused():
    n_header = WHOLE.index(ARRAY.tobytes())
    for length in range(0, n_header, 3):
        with pytest.raises(GGUFError):
            header(WHOLE[:length])


def test_flipped_bytes_are_read_or_refused_and_never_raise_another_error():
    random = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(WHOLE)
        for at in random.integers(0, len(content) - 150, 3):
            content[at] = random.integers(256)
        try:
            header(bytes(content))
        except GGUFError as error:
            assert str(error).isprintable()


def test_names_that_a_message_shows_are_printable():
    with pytest.raises(GGUFError, match=r"'\\x1b\[31m' is of type Q5_K"):
        header(infos(4, kind=13).replace(text("t"), text("\x1b[31m")))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(GGUFError, match=r"no\.gguf cannot be read: No such file"):
        open_gguf(tmp_path / "no.gguf")
    (tmp_path / "a.gguf").write_bytes(b"text")
    with pytest.raises(GGUFError, match=r"a\.gguf is no GGUF that can be read: it does not begin"):
        open_gguf(tmp_path / "a.gguf")


def test_the_library_reads_the_same(tmp_path):
    gguf = pytest.importorskip("gguf", reason="pip install gguf")
    path = tmp_path / "a.gguf"
    # The library refuses arrays of arrays and empty ones.
    words = {k: v for k, v in WORDS.items() if k not in ("a.nested", "a.nothing")}
    path.write_bytes(made(words, TENSORS))
    theirs, ours = gguf.GGUFReader(path), open_gguf(path)
    for key in words:
        value, mine = theirs.fields[key].contents(), ours.words[key]
        mine = mine.tolist() if isinstance(mine, np.ndarray) else mine
        assert value == pytest.approx(mine) if isinstance(value, float) else value == mine
    for tensor in theirs.tensors:
        whole = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours.read(tensor.name), whole)
