"""The format of compressed files: any bytes, as ids of a tokenizer, restored bit for bit.

    header              see `codec.header`
    blocks              length of the raw bytes, their CRC-32, number of texts, ids of each text,
                        length of the packed ids, the packed ids. A block of 0 texts is stored: its
                        raw bytes follow the number
    end                 a block of 0 raw bytes, then the length of everything and its SHA-256

A block is cut into texts of 10,240 bytes: 256 of them, or four for each lane of the byte model if
that is more. Each text begins anew, which costs AC under the integer model about 5 bits, and 4
bytes for its length. A block is stored where its ids would take more bytes. One block is in memory
at a time, or as many as the workers of a byte model code side by side. A text that decodes to more
than 10,240 bytes is an error. tests/exact/reference.py reads files of AC in 200 lines.
"""

import hashlib
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from latent_jax.codec.header import Header, id_bits
from latent_jax.codec.reading import NUMBER, ContainerError, read_bytes, read_number
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.bits import from_tokens

TEXT_BYTES = 10_240
BLOCK_TEXTS = 256
MAX_TEXTS = 1 << 15
"""Texts of blocks that are coded together, at most: 336 MB. A coder takes about 50 times as much
memory meanwhile."""

_TOTAL = struct.Struct("<Q32s")


def compress(source: BinaryIO, target: BinaryIO, tokenizer: Tokenizer) -> Iterator[int]:
    """Write a compressed file; yield the number of raw bytes of each block after it is written."""
    blocks = _coded_blocks(source, tokenizer)
    ahead = [*itertools.islice(blocks, 2)]
    is_stored = not ahead or (len(ahead) == 1 and ahead[0].is_stored)
    target.write(Header.of(None if is_stored else tokenizer).to_bytes())
    n_bytes, digest = 0, hashlib.sha256()
    for raw, content, _ in itertools.chain(ahead, blocks):
        target.write(NUMBER.pack(len(raw)) + NUMBER.pack(zlib.crc32(raw)) + content)
        digest.update(raw)
        n_bytes += len(raw)
        yield len(raw)
    target.write(NUMBER.pack(0) + _TOTAL.pack(n_bytes, digest.digest()))


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
            content = NUMBER.pack(len(texts)) + counts + NUMBER.pack(len(packed)) + packed
            stored = NUMBER.pack(0) + raw
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
    if header.method:
        header.check(tokenizer, name)
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
    total, whole = _TOTAL.unpack(read_bytes(source, _TOTAL.size, name))
    if (total, whole) != (n_bytes, digest.digest()) or source.read(1):
        raise ContainerError(f"{name} is damaged: its end does not fit the blocks before it")


class _Block:
    """A block as it is in the file; `len` gives the number of texts of its raw bytes."""

    def __init__(self, n_bytes: int, source: BinaryIO, header: Header, name: str):
        """Read the rest of a block, after the length of its raw bytes."""
        self.n_bytes, self.checksum = n_bytes, read_number(source, name)
        n_texts = read_number(source, name)
        # Texts are never empty, and a header without a method promises that there are none.
        possible = {0} if header.version > 1 else set()
        possible |= {-(-n_bytes // TEXT_BYTES)} if header.method else set()
        if n_texts not in possible:
            raise ContainerError(
                f"{name} is damaged: a block of {n_bytes} raw bytes has {n_texts} texts"
            )
        self.is_stored = not n_texts
        self.counts = np.frombuffer(read_bytes(source, 4 * n_texts, name), "<u4").astype(np.int64)
        self.packed = self.stored = b""
        if n_texts:
            self.packed = np.frombuffer(
                read_bytes(source, read_number(source, name), name), np.uint8
            )
        else:
            self.stored = read_bytes(source, n_bytes, name)

    def __len__(self) -> int:
        """Return how many texts its raw bytes are cut into."""
        return -(-self.n_bytes // TEXT_BYTES)


def _read_blocks(source: BinaryIO, header: Header, name: str) -> Iterator[_Block]:
    while n_bytes := read_number(source, name):
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
