"""A compressed file: any bytes through a tokenizer and back, bit for bit.

    magic, version      8 bytes
    header              length, then JSON: method and bits of an id; in version 1 the fingerprint
                        of the tokenizer, and the lanes of a float byte model that drives it; in
                        version 2 the SHA-256 of the file of the integer byte model that does
    blocks              length of the raw bytes, their CRC-32, number of texts, ids of each text,
                        length of the packed ids, the packed ids
    end                 a block of 0 raw bytes, then the length of everything and its SHA-256

A block is cut into texts of 10,240 bytes: 256, or as many as a byte model's lanes take four times.
Each text begins anew, which costs AC under the integer model about 5 bits, and 4 bytes for its
length. tests/exact/reference.py reads version 2 of AC in 200 lines. One block is in memory at a
time, or as many as the workers of a byte model code side by side.
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
EXACT_MAGIC = b"latentj\x02"
TEXT_BYTES = 10_240
BLOCK_TEXTS = 256
MAX_TEXTS = 1 << 15
"""Of blocks that are coded together: 336 MB. A coder takes 50 times as much memory meanwhile."""

_NUMBER = struct.Struct("<I")
_TOTAL = struct.Struct("<Q32s")


class ContainerError(ValueError):
    """A compressed file is foreign, cut short or damaged."""


def id_bits(tokenizer: Tokenizer) -> int:
    """Return the bits that an id is stored in; the separator, often the highest id, never is."""
    highest = tokenizer.vocab_size - 1
    return (highest - (tokenizer.separator_id == highest)).bit_length()


_SHARED = {"method": lambda tokenizer: tokenizer.name, "id_bits": id_bits}
_IDENTITY = {
    1: _SHARED | {"fingerprint": lambda tokenizer: tokenizer.fingerprint()},
    2: _SHARED | {"model": lambda tokenizer: tokenizer.model_digest},
}
"""Version -> what decides how ids are read."""


def _header(tokenizer: Tokenizer) -> bytes:
    version = 2 if tokenizer.model_digest else 1
    header = {key: value(tokenizer) for key, value in _IDENTITY[version].items()}
    if version == 1 and tokenizer.lanes:
        header["lanes"] = tokenizer.lanes  # so that a decoder can be made that has as many
    content = json.dumps(header).encode()
    return (MAGIC, EXACT_MAGIC)[version - 1] + _NUMBER.pack(len(content)) + content


def compress(source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer) -> Iterator[int]:
    """Write a container; yields the raw bytes of each block when it has been written."""
    width = id_bits(tokenizer)
    target.write(_header(tokenizer))
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
    """Yield as many blocks at a time as hold so many texts, or as memory takes."""
    group: list[Sequence] = []
    for block in blocks:
        group.append(block)
        if sum(map(len, group)) >= min(n_texts, MAX_TEXTS):
            yield group
            group = []
    if group:
        yield group


def read_header(source: BinaryIO, name: str) -> dict:
    """Return version, method, id_bits, and by version fingerprint and lanes, or model; older files
    do not state lanes.

    Raises:
        ContainerError: this is no container, or another version of one.
    """
    start = source.read(len(MAGIC))
    if start[:-1] != MAGIC[:-1]:
        raise ContainerError(
            f"{name} was not written by launch/compress.py (its first bytes differ)"
        )
    if start not in (MAGIC, EXACT_MAGIC):
        raise ContainerError(
            f"{name} is a container of version {start[-1]}, and this program reads 1 and 2"
        )
    try:
        header = json.loads(_read(source, _read_number(source, name), name))
        known = {key: header[key] for key in _IDENTITY[start[-1]]} | {"version": start[-1]}
        return known | {"lanes": int(header["lanes"])} if "lanes" in header else known
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ContainerError):
            raise
        raise ContainerError(f"{name} is damaged: its header cannot be read ({error})") from error


def decompress(
    source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer, header: dict, name: str
) -> Iterator[int]:
    """Write the raw bytes; yields those of each block when it has been written.

    Args:
        source: behind the header.
        target: receives text as soon as its block is verified; what was written is wrong as a whole
            where an error follows.
        tokenizer: of the header's method.
        header: from `read_header`.
        name: of the file, for messages.

    Raises:
        ContainerError: the file is cut short or damaged.
        ValueError: the tokenizer is another one.
    """
    identity = _IDENTITY[header["version"]]
    if any(header[key] != value(tokenizer) for key, value in identity.items()):
        if header["version"] == 2:
            raise ValueError(
                f"{name} was written with {header['method']} driven by the integer byte model "
                f"{str(header['model'])[:12]}, and here is {tokenizer.name} with "
                f"{tokenizer.model_digest[:12] or 'none'}: give that model with --m1"
            )
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
        raise ContainerError(f"{name} is damaged: its end does not belong to what is before it")


class _Block:
    """A block as it is stored; its length is the number of its texts."""

    def __init__(self, n_bytes: int, source: BinaryIO, name: str):
        """Read what follows the length of the raw bytes."""
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
        raise ContainerError(f"{name} is cut short: {n_bytes - len(content)} bytes or more lack")
    return content


def _read_number(source: BinaryIO, name: str) -> int:
    return _NUMBER.unpack(_read(source, _NUMBER.size, name))[0]
