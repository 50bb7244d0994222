"""Arithmetic coding driven by a byte model: AC[v=2^N] of Lester et al. 2024, section 3.3."""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Self

import numba
import numpy as np

from latent_jax.tokenizers import arithmetic
from latent_jax.tokenizers.bit_tokenizer import BitTokenizer, Stream
from latent_jax.tokenizers.byte_model import (
    BEGIN,
    FILE,
    IDLE,
    N_SYMBOLS,
    ByteModel,
    digest_of,
    load_byte_model,
)
from latent_jax.tokenizers.counts import check_precision, cumulative_counts
from latent_jax.tokenizers.lockstep import run, shared
from latent_jax.tokenizers.probe import Probed
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

_NOTHING = np.zeros(0, np.int64)


class AC(BitTokenizer):
    """Arithmetic coding of each example of a text by the probabilities of a byte model.

    Args:
        model: M1.
        vocab: 2^N.
        precision: bits of the integer counts, which sum to 2^precision.
        probe: the probe that a saved tokenizer stored, see `Probed`; "" for a new tokenizer.

    Raises:
        ValueError: an argument is outside its range.
    """

    kind = "ac"
    file_names = ("ac.json", FILE)

    def __init__(self, model: ByteModel, vocab: int, precision: int = 14, probe: str = ""):
        """Set the code."""
        super().__init__(vocab)
        check_precision(precision)
        self.name = f"AC[v={vocab}]" if precision == 14 else f"AC[v={vocab},p={precision}]"
        self._model, self._precision = model, precision
        self.flops_per_byte, self.lanes = model.flops_per_byte, model.lanes
        self.encode_width = self.decode_width = model.lanes * model.workers
        self.model_digest = digest_of(model)
        self._probed = Probed(self.name, model, precision, probe)

    @property
    def model(self) -> ByteModel:
        """M1."""
        return self._model

    @property
    def stream_key(self) -> str:
        """See `BitTokenizer.stream_key`."""
        return f"AC p={self._precision} {self._probed.digest}"

    def _encode_bits(self, texts: Sequence[bytes]) -> list[list[Stream]]:
        self._probed.check()
        examples = [examples_of(text) for text in texts]
        flat = [example for part in examples for example in part]
        sizes = [*map(len, flat)]
        if self._model.is_exact:
            done = shared(self._encode_known, flat, sizes, self._model, side_by_side=1)
        else:
            done = shared(self._encode_group, flat, sizes, self._model)
        streams = iter(done)
        return [[next(streams) for _ in part] for part in examples]

    def _encode_known(self, examples: Sequence[bytes], worker: int) -> list[Stream]:
        """Code one example after the other, each from tables that are made of its whole text."""
        del worker
        precision, streams = self._precision, []
        coder = np.zeros(arithmetic.STATE_SIZE, np.int64)
        counts = np.zeros(N_SYMBOLS + 1, np.int64)
        for example in examples:
            symbols = np.append(np.frombuffer(example, np.uint8), [END]).astype(np.int64)
            symbols = symbols[:EXAMPLE_BYTES]
            bits = np.zeros((len(symbols) + 1) * precision + 64, np.uint8)
            ends, at = np.zeros(len(example), np.int64), 0
            arithmetic.start(coder)
            for table in self._model.tables(example):
                part = symbols[at : at + len(table)]
                _encode_rows(table, part, ends[at:], coder, bits, precision, counts)
                at += len(part)
            arithmetic.finish(coder, bits)
            streams.append(Stream(bits[: coder[arithmetic.WRITTEN]].copy(), ends))
        return streams

    def _encode_group(self, examples: Sequence[bytes], worker: int) -> list[Stream]:
        """Return the stream of each example. A lane that is done takes the next of the queue."""
        n_lanes, precision = self._model.lanes, self._precision
        lanes = _Queue(n_lanes, len(examples))
        text = np.zeros((len(examples), EXAMPLE_BYTES), np.uint8)
        sizes = np.array([*map(len, examples)], np.int64)
        for row, example in zip(text, examples, strict=True):
            row[: len(example)] = np.frombuffer(example, np.uint8)
        ends = np.zeros((len(examples), EXAMPLE_BYTES), np.int32)
        coder = np.zeros((n_lanes, arithmetic.STATE_SIZE), np.int64)
        coder[:, arithmetic.SIZE] = 1 << arithmetic.REGISTER
        bits_BN = np.zeros((n_lanes, (EXAMPLE_BYTES + 1) * precision + 64), np.uint8)
        bits: list[np.ndarray] = [_NOTHING] * len(examples)
        counts = np.zeros(N_SYMBOLS + 1, np.int64)

        def advance(probabilities):
            _encode_step(
                probabilities, *lanes.arrays, text, sizes, ends, coder, bits_BN, precision, counts
            )
            for lane in np.flatnonzero(lanes.is_done):
                bits[lanes.item[lane]] = bits_BN[lane, : coder[lane, arithmetic.WRITTEN]].copy()
                arithmetic.start(coder[lane])
                lanes.next(lane)
            return lanes.n_active

        run(self._model, worker, lanes.ids, lanes.positions, advance)
        return [
            Stream(b, e[:n].astype(np.int64)) for b, e, n in zip(bits, ends, sizes, strict=True)
        ]

    def _decode_bits(
        self, streams: Sequence[np.ndarray], max_bytes: int | None = None
    ) -> list[tuple[bytes, np.ndarray]]:
        self._probed.check()
        full = [bits for bits in streams if len(bits)]
        decode = functools.partial(self._decode_group, max_bytes=max_bytes)
        read = iter(shared(decode, full, [*map(len, full)], self._model))
        return [next(read) if len(bits) else (b"", _NOTHING) for bits in streams]

    def _decode_group(
        self, streams: Sequence[np.ndarray], worker: int, max_bytes: int | None
    ) -> list[tuple[bytes, np.ndarray]]:
        n_lanes, precision = self._model.lanes, self._precision
        lanes = _Queue(n_lanes, len(streams))
        bits = np.concatenate(streams)
        bounds = np.cumsum([0, *map(len, streams)], dtype=np.int64)
        readers = np.zeros((n_lanes, READER_SIZE), np.int64)
        out_N3 = np.zeros((n_lanes, 3), np.int64)
        counts = np.zeros(N_SYMBOLS + 1, np.int64)
        read, n_read = [], 0
        for lane in np.flatnonzero(lanes.item >= 0):
            begin_stream(
                readers[lane], bits[: bounds[lanes.item[lane] + 1]], bounds[lanes.item[lane]]
            )

        def advance(probabilities):
            n_bytes = _decode_step(
                probabilities,
                *lanes.arrays,
                bits,
                bounds,
                readers,
                out_N3,
                self.token_bits,
                precision,
                counts,
            )
            nonlocal n_read
            n_read += n_bytes
            self._check_total(n_read, max_bytes, len(streams))
            read.append(out_N3[:n_bytes].astype(np.int32))  # int32 halves the memory of a batch
            for lane in np.flatnonzero(lanes.is_done):
                lanes.next(lane)
                item = lanes.item[lane]
                if item >= 0:
                    begin_stream(readers[lane], bits[: bounds[item + 1]], bounds[item])
            return lanes.n_active

        run(self._model, worker, lanes.ids, lanes.positions, advance)
        found = np.concatenate(read)
        found = found[np.argsort(found[:, 0], kind="stable")]
        starts = np.searchsorted(found[:, 0], np.arange(len(streams) + 1))
        return [
            (found[a:b, 1].astype(np.uint8).tobytes(), found[a:b, 2].astype(np.int64))
            for a, b in itertools.pairwise(starts)
        ]

    def _files(self) -> dict[str, bytes]:
        stated = {
            "vocab": 1 << self.token_bits,
            "precision": self._precision,
            "model": self._model.kind,
            "probe": self._probed.digest,
        }
        return {"ac.json": json.dumps(stated).encode(), FILE: self._model.to_bytes()}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        stated = json.loads(files["ac.json"])
        return cls(load_byte_model(stated.pop("model"), files[FILE]), **stated)


class _Queue:
    """The item that each lane holds, and the id that M1 reads next in it."""

    def __init__(self, n_lanes: int, n_items: int):
        self.ids = np.full(n_lanes, BEGIN, np.int32)
        self.positions = np.zeros(n_lanes, np.int32)
        self.item = np.full(n_lanes, -1, np.int64)
        self.at = np.zeros(n_lanes, np.int64)  # bytes of the item that are coded
        self.is_done = np.zeros(n_lanes, np.bool_)
        self._items = iter(range(n_items))
        for lane in range(n_lanes):
            self.next(lane)

    @property
    def arrays(self):
        return self.ids, self.positions, self.item, self.at, self.is_done

    @property
    def n_active(self) -> int:
        return int((self.item >= 0).sum())

    def next(self, lane: int) -> None:
        """Give the lane the next item, or none."""
        self.item[lane] = next(self._items, -1)
        self.ids[lane] = BEGIN if self.item[lane] >= 0 else IDLE
        self.positions[lane], self.at[lane] = 0, 0
        self.is_done[lane] = False


@numba.njit(cache=True, nogil=True)
def _encode_step(
    probabilities,
    ids,
    positions,
    item,
    at,
    is_done,
    text,
    sizes,
    ends,
    coder,
    bits,
    precision,
    counts,
):
    """Code the next symbol of every lane: a byte, or the end of an example that is not full."""
    for lane in range(len(item)):
        if item[lane] < 0:
            continue
        cumulative_counts(probabilities[lane], precision, counts)
        example, i = item[lane], at[lane]
        symbol = np.int64(text[example, i]) if i < sizes[example] else np.int64(END)
        arithmetic.encode_symbol(
            coder[lane], bits[lane], counts[symbol], counts[symbol + 1], precision
        )
        if symbol != END:
            ends[example, i] = arithmetic.information(coder[lane])
            ids[lane] = symbol
            positions[lane] += 1
            at[lane] += 1
        if symbol == END or at[lane] == EXAMPLE_BYTES:
            arithmetic.finish(coder[lane], bits[lane])
            is_done[lane] = True


@numba.njit(cache=True, nogil=True)
def _encode_rows(tables, symbols, ends, coder, bits, precision, counts):
    """Code some symbols of one example, each by its own table."""
    for i in range(len(symbols)):
        cumulative_counts(tables[i], precision, counts)
        symbol = symbols[i]
        arithmetic.encode_symbol(coder, bits, counts[symbol], counts[symbol + 1], precision)
        if symbol != END:
            ends[i] = arithmetic.information(coder)


@numba.njit(cache=True, nogil=True)
def _decode_step(
    probabilities,
    ids,
    positions,
    item,
    at,
    is_done,
    bits,
    bounds,
    readers,
    out,
    token_bits,
    precision,
    counts,
):
    """Read one symbol in every lane; return how many bytes were written to `out`."""
    n_out = 0
    for lane in range(len(item)):
        if item[lane] < 0:
            continue
        cumulative_counts(probabilities[lane], precision, counts)
        reader, first = readers[lane], bounds[item[lane]]
        own_bits = bits[: bounds[item[lane] + 1]]
        symbol = read_symbol(reader, own_bits, counts, precision)
        if symbol < 0:
            is_done[lane] = True
            continue
        if symbol != END:
            out[n_out, 0], out[n_out, 1] = item[lane], symbol
            out[n_out, 2] = reader[POSITION] - first + arithmetic.information(reader)
            n_out += 1
            at[lane] += 1
            ids[lane] = symbol
            positions[lane] += 1
        if symbol == END or reader[COUNT] == EXAMPLE_BYTES:
            ids[lane], positions[lane] = BEGIN, 0
            is_done[lane] = not next_stream(reader, own_bits, first, token_bits)
    return n_out
