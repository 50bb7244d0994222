"""Files that are compressed: nothing is lost, replaced or believed, whatever happens meanwhile."""

import importlib.util
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import numba
import numpy as np
import pytest

from latent_jax.codec import compiling, container, new_file
from latent_jax.codec.compress import compare_files, compress_file, decompress_file
from latent_jax.codec.header import MAGIC, VERSION, id_bits
from latent_jax.codec.reading import ContainerError
from latent_jax.tokenizers import AC, BPE, Bytes, EqualInfoAC, GZip, StaticAC
from latent_jax.tokenizers.bits import from_tokens
from tests.codec.packing import pack, unpack
from tests.tokenizers.byte_models import byte_model

TEXT = b"".join(b"%d green bottles, " % i for i in range(60))
NOISE = np.random.default_rng(0).integers(0, 256, 500, np.uint8).tobytes()
NUMBER = struct.Struct("<I")


def gzip():
    return GZip(65536)


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(TEXT)
    return path


def with_header(header, rest=b"", version=VERSION):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    checksum = NUMBER.pack(zlib.crc32(content)) if version > 1 else b""
    start = MAGIC + bytes([version]) + NUMBER.pack(len(content))
    return start + content + checksum + rest


# --- What was written comes back, or compress fails.


class Forgetful(GZip):
    """Loses a byte of every text, as a coder with a mistake may."""

    def encode_batch(self, texts):
        return super().encode_batch([text[:-1] for text in texts])


class Swapping(GZip):
    """Gives another byte back."""

    def decode_batch(self, batch, max_bytes=None):
        return [text.replace(b"7", b"1") for text in super().decode_batch(batch, max_bytes)]


@pytest.mark.parametrize("tokenizer", [Forgetful, Swapping])
def test_what_does_not_come_back_is_not_compressed(raw, tmp_path, tokenizer):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"raw was not compressed: .* does not give it back"):
        compress_file(raw, out, lambda: tokenizer(256))
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    compress_file(raw, out, lambda: tokenizer(256), verify=False)
    assert out.exists()


@pytest.mark.parametrize("words", [dict(), dict(precision=10)])
def test_a_rule_that_may_lose_text_is_refused_for_files(raw, tmp_path, words):
    model = byte_model()
    with pytest.raises(ValueError, match=r"rule=paper.* does not give every text back, and a file"):
        compress_file(raw, tmp_path / "out", lambda: EqualInfoAC(model, 32, 256, "paper", **words))
    assert not (tmp_path / "out").exists()
    assert EqualInfoAC(model, 32, 256, rule="delay").is_lossless


# --- No file is replaced, and none is left half-made.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is no place for a file"),
        (lambda path: os.mkfifo(path), "is no place for a file"),
        (lambda path: path.symlink_to("/dev/null"), "is no place for a file"),
        (lambda path: path.symlink_to("nowhere"), "is no place for a file"),
        (lambda path: path.write_bytes(b""), "exists already"),
    ],
)
def test_a_name_that_is_taken_is_refused_before_a_tokenizer_is_made(raw, tmp_path, make, message):
    make(tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        compress_file(raw, tmp_path / "out", lambda: pytest.fail("made a tokenizer"))


@pytest.mark.parametrize("place", ["raw/out", "raw/folder/out", "nothing/out"])
def test_a_place_below_a_file_is_said_by_its_name(raw, tmp_path, place):
    with pytest.raises(ValueError, match=f"{place} cannot be written: .* is no folder"):
        compress_file(raw, tmp_path / place, gzip)


def test_the_longest_names_are_taken(raw, tmp_path):
    name = tmp_path / ("n" * 255)
    compress_file(raw, name, gzip)
    assert name.exists()
    with pytest.raises(ValueError, match="File name too long"):
        compress_file(raw, tmp_path / ("n" * 256), gzip)


def test_a_full_disk_leaves_nothing(raw, tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(new_file.os, "fsync", fsync)
    with pytest.raises(ValueError, match="out cannot be written: No space left on device"):
        compress_file(raw, tmp_path / "out", gzip)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("n_bytes", [10, 5000, 500_000])
def test_a_disk_that_is_full_is_said_of_the_output(tmp_path, n_bytes):
    """Whether the system says so while bytes are written, at the flush, or when it is closed."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.write_bytes(np.random.default_rng(0).bytes(n_bytes))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(ValueError, match="out cannot be written: File too large"):
            compress_file(raw, out, gzip, verify=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("restore", [compress_file, decompress_file])
def test_an_input_that_fails_is_said_of_the_input(tmp_path, restore):
    """The first page of a process's memory opens, and cannot be read."""
    words = [gzip] if restore is compress_file else []
    with pytest.raises(ValueError, match=r"^/proc/self/mem cannot be read: Input/output error"):
        restore(Path("/proc/self/mem"), tmp_path / "out", *words)
    with pytest.raises(ValueError, match="nothing cannot be read: No such file"):
        restore(tmp_path / "nothing", tmp_path / "out", *words)
    with pytest.raises(
        ValueError, match="is a folder: make it one file first, such as with tar -cf"
    ):
        restore(tmp_path, tmp_path / "out", *words)
    assert not any(tmp_path.iterdir())


def test_a_model_that_fails_is_not_said_of_the_output(raw, tmp_path):
    def make():
        raise OSError(5, "Input/output error", "model")

    with pytest.raises(OSError, match="Input/output error: 'model'"):
        compress_file(raw, tmp_path / "out", make)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


KERNEL = """
import numba

@numba.njit(cache=True)
def kernel(x):
    return x + 1
"""


def test_kernels_are_announced_when_they_are_compiled_and_only_then(tmp_path, capfd, monkeypatch):
    """The second time Numba's cache has them, as in every later process."""

    def kernel(name):
        spec = importlib.util.spec_from_file_location(name, tmp_path / "made.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.kernel

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    (tmp_path / "made.py").write_text(KERNEL)
    line = f"{compiling.LINE}\n"
    for name, said in [("other", ""), ("latent_jax.exact.made", line)]:
        shutil.rmtree(tmp_path / "kept", ignore_errors=True)
        for expected in (said, ""):
            with compiling.announced():
                fresh = kernel(name)
                assert fresh(1) == 2 and fresh(1.5) == 2.5
            assert capfd.readouterr().err == expected
    assert kernel("latent_jax.exact.made")(1j) == 1 + 1j and capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_nothing(tmp_path, number):
    process = writing_half(tmp_path, signal.SIG_DFL)
    process.send_signal(number)
    assert process.wait(30) != 0
    assert [*tmp_path.iterdir()] == []


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path):
    process = writing_half(tmp_path, signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    process.stdin.close()
    assert process.wait(30) == 0
    assert (tmp_path / "out").read_bytes() == b"half"


def writing_half(folder, hang_up):
    """Start a process that has written half of a file and waits for its input to close."""
    code = (
        "import sys, pathlib, signal\n"
        "from latent_jax.command_line import end_in_order\n"
        "from latent_jax.codec.new_file import new_file\n"
        "signal.signal(signal.SIGHUP, int(sys.argv[2]))\n"
        "end_in_order()\n"
        "with new_file(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); print('ready', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "out"), str(int(hang_up))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def test_what_comes_out_of_a_pipe_is_compressed(tmp_path):
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT,))
    writer.start()
    compress_file(pipe, out, gzip)
    writer.join()
    decompress_file(out, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == TEXT


# --- What cannot be made smaller grows by little.


@pytest.mark.parametrize(
    ("content", "most"), [(b"", 70), (b"x", 75), (NOISE, 575), (NOISE[:256] * 45, 11_600)]
)
@pytest.mark.parametrize("tokenizer", [Bytes, gzip, lambda: StaticAC.train([TEXT], 256)])
def test_what_cannot_be_made_smaller_is_stored(content, most, tokenizer):
    packed = pack(content, tokenizer())
    assert len(packed) <= most and unpack(packed, tokenizer()) == content


def test_a_stored_block_stands_among_others(monkeypatch):
    monkeypatch.setattr(container, "BLOCK_TEXTS", 1)
    monkeypatch.setattr(container, "TEXT_BYTES", 500)
    content = TEXT[:500] + NOISE + TEXT[500:1000] + NOISE
    packed = pack(content, gzip())
    assert NOISE in packed and unpack(packed, gzip()) == content
    assert len(packed) < 500 * 3 + 200


def test_a_file_of_nothing_needs_no_tokenizer_to_open(tmp_path):
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.write_bytes(b"")
    compress_file(empty, out, gzip)
    decompress_file(out, tmp_path / "copy", folder="no folder of a tokenizer")
    assert (tmp_path / "copy").read_bytes() == b""
    with pytest.raises(ValueError, match="empty: there is no byte to measure bits of"):
        compare_files([empty], ["Bytes"])


# --- A container from anybody: nothing is believed.

IDENTITY = dict(method="Bytes", fingerprint=Bytes().fingerprint(), id_bits=8)
ZEROS = "00" * 32
MODEL = dict(method="AC[v=256]", model=ZEROS, id_bits=8)


def block(n_bytes, checksum=0, n_texts=1, rest=b""):
    return NUMBER.pack(n_bytes) + NUMBER.pack(checksum) + NUMBER.pack(n_texts) + rest


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (with_header(IDENTITY, block(10, n_texts=0xFFFFFFFF)), "10 raw bytes has 4294967295 texts"),
        (with_header(IDENTITY, block(10, n_texts=2)), "10 raw bytes has 2 texts"),
        (with_header({}, block(10, n_texts=1)), "10 raw bytes has 1 texts"),
        (with_header(IDENTITY, block(0xFFFFFFFF, n_texts=0)), "4294967295 bytes are missing"),
        (with_header(IDENTITY, block(0xFFFFFFFF, n_texts=419431)), "1677724 bytes are missing"),
        (
            with_header(IDENTITY, block(10, rest=NUMBER.pack(0xFFFFFFFF) + NUMBER.pack(4))),
            "at least 4 bytes are missing",
        ),
        (
            with_header(IDENTITY, block(10, rest=NUMBER.pack(0xFFFFFFFF) + NUMBER.pack(0))),
            "a block has 0 bytes for 4294967295 ids",
        ),
        (MAGIC + b"\x02\xff\xff\xff\xff", "a header of 4,294,967,295 bytes"),
        (MAGIC + b"\x02\x01\x10\x00\x00" + b"x" * 5000, "a header of 4,097 bytes"),
        (MAGIC + b"\x03", "file of version 3, and this program reads 1 and 2"),
        (with_header(IDENTITY)[:-4] + b"abcd", "the checksum of its header differs"),
        (with_header(b"[" * 4000), "its header cannot be read"),
        (with_header([]), "its header cannot be read"),
        (with_header(None), "its header cannot be read"),
        (with_header(5), "its header cannot be read"),
        (with_header({}, version=1), "its header cannot be read"),
        (with_header({"method": "Bytes"}), "its header cannot be read"),
        (with_header({**IDENTITY, "method": "\x1b[31mred"}), r"method is '\\x1b\[31mred'"),
        (with_header({**IDENTITY, "method": "Bytes\n"}), r"method is 'Bytes\\n'"),
        (with_header({**IDENTITY, "fingerprint": "\x9b0m"}), r"fingerprint is '\\x9b0m'"),
        (with_header({**IDENTITY, "fingerprint": None}), "fingerprint is None"),
        (with_header({**IDENTITY, "fingerprint": "00" * 31}), "fingerprint is '00"),
        (with_header({**MODEL, "model": "00" * 33}), "model is '00"),
        (with_header({**MODEL, "lanes": 64}), "lanes is 64, and an integer byte model has none"),
        (with_header({**IDENTITY, "id_bits": 1 << 40}), "id_bits is 1099511627776"),
        (with_header({**IDENTITY, "id_bits": True}), "id_bits is True"),
        (with_header({**IDENTITY, "lanes": -1}), "lanes is -1"),
        (with_header({**IDENTITY, "model": "00" * 32}), "a method has a fingerprint or a model"),
        (with_header({"model": "00" * 32}), "a method has a fingerprint or a model"),
        (with_header({**IDENTITY, "lanes": 1e300}), r"lanes is 1e\+300"),
        (with_header({**IDENTITY, "lanes": 10**9}), "lanes is 1000000000"),
        (with_header({**IDENTITY, "lanes": 65536}), "lanes is 65536"),
        (with_header({**IDENTITY, "lanes": 1025}, version=1), "lanes is 1025"),
        (b"\xff\xfe" + b"latentj\x02", "was not written by"),
    ],
)
def test_sizes_and_words_of_a_container_are_not_believed(packed, message):
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match=message) as error:
            unpack(packed, Bytes())
        assert str(error.value).isprintable()
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["\x1b[2Jred", "two\nlines", "a\u202eb", "\udcff\x9b"])
def test_the_name_of_a_file_of_others_is_spelled(tmp_path, name, capsys):
    (tmp_path / name).write_bytes(b"")
    compress_file(tmp_path / name, tmp_path / f"{name}.latent", gzip)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.rstrip("\n").isprintable()
    for wrong in (b"no container", with_header({**IDENTITY, "method": "Nope"})):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(ContainerError) as error:
            decompress_file(tmp_path / name, tmp_path / "copy")
        assert str(error.value).isprintable()
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="cannot be read: No such file") as missing:
        decompress_file(tmp_path / name, tmp_path / "copy")
    assert str(missing.value).isprintable()


@pytest.mark.parametrize(
    "method", ["GZip[v=4294967296]", "GZip[v=256,v=256]", "Nope[x=1]", "AC[v=0]", "-", "a" * 3000]
)
def test_what_is_wrong_with_a_method_is_said_of_the_file(tmp_path, method):
    (tmp_path / "theirs").write_bytes(with_header({**IDENTITY, "method": method}))
    with pytest.raises(ContainerError, match=r"theirs asks for .*: ") as error:
        decompress_file(tmp_path / "theirs", tmp_path / "out")
    assert len(str(error.value)) < 600 + len(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def bomb(tokenizer, text):
    """A container that says 10 raw bytes and holds the ids of another text."""
    ids = tokenizer.encode(text)
    width = id_bits(tokenizer)
    header = dict(
        method=tokenizer.name, fingerprint=tokenizer.fingerprint(), id_bits=id_bits(tokenizer)
    )
    packed = np.packbits(from_tokens(ids, width)).tobytes()
    rest = NUMBER.pack(len(ids)) + NUMBER.pack(len(packed)) + packed
    return with_header(header, block(10, rest=rest) + NUMBER.pack(0) + bytes(40))


def coder():
    return AC(byte_model(), 256)


@pytest.mark.parametrize(
    ("tokenizer", "n_bytes"),
    [
        (gzip, 3_000_000),
        (lambda: GZip(256, header=False), 1100),
        (lambda: StaticAC.train([b"a" * 10_000], 65536), 200_000),
        (lambda: BPE.train([TEXT], 270), 1100),
        (coder, 1100),
    ],
)
def test_ids_that_stand_for_more_than_a_text_are_refused(tokenizer, n_bytes, monkeypatch):
    monkeypatch.setattr(container, "TEXT_BYTES", 1000)
    tokenizer = tokenizer()
    packed = bomb(tokenizer, b"a" * n_bytes)
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match="more than 1000 bytes"):
            unpack(packed, tokenizer)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(packed) + 20e6
    finally:
        tracemalloc.stop()
