"""The format of compressed files: any bytes, as ids of a tokenizer, restored bit for bit.

    magic, version      8 bytes
    header              length, JSON, CRC-32. The JSON has method, fingerprint of the tokenizer,
                        bits of an id, and the lanes of the byte model, for a coder that one drives;
                        it is {} if every block is stored
    blocks              length of the raw bytes, their CRC-32, number of texts, ids of each text,
                        length of the packed ids, the packed ids. A block of 0 texts is stored: its
                        raw bytes follow the number
    end                 a block of 0 raw bytes, then the length of everything and its SHA-256

A block is cut into texts of 10,240 bytes: 256 of them, or four for each lane of the byte model if
that is more. A block is stored where its ids would take more bytes. One block is in memory at a
time, or as many as the workers of a byte model code side by side. Version 1 has no CRC-32 of the
header and no stored blocks.

A file may come from anybody, so its sizes are not believed: bytes are read in pieces, no memory is
taken before they are there, and a text that decodes to more than 10,240 bytes is an error.
"""

import dataclasses
import hashlib
import itertools
import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.bits import from_tokens

MAGIC = b"latentj"
VERSION = 2
MAX_HEADER_BYTES = 4096
MAX_LANES = 1 << 16
PIECE_BYTES = 1 << 20
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


def _header(tokenizer: Tokenizer | None) -> bytes:
    """Return magic, version and header; None = all blocks are stored."""
    header: dict = {}
    if tokenizer is not None:
        header = {key: value(tokenizer) for key, value in _IDENTITY.items()}
        # The decoder needs the same number of lanes.
        header |= {"lanes": tokenizer.lanes} if tokenizer.lanes else {}
    content = json.dumps(header).encode()
    length, checksum = _NUMBER.pack(len(content)), _NUMBER.pack(zlib.crc32(content))
    return MAGIC + bytes([VERSION]) + length + content + checksum


def compress(source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer) -> Iterator[int]:
    """Write a compressed file; yield the number of raw bytes of each block after it is written."""
    blocks = _coded_blocks(source, tokenizer)
    ahead = [*itertools.islice(blocks, 2)]
    is_stored = not ahead or (len(ahead) == 1 and ahead[0].is_stored)
    target.write(_header(None if is_stored else tokenizer))
    n_bytes, digest = 0, hashlib.sha256()
    for raw, content, _ in itertools.chain(ahead, blocks):
        target.write(_NUMBER.pack(len(raw)) + _NUMBER.pack(zlib.crc32(raw)) + content)
        digest.update(raw)
        n_bytes += len(raw)
        yield len(raw)
    target.write(_NUMBER.pack(0) + _TOTAL.pack(n_bytes, digest.digest()))


class _Coded(NamedTuple):
    """A block as it is written: raw bytes, what follows their checksum, whether it is stored."""

    raw: bytes
    content: bytes
    is_stored: bool


def _coded_blocks(source: BinaryIO, tokenizer: Tokenizer) -> Iterator[_Coded]:
    width = id_bits(tokenizer)
    for blocks in _together(_read_texts(source, tokenizer), tokenizer.encode_width):
        encoded = iter(tokenizer.encode_batch([text for texts in blocks for text in texts]))
        for texts in blocks:
            raw, ids = b"".join(texts), [next(encoded)[0] for _ in texts]
            packed = np.packbits(from_tokens(np.concatenate(ids), width)).tobytes()
            counts = np.array([*map(len, ids)], "<u4").tobytes()
            content = _NUMBER.pack(len(texts)) + counts + _NUMBER.pack(len(packed)) + packed
            stored = _NUMBER.pack(0) + raw
            is_stored = len(stored) <= len(content)
            yield _Coded(raw, stored if is_stored else content, is_stored)


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


@dataclasses.dataclass(frozen=True)
class Header:
    """What a compressed file says of its tokenizer.

    Attributes:
        method: literature name; "" if all blocks are stored.
        fingerprint: of the tokenizer.
        id_bits: bits of an id.
        lanes: of the byte model that drives it; None if the file does not say.
        can_store: whether a block may be stored.
    """

    method: str = ""
    fingerprint: str = ""
    id_bits: int = 0
    lanes: int | None = None
    can_store: bool = True

    def __post_init__(self):
        """Check types and ranges, because a header may come from anybody."""
        words = isinstance(self.method, str) and isinstance(self.fingerprint, str)
        checks = {
            "method": words and re.fullmatch(r"[\w\[\]=,.+-]*", self.method, re.ASCII),
            "fingerprint": words and re.fullmatch("[0-9a-f]*", self.fingerprint),
            "id_bits": type(self.id_bits) is int and 0 <= self.id_bits < 32,
            "lanes": self.lanes is None
            or (type(self.lanes) is int and 1 <= self.lanes <= MAX_LANES),
        }
        wrong = [name for name, is_right in checks.items() if not is_right]
        if wrong:
            said = [f"{name} is {ascii(getattr(self, name))[:80]}" for name in wrong]
            raise ValueError(", ".join(said))


def read_header(source: BinaryIO, name: str) -> Header:
    """Return the header of a compressed file.

    Raises:
        ContainerError: this is no compressed file, one of another version, or a damaged one.
    """
    start = source.read(len(MAGIC) + 1)
    if start[:-1] != MAGIC:
        raise ContainerError(
            f"{name} was not written by launch/compress.py (its first bytes differ)"
        )
    version = start[-1]
    if version not in (1, VERSION):
        raise ContainerError(
            f"{name} is a container of version {version}, and this program reads 1 and {VERSION}"
        )
    n_bytes = _read_number(source, name)
    if n_bytes > MAX_HEADER_BYTES:
        raise ContainerError(
            f"{name} is damaged: a header of {n_bytes:,} bytes, and none has more than "
            f"{MAX_HEADER_BYTES:,}"
        )
    content = _read(source, n_bytes, name)
    if version > 1 and _read_number(source, name) != zlib.crc32(content):
        raise ContainerError(f"{name} is damaged: the checksum of its header differs")
    try:
        found = json.loads(content)
        may_be_empty = version > 1 and found == {}
        if not (isinstance(found, dict) and (may_be_empty or _IDENTITY.keys() <= found.keys())):
            raise ValueError(f"not an object with {', '.join(_IDENTITY)}")
        known = {key: found[key] for key in (*_IDENTITY, "lanes") if key in found}
        return Header(**known, can_store=version > 1)
    except (ValueError, RecursionError) as error:
        raise ContainerError(f"{name} is damaged: its header cannot be read ({error})") from error


def decompress(
    source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer | None, header: Header, name: str
) -> Iterator[int]:
    """Write the raw bytes; yield the number of raw bytes of each block after it is written.

    Args:
        source: the compressed file, after its header.
        target: receives the text of each block as soon as the block is verified. If an error
            follows, do not use what was written.
        tokenizer: of the header's method; ignored if that is "".
        header: from `read_header`.
        name: of the file, for messages.

    Raises:
        ContainerError: the file is cut short or damaged.
        ValueError: the tokenizer is not the one of the header.
    """
    if header.method and any(
        getattr(header, key) != value(tokenizer) for key, value in _IDENTITY.items()
    ):
        raise ValueError(
            f"{name} was written with {header.method} of fingerprint "
            f"{header.fingerprint[:12]}, and here is {tokenizer!r}: use the byte model, the "
            "device and the versions that it was compressed with, or the file is damaged"
        )
    n_bytes, digest = 0, hashlib.sha256()
    width = tokenizer.decode_width if header.method else 1
    for packed in _together(_read_blocks(source, header, name), width):
        texts = iter(_decode(packed, tokenizer, header, name))
        for one in packed:
            block = one.stored if one.is_stored else b"".join(next(texts) for _ in one.counts)
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
    """A block as it is in the file; `len` gives the number of texts of its raw bytes."""

    def __init__(self, n_bytes: int, source: BinaryIO, header: Header, name: str):
        """Read the rest of a block, after the length of its raw bytes."""
        self.n_bytes, self.checksum = n_bytes, _read_number(source, name)
        n_texts = _read_number(source, name)
        # Texts are never empty, and a header without a method promises that there are none.
        possible = {0} if header.can_store else set()
        possible |= {-(-n_bytes // TEXT_BYTES)} if header.method else set()
        if n_texts not in possible:
            raise ContainerError(
                f"{name} is damaged: a block of {n_bytes} raw bytes has {n_texts} texts"
            )
        self.is_stored = not n_texts
        self.counts = np.frombuffer(_read(source, 4 * n_texts, name), "<u4").astype(np.int64)
        self.packed = self.stored = b""
        if n_texts:
            self.packed = np.frombuffer(_read(source, _read_number(source, name), name), np.uint8)
        else:
            self.stored = _read(source, n_bytes, name)

    def __len__(self) -> int:
        """Return how many texts its raw bytes are cut into."""
        return -(-self.n_bytes // TEXT_BYTES)


def _read_blocks(source: BinaryIO, header: Header, name: str) -> Iterator[_Block]:
    while n_bytes := _read_number(source, name):
        yield _Block(n_bytes, source, header, name)


def _decode(
    blocks: Sequence[_Block], tokenizer: Tokenizer | None, header: Header, name: str
) -> list[bytes]:
    """Return the texts of all blocks that are not stored."""
    blocks = [block for block in blocks if not block.is_stored]
    if not blocks:
        return []
    width = header.id_bits
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
        return tokenizer.decode_batch(ids_of_texts, max_bytes=TEXT_BYTES)
    except ValueError as error:
        raise ContainerError(f"{name} is damaged: {error}") from error


def _read(source: BinaryIO, n_bytes: int, name: str) -> bytes:
    # In pieces, because a read of 4 GB allocates 4 GB, whether or not the file has them.
    pieces, missing = [], n_bytes
    while missing:
        piece = source.read(min(missing, PIECE_BYTES))
        if not piece:
            raise ContainerError(f"{name} is cut short: at least {missing} bytes are missing")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _read_number(source: BinaryIO, name: str) -> int:
    return _NUMBER.unpack(_read(source, _NUMBER.size, name))[0]
