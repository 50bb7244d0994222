"""Compressed files: back bit for bit, and never silently wrong."""

import functools
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_jax.codec import container, header
from latent_jax.codec.compress import compress_file, decompress_file, open_tokenizer
from latent_jax.codec.header import read_header
from latent_jax.tokenizers import AC, Bytes, EqualInfoAC, GZip, StaticAC
from tests.codec.packing import pack, unpack
from tests.codec.versions import as_version_1
from tests.tokenizers.byte_models import byte_model

TEXT = b"".join(b"%d green bottles, " % i for i in range(3000))


@pytest.fixture(scope="module", params=["bytes", "gzip", "static"])
def tokenizer(request):
    return {
        "bytes": Bytes(),
        "gzip": GZip(65536),
        "static": StaticAC.train([TEXT], 2),
    }[request.param]


@given(raw=st.binary(max_size=300))
@settings(max_examples=30)
def test_any_bytes_come_back(tokenizer, raw):
    assert unpack(pack(raw, tokenizer), tokenizer) == raw


def test_several_blocks_come_back(tokenizer, monkeypatch):
    monkeypatch.setattr(container, "BLOCK_TEXTS", 2)
    assert len(TEXT) > 2 * container.TEXT_BYTES
    packed = pack(TEXT, tokenizer)
    assert unpack(packed, tokenizer) == TEXT


def test_no_flipped_bit_changes_the_text_unnoticed(tokenizer):
    packed = bytearray(pack(TEXT[:700], tokenizer))
    unharmed = []
    for at in range(len(packed)):
        packed[at] ^= 1 << at % 8
        try:
            assert unpack(bytes(packed), tokenizer) == TEXT[:700]
            unharmed.append(at)
        except ValueError as error:
            assert "FILE" in str(error)
        packed[at] ^= 1 << at % 8
    assert len(unharmed) <= 3, "only bits that fill up a token stand for nothing"


def test_no_cut_goes_unnoticed(tokenizer):
    packed = pack(TEXT[:700], tokenizer)
    for n_bytes in range(len(packed)):
        with pytest.raises(container.ContainerError, match=r"cut short|was not written by"):
            unpack(packed[:n_bytes], tokenizer)
    with pytest.raises(container.ContainerError, match="its end does not fit"):
        unpack(packed + b"x", tokenizer)


def test_another_tokenizer_is_refused():
    packed = pack(TEXT[:100], StaticAC.train([TEXT], 256))
    with pytest.raises(
        ValueError, match=r"StaticAC\[v=256\] of fingerprint .*, and here is StaticAC"
    ):
        unpack(packed, StaticAC.train([TEXT + b"x"], 256))


def test_files_appear_whole_or_not_at_all(tmp_path):
    raw, packed, copy = tmp_path / "raw", tmp_path / "raw.latent", tmp_path / "copy"
    raw.write_bytes(TEXT)
    compress_file(raw, packed, lambda: GZip(65536))
    decompress_file(packed, copy)
    assert copy.read_bytes() == TEXT
    with pytest.raises(ValueError, match="exists already"):
        decompress_file(packed, copy)
    content = packed.read_bytes()
    packed.write_bytes(content[:-40])
    with pytest.raises(container.ContainerError, match="cut short"):
        decompress_file(packed, tmp_path / "other")
    packed.write_bytes(b"PK" + content[2:])
    with pytest.raises(container.ContainerError, match="was not written by"):
        decompress_file(packed, tmp_path / "other")
    with pytest.raises(ValueError, match="cannot be read"):
        compress_file(tmp_path / "missing", tmp_path / "other", lambda: GZip(256))
    with pytest.raises(ValueError, match="cannot be written"):
        compress_file(raw, tmp_path / "no" / "folder", lambda: GZip(256))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "raw", "raw.latent"]


def test_the_lanes_of_the_byte_model_are_in_the_file(tmp_path, monkeypatch):
    """A decoder has as many as the encoder; a file that says nothing has those of old."""
    raw, packed, older = (tmp_path / name for name in ("raw.txt", "raw.latent", "raw.older"))
    raw.write_bytes(TEXT[:100])
    make = functools.partial(open_tokenizer, "AC[v=256]", lanes=3, is_exact=False)
    compress_file(raw, packed, make)
    with open(packed, "rb") as file:
        assert read_header(file, "FILE").lanes == 3
    decompress_file(packed, tmp_path / "copy.txt")
    assert (tmp_path / "copy.txt").read_bytes() == TEXT[:100]
    older.write_bytes(as_version_1(packed.read_bytes(), without=["lanes"]))
    monkeypatch.setattr(header, "OLD_LANES", 4)
    with pytest.raises(ValueError, match=r"was written with AC\[v=256\]"):
        decompress_file(older, tmp_path / "none.txt")
    monkeypatch.setattr(header, "OLD_LANES", 3)
    decompress_file(older, tmp_path / "older.txt")
    assert (tmp_path / "older.txt").read_bytes() == TEXT[:100]


class Noting(GZip):
    """Notes how many texts it codes at a time."""

    def __init__(self, width):
        super().__init__(256)
        self.encode_width = self.decode_width = width
        self.encoded, self.decoded = [], []

    def encode_batch(self, texts):
        self.encoded.append(len(texts))
        return super().encode_batch(texts)

    def decode_batch(self, batch, max_bytes=None):
        self.decoded.append(len(batch))
        return super().decode_batch(batch, max_bytes)


@pytest.mark.parametrize(
    ("width", "max_texts", "sizes"),
    [
        (1, 99, [2, 2, 2, 1]),  # block by block
        (3, 99, [4, 3]),
        (99, 99, [7]),
        (99, 4, [4, 3]),  # as memory takes
    ],
)
def test_blocks_are_coded_together_and_stored_as_ever(width, max_texts, sizes, monkeypatch):
    monkeypatch.setattr(container, "BLOCK_TEXTS", 2)
    monkeypatch.setattr(container, "MAX_TEXTS", max_texts)
    monkeypatch.setattr(container, "TEXT_BYTES", 500)
    tokenizer, text = Noting(width), TEXT[:3300]
    packed = pack(text, tokenizer)
    assert unpack(packed, tokenizer) == text
    assert tokenizer.encoded == tokenizer.decoded == sizes
    assert packed == pack(text, GZip(256))


def test_a_byte_model_has_as_many_texts_as_all_its_workers_take(monkeypatch):
    model = byte_model(lanes=2)
    alone = AC(model, 256)
    monkeypatch.setattr(container, "BLOCK_TEXTS", 2)
    monkeypatch.setattr(container, "TEXT_BYTES", 40)
    packed = pack(TEXT[:1000], alone)  # blocks of 8 texts, 2 side by side
    monkeypatch.setattr(model, "workers", 3)
    busy = set()
    monkeypatch.setattr(model, "start", lambda worker=0: busy.add(worker) or model_start(worker))
    model_start = type(model).start.__get__(model)
    many = AC(model, 256)
    assert (many.encode_width, many.decode_width) == (6, 6)
    assert pack(TEXT[:1000], many) == packed and busy == set(range(3))
    busy.clear()
    assert unpack(packed, many) == TEXT[:1000] and busy == set(range(3))
    windows = EqualInfoAC(model, 32, 256), EqualInfoAC(model, 128, 256, reset="never")
    assert [tokenizer.encode_width for tokenizer in windows] == [6, 6]
    assert [tokenizer.decode_width for tokenizer in windows] == [1, 6]


def test_a_block_feeds_all_lanes_four_times():
    model = byte_model(lanes=80)
    sizes = []

    class Source(io.BytesIO):
        def read(self, size):
            sizes.append(size)
            return super().read(size)

    list(container.compress(Source(TEXT[:50]), io.BytesIO(), AC(model, 256)))
    list(container.compress(Source(TEXT[:50]), io.BytesIO(), Bytes()))
    texts = [size // container.TEXT_BYTES for size in sizes]
    assert texts == [320, 320, 256, 256]
