"""An integer GPT on a processor, for a few rows at a time: `models.integer_gpt` in Numba.

A row is one position of one lane. Rows of one call may be lanes that decode side by side, or
consecutive positions of one lane whose text is known: the integers are the same, only faster. A
lane keeps keys and values in a ring that is `ROWS` - 1 slots longer than the context, so that the
rows of one call can write theirs before any of them reads.

Integers stand in int64 or int32 wherever they are computed, in float32 only as operands and sums of
products (`matmul`). The bounds are those of `operations`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numba
import numpy as np

from latent_jax.exact.bounds import (
    DIRECTION,
    GATE,
    HALF,
    INT8,
    INT15,
    MEAN,
    OCTAVE,
    PEAK,
    SCORE,
    STREAM,
    WIDE,
)
from latent_jax.exact.matmul import OUTPUTS, ROWS, block_product, padded, row_product
from latent_jax.exact.model_file import NORM_BITS, PRODUCTS, WIDE_NORM_BITS, IntegerConfig

SINGLE = 5
"""Up to so many rows are multiplied one by one."""


class Product(NamedTuple):
    """A product of each of L layers, and how its sums are scaled.

    Attributes:
        narrow: int8[L, O, I].
        wide: float32[L, O', I], O filled up to a multiple of 6.
        multiplier: int32[L, O].
        shift: int64[L].
    """

    narrow: np.ndarray
    wide: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


class Weights(NamedTuple):
    """The arrays of a file as the kernels read them: L layers, D wide, H heads.

    Attributes:
        stream: int32[V, D], where each id begins.
        attention_gain: int32[L, D].
        query_key_value: see `Product`.
        score_multiplier: int32[L, H].
        score_shift: int64[L].
        bias: int32[L, H, A].
        mixed_multiplier: int32[L, D].
        mixed_shift: int64[L].
        attention_out: see `Product`.
        feed_forward_gain: int32[L, D].
        gate: see `Product`.
        up: see `Product`.
        down: see `Product`.
        final_gain: int32[D].
        head: a `Product` of one layer.
        attention_powers: int32[64].
        output_powers: int32[64].
        context: S.
    """

    stream: np.ndarray
    attention_gain: np.ndarray
    query_key_value: Product
    score_multiplier: np.ndarray
    score_shift: np.ndarray
    bias: np.ndarray
    mixed_multiplier: np.ndarray
    mixed_shift: np.ndarray
    attention_out: Product
    feed_forward_gain: np.ndarray
    gate: Product
    up: Product
    down: Product
    final_gain: np.ndarray
    head: Product
    attention_powers: np.ndarray
    output_powers: np.ndarray
    context: int


def make_weights(config: IntegerConfig, arrays: Mapping[str, np.ndarray]) -> Weights:
    """Return the weights of a checked file."""
    blocks = {name.split("/")[1]: x for name, x in arrays.items() if name.startswith("blocks/")}

    def product(kernel_LIO, multiplier_LO, shift_L):
        narrow = np.ascontiguousarray(kernel_LIO.swapaxes(1, 2))
        wide = np.stack([padded(kernel_IO) for kernel_IO in kernel_LIO])
        return Product(narrow, wide, np.ascontiguousarray(multiplier_LO), shift_L.astype(np.int64))

    products = {
        name: product(blocks[name], blocks[f"{name}_multiplier"], blocks[f"{name}_shift"])
        for name in PRODUCTS
    }
    shift = int(arrays["embedding_shift"])
    stream_VD = arrays["embedding"].astype(np.int64) * arrays["embedding_multiplier"][:, None]
    stream_VD = (stream_VD + ((1 << shift) >> 1)) >> shift
    return Weights(
        stream=np.clip(stream_VD, -STREAM, STREAM).astype(np.int32),
        attention_gain=blocks["attention_gain"],
        score_multiplier=blocks["score_multiplier"],
        score_shift=blocks["score_shift"].astype(np.int64),
        bias=blocks["position_bias"],
        mixed_multiplier=blocks["mixed_multiplier"].reshape(config.n_layers, config.d_model),
        mixed_shift=blocks["mixed_shift"].astype(np.int64),
        feed_forward_gain=blocks["feed_forward_gain"],
        final_gain=arrays["final_gain"],
        head=product(
            arrays["embedding"].T[None],
            arrays["head_multiplier"][None],
            arrays["head_shift"].reshape(1),
        ),
        attention_powers=arrays["attention_powers"],
        output_powers=arrays["output_powers"],
        context=config.context,
        **products,
    )


class Rings(NamedTuple):
    """Keys and values of the lanes, int8[lanes, L, slots, D]."""

    keys: np.ndarray
    values: np.ndarray


def make_rings(config: IntegerConfig, n_lanes: int) -> Rings:
    """Return rings in which nothing will be read before it is written."""
    shape = (n_lanes, config.n_layers, config.context + ROWS - 1, config.d_model)
    return Rings(np.zeros(shape, np.int8), np.zeros(shape, np.int8))


class Scratch(NamedTuple):
    """Room for one call; one for each thread."""

    x: np.ndarray
    operands: np.ndarray
    low: np.ndarray
    sums: np.ndarray
    low_sums: np.ndarray
    columns: np.ndarray
    outputs: np.ndarray
    hidden: np.ndarray
    weights: np.ndarray
    mixed: np.ndarray
    shifts: np.ndarray


def make_scratch(config: IntegerConfig) -> Scratch:
    """Return room for one thread."""
    d, f = config.d_model, config.d_ff
    widest = max(3 * d, f, 257) + OUTPUTS
    return Scratch(
        x=np.zeros((ROWS, d), np.int32),
        operands=np.zeros((ROWS, max(d, f)), np.float32),
        low=np.zeros((ROWS, max(d, f)), np.float32),
        sums=np.zeros((ROWS, widest), np.float32),
        low_sums=np.zeros((ROWS, widest), np.float32),
        columns=np.zeros((max(d, f), ROWS), np.float32),
        outputs=np.zeros((widest, ROWS), np.float32),
        hidden=np.zeros((ROWS, f), np.int32),
        weights=np.zeros(config.context, np.int32),
        mixed=np.zeros(d // config.n_heads, np.int32),
        shifts=np.zeros(ROWS, np.int64),
    )


@numba.njit(cache=True, nogil=True, inline="always")
def _shifted(x, n_bits):
    """Return floor(x / 2^n + 1/2)."""
    return (x + ((1 << n_bits) >> 1)) >> n_bits


@numba.njit(cache=True, nogil=True, inline="always")
def _clipped(x, limit):
    return min(max(x, -limit), limit)


@numba.njit(cache=True, nogil=True)
def _direction(x_D, out_D):
    """See `operations.direction`."""
    peak = 1
    for d in range(len(x_D)):
        peak = max(peak, abs(x_D[d]))
    n_bits = 0
    while peak:
        peak >>= 1
        n_bits += 1
    square = 0
    for d in range(len(x_D)):
        y = _shifted(np.int64(x_D[d]) << PEAK, n_bits)
        out_D[d] = y
        square += y * y
    square = max(square, 1 << 20)
    root = np.int64(np.sqrt(np.float64(square)))  # corrected below: no float decides
    while root * root > square:
        root -= 1
    while (root + 1) * (root + 1) <= square:
        root += 1
    reciprocal = (1 << 26) // root
    for d in range(len(x_D)):
        out_D[d] = _shifted(np.int64(out_D[d]) * reciprocal, 26 - DIRECTION)


@numba.njit(cache=True, nogil=True)
def _norm(x_RD, n_rows, gain_D, n_bits, limit, work_RD, out_RD):
    """See `operations.norm`."""
    for r in range(n_rows):
        _direction(x_RD[r], work_RD[r])
        for d in range(x_RD.shape[1]):
            y = _shifted(np.int64(work_RD[r, d]) * gain_D[d], n_bits)
            out_RD[r, d] = np.float32(_clipped(y, limit))


@numba.njit(cache=True, nogil=True)
def _product(x_RI, n_rows, narrow_OI, wide_OI, scratch, out_RO):
    """Write the sums of each row."""
    n_outputs, n_inputs = narrow_OI.shape
    if n_rows <= SINGLE:
        for r in range(n_rows):
            row_product(x_RI[r, :n_inputs], narrow_OI, out_RO[r])
        return
    columns, outputs = scratch.columns, scratch.outputs
    for r in range(n_rows):
        for i in range(n_inputs):
            columns[i, r] = x_RI[r, i]
    block_product(columns[:n_inputs], wide_OI, outputs)
    for o in range(n_outputs):
        for r in range(n_rows):
            out_RO[r, o] = outputs[o, r]


@numba.njit(cache=True, nogil=True)
def _add_branch(x_RD, n_rows, sums_RO, multiplier_D, n_bits_R):
    """Add scaled sums to the stream."""
    for r in range(n_rows):
        n_bits = n_bits_R[r]
        for d in range(x_RD.shape[1]):
            y = _shifted(np.int64(sums_RO[r, d]) * multiplier_D[d], n_bits)
            x_RD[r, d] = _clipped(x_RD[r, d] + _clipped(y, STREAM), STREAM)


@numba.njit(cache=True, nogil=True)
def _halve(operands_RI, low_RI, n_rows, n_inputs):
    """Replace numbers of 15 bits by their high halves, and write the low ones."""
    for r in range(n_rows):
        for i in range(n_inputs):
            x = np.int64(operands_RI[r, i])
            high = (x + (1 << (HALF - 1))) >> HALF
            operands_RI[r, i] = np.float32(high)
            low_RI[r, i] = np.float32(x - (high << HALF))


@numba.njit(cache=True, nogil=True)
def _wide_product(n_rows, narrow_OI, wide_OI, scratch):
    """See `operations.wide_product`; sums are replaced by the result, which is below 2^24."""
    n_outputs, n_inputs = narrow_OI.shape
    _halve(scratch.operands, scratch.low, n_rows, n_inputs)
    _product(scratch.operands, n_rows, narrow_OI, wide_OI, scratch, scratch.sums)
    _product(scratch.low, n_rows, narrow_OI, wide_OI, scratch, scratch.low_sums)
    for r in range(n_rows):
        for o in range(n_outputs):
            whole = (np.int64(scratch.sums[r, o]) << HALF) + np.int64(scratch.low_sums[r, o])
            scratch.sums[r, o] = np.float32(_shifted(whole, WIDE))


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(x_d, y_d):
    """Return the sum of a product of float32 and int8 integers."""
    total = np.float32(0)
    for d in range(len(x_d)):
        total += x_d[d] * np.float32(y_d[d])
    return total


@numba.njit(cache=True, nogil=True)
def _attend(w, layer, query_D, keys_SD, values_SD, position, scratch, out_D):
    """Write what a position makes of itself and the positions before it, ready for a product."""
    n_slots, n_heads = len(keys_SD), w.bias.shape[1]
    size = len(query_D) // n_heads
    n_read = min(position + 1, w.context)
    last_age = w.bias.shape[2] - 1
    weights, mixed = scratch.weights, scratch.mixed
    for h in range(n_heads):
        first = h * size
        query_d = query_D[first : first + size]
        multiplier, n_bits = np.int64(w.score_multiplier[layer, h]), w.score_shift[layer]
        bias_A = w.bias[layer, h]
        peak = -(1 << 29)
        for age in range(n_read):
            slot = (position - age) % n_slots
            total = _dot(query_d, keys_SD[slot, first : first + size])
            score = _shifted(np.int64(total) * multiplier, n_bits)
            score = _clipped(score, SCORE) + bias_A[min(age, last_age)]
            weights[age] = score
            peak = max(peak, score)
        total_weight = 0
        mixed[:] = 0
        for age in range(n_read):
            below = peak - weights[age]
            octaves = min(below >> OCTAVE, 31)
            weight = np.int64(w.attention_powers[below & ((1 << OCTAVE) - 1)]) >> octaves
            if weight == 0:
                continue
            total_weight += weight
            value_d = values_SD[(position - age) % n_slots, first : first + size]
            factor = np.int32(weight)
            for d in range(size):
                mixed[d] = np.int32(mixed[d] + factor * np.int32(value_d[d]))
        divisor = total_weight >> MEAN
        for d in range(size):
            mean = (np.int64(mixed[d]) + (divisor >> 1)) // divisor
            y = _shifted(mean * w.mixed_multiplier[layer, first + d], w.mixed_shift[layer])
            out_D[first + d] = np.float32(_clipped(y, INT8))


@numba.njit(cache=True, nogil=True)
def advance(w, rings, scratch, lanes_R, ids_R, positions_R, n_rows, out_RV):
    """Read one id in each row, and write the table after it.

    Args:
        w: from `make_weights`.
        rings: from `make_rings`, changed in place.
        scratch: from `make_scratch`.
        lanes_R: int64, the lane of each row.
        ids_R: int32, what it reads.
        positions_R: int32, how many ids the lane has read. Rows of one lane are consecutive.
        n_rows: of them, at most 16.
        out_RV: int32[n, 257], what counts are proportional to.
    """
    x_RD, operands, sums = scratch.x, scratch.operands, scratch.sums
    d_model = x_RD.shape[1]
    n_slots = rings.keys.shape[2]
    for r in range(n_rows):
        x_RD[r] = w.stream[ids_R[r]]
    for layer in range(len(w.attention_gain)):
        gain_D = w.attention_gain[layer]
        _norm(x_RD, n_rows, gain_D, NORM_BITS, INT8, scratch.hidden, operands)
        part = w.query_key_value
        _product(operands, n_rows, part.narrow[layer], part.wide[layer], scratch, sums)
        size = d_model // w.bias.shape[1]
        for r in range(n_rows):
            slot = positions_R[r] % n_slots
            for o in range(3 * d_model):
                y = np.int64(sums[r, o]) * part.multiplier[layer, o]
                y = _clipped(_shifted(y, part.shift[layer]), INT8)
                head, which, d = o // (3 * size), (o // size) % 3, o % size
                if which == 0:
                    operands[r, head * size + d] = np.float32(y)
                elif which == 1:
                    rings.keys[lanes_R[r], layer, slot, head * size + d] = y
                else:
                    rings.values[lanes_R[r], layer, slot, head * size + d] = y
        for r in range(n_rows):
            keys_SD, values_SD = rings.keys[lanes_R[r], layer], rings.values[lanes_R[r], layer]
            query_D = operands[r, :d_model]
            _attend(w, layer, query_D, keys_SD, values_SD, positions_R[r], scratch, scratch.low[r])
        part = w.attention_out
        _product(scratch.low, n_rows, part.narrow[layer], part.wide[layer], scratch, sums)
        scratch.shifts[:] = part.shift[layer]
        _add_branch(x_RD, n_rows, sums, part.multiplier[layer], scratch.shifts)
        gain_D = w.feed_forward_gain[layer]
        _norm(x_RD, n_rows, gain_D, NORM_BITS, INT8, scratch.hidden, operands)
        _feed_forward(w, layer, n_rows, scratch)
    _norm(x_RD, n_rows, w.final_gain, WIDE_NORM_BITS, INT15, scratch.hidden, operands)
    _wide_product(n_rows, w.head.narrow[0], w.head.wide[0], scratch)
    for r in range(n_rows):
        _table(w, sums[r], out_RV[r])


@numba.njit(cache=True, nogil=True)
def _feed_forward(w, layer, n_rows, scratch):
    """Add the feed-forward branch, from the normalised stream in `operands`."""
    operands, sums, gates = scratch.operands, scratch.sums, scratch.hidden
    _product(operands, n_rows, w.gate.narrow[layer], w.gate.wide[layer], scratch, sums)
    for r in range(n_rows):
        for f in range(gates.shape[1]):
            y = np.int64(sums[r, f]) * w.gate.multiplier[layer, f]
            gates[r, f] = min(max(_shifted(y, w.gate.shift[layer]), 0), GATE)
    _product(operands, n_rows, w.up.narrow[layer], w.up.wide[layer], scratch, sums)
    for r in range(n_rows):
        for f in range(gates.shape[1]):
            y = np.int64(sums[r, f]) * w.up.multiplier[layer, f]
            gates[r, f] *= _clipped(_shifted(y, w.up.shift[layer]), GATE)
        peak, n_bits = 0, 0
        for f in range(gates.shape[1]):
            peak = max(peak, abs(np.int64(gates[r, f])))
        while peak >> n_bits > INT8:
            n_bits += 1
        for f in range(gates.shape[1]):
            y = _shifted(np.int64(gates[r, f]), n_bits)
            operands[r, f] = np.float32(_clipped(y, INT8))
        scratch.shifts[r] = w.down.shift[layer] - n_bits
    _product(operands, n_rows, w.down.narrow[layer], w.down.wide[layer], scratch, sums)
    _add_branch(scratch.x, n_rows, sums, w.down.multiplier[layer], scratch.shifts)


@numba.njit(cache=True, nogil=True)
def _table(w, sums_V, out_V):
    """Write the table of one row; see `integer_gpt.table`."""
    peak = -(1 << 29)
    for v in range(len(out_V)):
        y = _shifted(np.int64(sums_V[v]) * w.head.multiplier[0, v], w.head.shift[0])
        out_V[v] = _clipped(y, SCORE)
        peak = max(peak, out_V[v])
    for v in range(len(out_V)):
        below = peak - np.int64(out_V[v])
        octaves = min(below >> OCTAVE, 31)
        out_V[v] = np.int64(w.output_powers[below & ((1 << OCTAVE) - 1)]) >> octaves


@numba.njit(cache=True, nogil=True)
def step(w, rings, scratch, ids_B, positions_B, idle, out_BV):
    """Read one id in every lane that is not idle.

    Args:
        w: from `make_weights`.
        rings: of B lanes.
        scratch: from `make_scratch`.
        ids_B: int32; `idle` where a lane reads nothing.
        positions_B: int32.
        idle: the id of such lanes.
        out_BV: int32[B, 257]; rows of idle lanes are left as they are.
    """
    lanes_R, ids_R = np.zeros(ROWS, np.int64), np.zeros(ROWS, np.int32)
    positions_R = np.zeros(ROWS, np.int32)
    table_RV = np.empty((ROWS, out_BV.shape[1]), np.int32)
    n_rows = 0
    for lane in range(len(ids_B)):
        if ids_B[lane] != idle:
            lanes_R[n_rows], ids_R[n_rows] = lane, ids_B[lane]
            positions_R[n_rows] = positions_B[lane]
            n_rows += 1
        if n_rows == ROWS or (n_rows and lane == len(ids_B) - 1):
            advance(w, rings, scratch, lanes_R, ids_R, positions_R, n_rows, table_RV)
            for r in range(n_rows):
                out_BV[lanes_R[r]] = table_RV[r]
            n_rows = 0
