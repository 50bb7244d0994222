"""Tokenizers that turn a text into a stream of bits, and every N bits into a token.

Lester et al. 2024, section 3.3. The meaning of an id depends on the ids before it, so ids must be
decoded from the beginning of a text. The separator ends a text, and the next id begins another.
"""

import abc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from latent_jax.tokenizers.base import Tokenizer
from latent_jax.tokenizers.bits import check_token_bits, from_tokens, to_tokens


class Stream(NamedTuple):
    """The bits of a text, and where in them the information of each byte ends.

    Attributes:
        bits: uint8[n], each 0 or 1.
        ends: int64[bytes], non-decreasing: the number of bits, 0 to n, after which the information
            of each byte is complete.
    """

    bits: np.ndarray
    ends: np.ndarray


def join_streams(streams: Sequence[Stream], token_bits: int) -> Stream:
    """Return the concatenation of streams, each padded with zeros to whole tokens."""
    if len(streams) == 1 and len(streams[0].bits) % token_bits == 0:
        return streams[0]
    bits, ends, at = [], [], 0
    for stream in streams:
        n_bits = -(-len(stream.bits) // token_bits) * token_bits
        bits.append(np.pad(stream.bits, (0, n_bits - len(stream.bits))))
        ends.append(stream.ends + at)
        at += n_bits
    if not streams:
        return Stream(np.zeros(0, np.uint8), np.zeros(0, np.int64))
    return Stream(np.concatenate(bits), np.concatenate(ends))


class BitTokenizer(Tokenizer):
    """Ids are groups of N bits, 0 to 2^N - 1; the separator is 2^N.

    Args:
        vocab: 2^N, not counting the separator.

    Raises:
        ValueError: `vocab` is not a power of 2 from 2 to 65,536.
    """

    def __init__(self, vocab: int):
        """Set the vocabulary."""
        self.token_bits = check_token_bits(vocab)
        self.separator_id = vocab
        self.vocab_size = vocab + 1

    @property
    def stream_key(self) -> str:
        """A key of the bits: tokenizers with the same key differ only in the bits per token."""
        return self.fingerprint()

    @abc.abstractmethod
    def _encode_bits(self, texts: Sequence[bytes]) -> list[list[Stream]]:
        """Return the streams of each text; an empty text has none, or empty ones.

        A token never holds bits of two streams.
        """

    @abc.abstractmethod
    def _decode_bits(
        self, streams: Sequence[np.ndarray], max_bytes: int | None = None
    ) -> list[tuple[bytes, np.ndarray]]:
        """Return the text and the `Stream.ends` of each text's bits, uint8[multiple of N].

        Raises:
            ValueError: the texts have far more than `max_bytes` on average; None = any number.
        """

    def _check_total(self, n_bytes: int, max_bytes: int | None, n_texts: int) -> None:
        """Raise a ValueError if texts have more bytes together than so many texts can have."""
        if max_bytes is not None and n_bytes > max_bytes * n_texts:
            raise ValueError(f"{self.name}: ids stand for texts of more than {max_bytes} bytes")

    def encode(self, text: bytes) -> np.ndarray:
        """See `Tokenizer.encode`."""
        return self.encode_batch([text])[0][0]

    def encode_batch(self, texts: Sequence[bytes]) -> list[tuple[np.ndarray, np.ndarray]]:
        """See `Tokenizer.encode_batch`."""
        return [self._tokens(streams) for streams in self._encode_bits(texts)]

    def _tokens(self, streams: Sequence[Stream]) -> tuple[np.ndarray, np.ndarray]:
        bits, ends = join_streams(streams, self.token_bits)
        ids = to_tokens(bits, self.token_bits)
        return ids, self._lengths(ends, len(ids))

    def decode(self, ids: ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        return self.decode_batch([ids])[0]

    def decode_batch(self, batch: Sequence[ArrayLike], max_bytes: int | None = None) -> list[bytes]:
        """See `Tokenizer.decode_batch`."""
        parts = [self._parts(ids) for ids in batch]
        bits = [from_tokens(p, self.token_bits) for ps in parts for p in ps]
        texts = iter(self._decode_bits(bits, max_bytes))
        return [self._short(b"".join(next(texts)[0] for _ in ps), max_bytes) for ps in parts]

    def byte_lengths(self, ids: ArrayLike) -> np.ndarray:
        """See `Tokenizer.byte_lengths`. `ids` must be [n] and start at the beginning of a text."""
        ids = self._checked(ids)
        lengths = np.zeros(ids.shape, np.int32)
        parts = self._parts(ids)
        texts = self._decode_bits([from_tokens(part, self.token_bits) for part in parts])
        counted = [self._lengths(ends, len(p)) for (_, ends), p in zip(texts, parts, strict=True)]
        lengths[ids != self.separator_id] = np.concatenate(counted)
        return lengths

    def _parts(self, ids: ArrayLike) -> list[np.ndarray]:
        """Return the ids of each text between separators."""
        ids = self._checked(ids)
        if ids.ndim != 1:
            raise ValueError(f"{self.name}: ids have the shape {ids.shape}; a text has one axis")
        at = np.flatnonzero(ids == self.separator_id)
        return [part[part != self.separator_id] for part in np.split(ids, at)]

    def _lengths(self, ends: np.ndarray, n_ids: int) -> np.ndarray:
        """Return the bytes of each id; a byte counts for the id in which its information ends."""
        # Not np.clip, which takes longer than coding a short text.
        at = np.minimum(np.maximum((ends - 1) // self.token_bits, 0), max(n_ids - 1, 0))
        return np.bincount(at, minlength=n_ids).astype(np.int32)


def encode_batches(
    tokenizers: Sequence[BitTokenizer], texts: Sequence[bytes]
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Return what `encode_batch` of each tokenizer returns, but code each text only once.

    Raises:
        ValueError: the tokenizers differ in more than the bits per token.
    """
    if len({tokenizer.stream_key for tokenizer in tokenizers}) > 1:
        names = ", ".join(tokenizer.name for tokenizer in tokenizers)
        raise ValueError(f"{names} do not make the same bits: encode with one at a time")
    streams = tokenizers[0]._encode_bits(texts)
    return [[tokenizer._tokens(parts) for parts in streams] for tokenizer in tokenizers]
