"""Compressed files that are damaged at random: each is refused by name, or comes back to the bit.

Of every kind of block, and of the default method's, which the integer M1 codes. Besides bytes that
are flipped, cut out, put in and doubled, numbers are replaced by those at which a reader stops.
Hundreds by default; 100,000 take hours:

    python -m pytest -n 0 -m slow tests/faults/containers_test.py

configs/results/faults.md says how many have been tried.
"""

import functools
import io
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_jax.codec import container, header, reading
from latent_jax.codec.compress import DEFAULT, open_tokenizer
from latent_jax.codec.container import BLOCK_TEXTS, MAX_TEXTS, TEXT_BYTES
from latent_jax.codec.header import MAX_HEADER_BYTES, MAX_LANES, read_header
from latent_jax.codec.reading import PIECE_BYTES, ContainerError, read_bytes
from latent_jax.tokenizers import Bytes, StaticAC
from tests.codec.packing import pack, unpack
from tests.faults.compress_test import IDENTITY, NOISE, TEXT, ZEROS, gzip, with_header

MANY = 100_000

ENGLISH = b"The three currently living species are: African savanna elephants, African forest "
ENGLISH += b"elephants, and the Asian elephants. They are the largest living land animals."

LIMITS = sorted(
    {0, 1, 2**31 - 1, 2**31, 2**32 - 1}
    | {
        limit + step
        for limit in (
            *(TEXT_BYTES, BLOCK_TEXTS, BLOCK_TEXTS * TEXT_BYTES, MAX_TEXTS, MAX_TEXTS * TEXT_BYTES),
            *(MAX_HEADER_BYTES, MAX_LANES, PIECE_BYTES),
        )
        for step in (-1, 0, 1)
    }
)
"""Numbers at which something is refused, cut or read in another piece."""


@functools.cache
def default():
    return open_tokenizer(DEFAULT)


@pytest.fixture(scope="module")
def containers():
    """A container of each kind of block, with the tokenizer that reads it."""
    static = StaticAC.train([TEXT], 256)
    mixed = TEXT * 12 + NOISE * 25
    return [
        (mixed, pack(mixed, gzip()), gzip()),
        (TEXT, pack(TEXT, static), static),
        (NOISE, pack(NOISE, Bytes()), Bytes()),
        (ENGLISH, pack(ENGLISH, default()), default()),
    ]


def test_the_default_method_is_among_them(containers):
    raw, packed, tokenizer = containers[-1]
    assert read_header(io.BytesIO(packed), "FILE").model == tokenizer.model_digest
    assert ENGLISH[:20] not in packed, "its block is no stored one"
    assert unpack(packed, tokenizer) == raw


@given(data=st.data())
@settings(max_examples=300)
def test_a_damaged_container_is_refused_or_harmless(containers, data):
    raw, packed, tokenizer = data.draw(st.sampled_from(containers))
    check_damaged(raw, damaged(packed, data), tokenizer)


@given(data=st.data())
@settings(max_examples=60)
def test_a_damaged_file_of_the_default_method_is_refused_or_harmless(containers, data):
    raw, packed, tokenizer = containers[-1]
    check_damaged(raw, damaged(packed, data), tokenizer)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=MANY)
def test_no_damage_of_many_goes_unnoticed(containers, data):
    raw, packed, tokenizer = data.draw(st.sampled_from(containers))
    check_damaged(raw, damaged(packed, data), tokenizer)


def damaged(packed, data):
    """A container that is changed at one to three places, most of them near its start."""
    packed = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 3))):
        far = data.draw(st.booleans())
        at = data.draw(st.integers(0, len(packed) if far else min(250, len(packed))))
        size = data.draw(st.integers(1, 9))
        match data.draw(st.integers(0, 5)):
            case 0:
                packed[at : at + size] = data.draw(st.binary(min_size=size, max_size=size))
            case 1:
                del packed[at : at + size]
            case 2:
                packed[at:at] = data.draw(st.binary(min_size=1, max_size=9))
            case 3:
                packed[at:at] = packed[at : at + 4 * size]
            case 4:
                del packed[at:]
            case 5:
                packed[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from(LIMITS)))
    return bytes(packed)


def check_damaged(raw, packed, tokenizer):
    source, target = io.BytesIO(packed), io.BytesIO()
    try:
        found = read_header(source, "FILE")
        for _ in container.decompress(source, target, tokenizer, found, "FILE"):
            pass
    except ValueError as error:
        assert "FILE" in str(error) and str(error).isprintable()
        return
    # A flipped bit that fills up a token, or damage that was undone, changes nothing.
    assert target.getvalue() == raw


# --- At the limits of reading: what is just within comes back, what is just beyond is refused.


@pytest.mark.parametrize("number", LIMITS)
@pytest.mark.parametrize("place", ["bytes", "texts", "ids", "packed"])
def test_numbers_of_a_block_at_the_limits_take_no_memory_and_are_refused(number, place):
    """Each number of the one block of a container of `ENGLISH`, in `IDENTITY`'s method."""
    values = {"bytes": 5, "checksum": 0, "texts": 1, "ids": 5, "packed": 5, place: number}
    packed = with_header(IDENTITY, b"".join(struct.pack("<I", v) for v in values.values()) + b"abc")
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match="FILE is"):
            source = io.BytesIO(packed)
            found = read_header(source, "FILE")
            [*container.decompress(source, io.BytesIO(), Bytes(), found, "FILE")]
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("texts", [1, 2, 3])
@pytest.mark.parametrize("tokenizer", [gzip, lambda: StaticAC.train([TEXT], 256)])
def test_files_as_long_as_a_text_or_a_block_come_back(monkeypatch, tokenizer, texts, extra):
    monkeypatch.setattr(container, "TEXT_BYTES", 200)
    monkeypatch.setattr(container, "BLOCK_TEXTS", 2)
    content = (TEXT * 2)[: 200 * texts + extra]
    assert unpack(pack(content, tokenizer()), tokenizer()) == content


@pytest.mark.parametrize("texts", [1, 2, 3])
def test_files_of_the_default_method_as_long_as_a_text_come_back(monkeypatch, texts):
    monkeypatch.setattr(container, "TEXT_BYTES", 50)
    for extra in (-1, 0, 1):
        content = ENGLISH[: 50 * texts + extra]
        assert unpack(pack(content, default()), default()) == content


@pytest.mark.parametrize("extra", [0, 1])
def test_a_header_may_have_its_most_bytes_and_no_more(extra):
    content = with_header(IDENTITY)[12:-4]
    packed = with_header(content.ljust(header.MAX_HEADER_BYTES + extra))
    if not extra:
        assert read_header(io.BytesIO(packed), "FILE").method == "Bytes"
        return
    with pytest.raises(ContainerError, match="FILE is damaged: a header of 4,097 bytes"):
        read_header(io.BytesIO(packed), "FILE")


@pytest.mark.parametrize("lanes", [header.MAX_LANES, header.MAX_LANES + 1])
def test_a_header_may_have_its_most_lanes_and_no_more(lanes):
    words = dict(method="AC[v=256]", fingerprint=ZEROS, id_bits=8, lanes=lanes)
    packed = io.BytesIO(with_header(words))
    if lanes == header.MAX_LANES:
        assert read_header(packed, "FILE").lanes == lanes
        return
    with pytest.raises(ContainerError, match="lanes is 1025"):
        read_header(packed, "FILE")


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_bytes_are_read_over_the_ends_of_pieces(monkeypatch, extra):
    monkeypatch.setattr(reading, "PIECE_BYTES", 8)
    for n_pieces in (1, 2):
        content = bytes(range(8 * n_pieces + extra))
        assert read_bytes(io.BytesIO(content), len(content), "FILE") == content
        with pytest.raises(ContainerError, match="FILE is cut short: at least 1 bytes"):
            read_bytes(io.BytesIO(content), len(content) + 1, "FILE")
