"""The format of compressed files: any bytes, as ids of a tokenizer, restored bit for bit.

    magic, version      8 bytes
    header              length, then JSON: method, fingerprint of the tokenizer, bits of an id; and
                        the lanes of the byte model, for a coder that one drives
    blocks              length of the raw bytes, their CRC-32, number of texts, ids of each text,
                        length of the packed ids, the packed ids
    end                 a block of 0 raw bytes, then the length of everything and its SHA-256

A block is cut into texts of 10,240 bytes: 256 of them, or four for each lane of the byte model if
that is more. One block is in memory at a time, or as many as the workers of a byte model code side
by side.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.bits import from_tokens

MAGIC = b"latentj\x01"
TEXT_BYTES = 10_240
BLOCK_TEXTS = 256
MAX_TEXTS = 1 << 15
"""Texts of blocks that are coded together, at most: 336 MB. A coder takes about 50 times as much
memory meanwhile."""

_NUMBER = struct.Struct("<I")
_TOTAL = struct.Struct("<Q32s")


class ContainerError(ValueError):
    """A compressed file is foreign, cut short or damaged."""


def id_bits(tokenizer: Tokenizer) -> int:
    """Return the bits that store an id; the separator, often the highest id, is never stored."""
    highest = tokenizer.vocab_size - 1
    return (highest - (tokenizer.separator_id == highest)).bit_length()


_IDENTITY = {
    "method": lambda tokenizer: tokenizer.name,
    "fingerprint": lambda tokenizer: tokenizer.fingerprint(),
    "id_bits": id_bits,
}


def _header(tokenizer: Tokenizer) -> dict:
    header = {key: value(tokenizer) for key, value in _IDENTITY.items()}
    # The decoder needs the same number of lanes.
    return header | ({"lanes": tokenizer.lanes} if tokenizer.lanes else {})


def compress(source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer) -> Iterator[int]:
    """Write a compressed file; yield the number of raw bytes of each block after it is written."""
    width = id_bits(tokenizer)
    content = json.dumps(_header(tokenizer)).encode()
    target.write(MAGIC + _NUMBER.pack(len(content)) + content)
    n_bytes, digest = 0, hashlib.sha256()
    for blocks in _together(_read_texts(source, tokenizer), tokenizer.encode_width):
        encoded = iter(tokenizer.encode_batch([text for texts in blocks for text in texts]))
        for texts in blocks:
            block, ids = b"".join(texts), [next(encoded)[0] for _ in texts]
            packed = np.packbits(from_tokens(np.concatenate(ids), width)).tobytes()
            target.write(_NUMBER.pack(len(block)) + _NUMBER.pack(zlib.crc32(block)))
            target.write(_NUMBER.pack(len(texts)) + np.array([*map(len, ids)], "<u4").tobytes())
            target.write(_NUMBER.pack(len(packed)) + packed)
            digest.update(block)
            n_bytes += len(block)
            yield len(block)
    target.write(_NUMBER.pack(0) + _TOTAL.pack(n_bytes, digest.digest()))


def _read_texts(source: BinaryIO, tokenizer: Tokenizer) -> Iterator[list[bytes]]:
    """Yield the texts of each block."""
    while block := source.read(max(BLOCK_TEXTS, 4 * tokenizer.lanes) * TEXT_BYTES):
        yield [block[at : at + TEXT_BYTES] for at in range(0, len(block), TEXT_BYTES)]


def _together(blocks: Iterator[Sequence], n_texts: int) -> Iterator[list[Sequence]]:
    """Yield groups of blocks, each with `n_texts` texts or more, or `MAX_TEXTS` if that is less."""
    group: list[Sequence] = []
    for block in blocks:
        group.append(block)
        if sum(map(len, group)) >= min(n_texts, MAX_TEXTS):
            yield group
            group = []
    if group:
        yield group


def read_header(source: BinaryIO, name: str) -> dict:
    """Return "method", "fingerprint", "id_bits" and, except for older files, "lanes".

    Raises:
        ContainerError: this is no compressed file, or one of another version.
    """
    start = source.read(len(MAGIC))
    if start[:-1] != MAGIC[:-1]:
        raise ContainerError(
            f"{name} was not written by launch/compress.py (its first bytes differ)"
        )
    if start != MAGIC:
        raise ContainerError(
            f"{name} is a container of version {start[-1]}, and this program reads {MAGIC[-1]}"
        )
    try:
        header = json.loads(_read(source, _read_number(source, name), name))
        known = {key: header[key] for key in _IDENTITY}
        return known | {"lanes": int(header["lanes"])} if "lanes" in header else known
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ContainerError):
            raise
        raise ContainerError(f"{name} is damaged: its header cannot be read ({error})") from error


def decompress(
    source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer, header: dict, name: str
) -> Iterator[int]:
    """Write the raw bytes; yield the number of raw bytes of each block after it is written.

    Args:
        source: the compressed file, after its header.
        target: receives the text of each block as soon as the block is verified. If an error
            follows, do not use what was written.
        tokenizer: of the header's method.
        header: from `read_header`.
        name: of the file, for messages.

    Raises:
        ContainerError: the file is cut short or damaged.
        ValueError: the tokenizer is not the one of the header.
    """
    if any(header[key] != value(tokenizer) for key, value in _IDENTITY.items()):
        raise ValueError(
            f"{name} was written with {header['method']} of fingerprint "
            f"{header['fingerprint'][:12]}, and here is {tokenizer!r}: use the byte model, the "
            "device and the versions that it was compressed with, or the file is damaged"
        )
    n_bytes, digest = 0, hashlib.sha256()
    for packed in _together(_read_blocks(source, name), tokenizer.decode_width):
        texts = iter(_decode(packed, tokenizer, header["id_bits"], name))
        for one in packed:
            block = b"".join(next(texts) for _ in one.counts)
            if len(block) != one.n_bytes or zlib.crc32(block) != one.checksum:
                raise ContainerError(f"{name} is damaged after {n_bytes} bytes of text (checksum)")
            target.write(block)
            digest.update(block)
            n_bytes += len(block)
            yield len(block)
    total, whole = _TOTAL.unpack(_read(source, _TOTAL.size, name))
    if (total, whole) != (n_bytes, digest.digest()) or source.read(1):
        raise ContainerError(f"{name} is damaged: its end does not fit the blocks before it")


class _Block:
    """A block as it is stored; `len` gives the number of its texts."""

    def __init__(self, n_bytes: int, source: BinaryIO, name: str):
        """Read the rest of a block, after the length of its raw bytes."""
        self.n_bytes, self.checksum = n_bytes, _read_number(source, name)
        n_texts = _read_number(source, name)
        self.counts = np.frombuffer(_read(source, 4 * n_texts, name), "<u4").astype(np.int64)
        self.packed = np.frombuffer(_read(source, _read_number(source, name), name), np.uint8)

    def __len__(self) -> int:
        """Return how many texts it holds."""
        return len(self.counts)


def _read_blocks(source: BinaryIO, name: str) -> Iterator[_Block]:
    while n_bytes := _read_number(source, name):
        yield _Block(n_bytes, source, name)


def _decode(blocks: Sequence[_Block], tokenizer: Tokenizer, width: int, name: str) -> list[bytes]:
    """Return the texts of all blocks."""
    weights = 1 << np.arange(width - 1, -1, -1, dtype=np.int32)
    ids_of_texts = []
    for block in blocks:
        n_ids = int(block.counts.sum())
        if len(block.packed) != -(-n_ids * width // 8):
            raise ContainerError(
                f"{name} is damaged: a block has {len(block.packed)} bytes for {n_ids} ids"
            )
        ids = np.unpackbits(block.packed, count=n_ids * width).reshape(n_ids, width) @ weights
        ids_of_texts += np.split(ids, np.cumsum(block.counts)[:-1])
    try:
        return tokenizer.decode_batch(ids_of_texts)
    except ValueError as error:
        raise ContainerError(f"{name} is damaged: {error}") from error


def _read(source: BinaryIO, n_bytes: int, name: str) -> bytes:
    content = source.read(n_bytes)
    if len(content) != n_bytes:
        raise ContainerError(
            f"{name} is cut short: at least {n_bytes - len(content)} bytes are missing"
        )
    return content


def _read_number(source: BinaryIO, name: str) -> int:
    return _NUMBER.unpack(_read(source, _NUMBER.size, name))[0]
