"""Arithmetic coding by one fixed distribution: StaticAC[v=2^N] of Lester et al. 2024, sec. 3.3."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numba
import numpy as np

from latent_jax.tokenizers import arithmetic
from latent_jax.tokenizers.bit_tokenizer import BitTokenizer, Stream
from latent_jax.tokenizers.byte_model import N_SYMBOLS
from latent_jax.tokenizers.counts import check_precision, cumulative_counts
from latent_jax.tokenizers.streams import (
    COUNT,
    END,
    EXAMPLE_BYTES,
    POSITION,
    READER_SIZE,
    begin_stream,
    examples_of,
    next_stream,
    read_symbol,
)


class StaticAC(BitTokenizer):
    """Arithmetic coding by one fixed distribution over the 256 bytes and the end of a text.

    Args:
        frequencies: int[257], how often each symbol was seen in training; some may be 0.
        vocab: 2^N.
        precision: bits of the integer counts, which sum to 2^precision.

    Raises:
        ValueError: an argument is outside its range.
    """

    kind = "static_ac"
    file_names = ("static_ac.json",)

    def __init__(self, frequencies: Sequence[int], vocab: int, precision: int = 14):
        """Make the table."""
        super().__init__(vocab)
        check_precision(precision)
        frequencies = np.asarray(frequencies, np.int64)
        if frequencies.shape != (N_SYMBOLS,) or frequencies.min() < 0 or not frequencies.any():
            raise ValueError(f"StaticAC needs {N_SYMBOLS} frequencies of 0 and more, not all 0")
        name = f"StaticAC[v={vocab}"
        self.name = f"{name}]" if precision == 14 else f"{name},p={precision}]"
        self._frequencies, self._precision = frequencies, precision
        self._counts = np.zeros(N_SYMBOLS + 1, np.int64)
        cumulative_counts(
            (frequencies / frequencies.sum()).astype(np.float32), precision, self._counts
        )

    @classmethod
    def train(cls, documents: Iterable[bytes], vocab: int, precision: int = 14) -> Self:
        """Return the code of the frequencies of bytes and ends in `documents`."""
        frequencies = np.zeros(N_SYMBOLS, np.int64)
        for text in documents:
            frequencies[:END] += np.bincount(np.frombuffer(text, np.uint8), minlength=END)
            frequencies[END] += 1
        return cls(frequencies, vocab, precision)

    def _encode_bits(self, texts: Sequence[bytes]) -> list[list[Stream]]:
        return [
            [
                Stream(*_encode_static(np.frombuffer(e, np.uint8), self._counts, self._precision))
                for e in examples_of(text)
            ]
            for text in texts
        ]

    def _decode_bits(
        self, streams: Sequence[np.ndarray], max_bytes: int | None = None
    ) -> list[tuple[bytes, np.ndarray]]:
        texts = []
        most = np.iinfo(np.int64).max if max_bytes is None else max_bytes
        for bits in streams:
            words = self.token_bits, self._precision, most
            text, ends = _decode_static(bits, self._counts, *words)
            self._check_total(len(text), max_bytes, 1)
            texts.append((text.tobytes(), ends))
        return texts

    def _files(self) -> dict[str, bytes]:
        stated = {
            "frequencies": self._frequencies.tolist(),
            "vocab": 1 << self.token_bits,
            "precision": self._precision,
        }
        return {"static_ac.json": json.dumps(stated).encode()}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        return cls(**json.loads(files["static_ac.json"]))


@numba.njit(cache=True, nogil=True)
def _encode_static(text, counts, precision):
    bits = np.zeros((len(text) + 1) * precision + 64, np.uint8)
    ends = np.zeros(len(text), np.int64)
    coder = np.zeros(arithmetic.STATE_SIZE, np.int64)
    arithmetic.start(coder)
    for i in range(len(text)):
        symbol = np.int64(text[i])
        arithmetic.encode_symbol(coder, bits, counts[symbol], counts[symbol + 1], precision)
        ends[i] = arithmetic.information(coder)
    if len(text) < EXAMPLE_BYTES:
        arithmetic.encode_symbol(coder, bits, counts[END], counts[END + 1], precision)
    arithmetic.finish(coder, bits)
    return bits[: coder[arithmetic.WRITTEN]].copy(), ends


@numba.njit(cache=True, nogil=True)
def _decode_static(bits, counts, token_bits, precision, most):
    """Return bytes and where they end; it stops after more than `most`."""
    capacity = 64
    text, ends = np.zeros(capacity, np.uint8), np.zeros(capacity, np.int64)
    n_bytes = 0
    reader = np.zeros(READER_SIZE, np.int64)
    is_open = len(bits) > 0
    if is_open:
        begin_stream(reader, bits, 0)
    while is_open and n_bytes <= most:
        symbol = read_symbol(reader, bits, counts, precision)
        if symbol < 0:
            break
        if symbol != END:
            if n_bytes == capacity:
                capacity *= 2
                text = np.concatenate((text, np.zeros_like(text)))
                ends = np.concatenate((ends, np.zeros_like(ends)))
            text[n_bytes] = symbol
            ends[n_bytes] = reader[POSITION] + arithmetic.information(reader)
            n_bytes += 1
        if symbol == END or reader[COUNT] == EXAMPLE_BYTES:
            is_open = next_stream(reader, bits, 0, token_bits)
    return text[:n_bytes].copy(), ends[:n_bytes].copy()
