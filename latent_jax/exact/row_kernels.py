"""What an integer GPT does with one row between two products, in Numba; see `exact.operations`.

A function names the operation whose integers it gives. Numbers are int32 in arrays and int64 in
between, where the bounds of the model's file leave them below 2^31; loops run over one axis that is
contiguous, which is what a compiler makes vectors of.
"""

import numba
import numpy as np

from latent_jax.exact.bounds import (
    DIRECTION,
    HALF,
    INT8,
    MEAN,
    OCTAVE,
    PEAK,
    SCORE,
    STREAM,
    WIDE,
)
from latent_jax.exact.matmul import row_product

FRACTION = (1 << OCTAVE) - 1


@numba.njit(cache=True, nogil=True, inline="always")
def shifted(x, n_bits):
    """Return floor(x / 2^n + 1/2)."""
    return (x + ((1 << n_bits) >> 1)) >> n_bits


@numba.njit(cache=True, nogil=True)
def scale(sums_O, multiplier_O, n_bits, low, high, out_O):
    """`requantize`: write sums, float32, times multipliers / 2^n within bounds, int32.

    As many are written as there is room for in `out_O`; `sums_O` may be longer.
    """
    half, n_bits = np.int32((1 << n_bits) >> 1), n_bits & 31
    low, high = np.int32(low), np.int32(high)
    for o in range(len(out_O)):
        # 32 bits by the file's check; said so, a compiler need not widen.
        y = np.int32(np.int32(sums_O[o]) * multiplier_O[o])
        out_O[o] = min(max(np.int32(np.int32(y + half) >> n_bits), low), high)


@numba.njit(cache=True, nogil=True)
def add_branch(x_D, sums_D, multiplier_D, n_bits, work_D):
    """`add` of `requantize`: change the stream in place; all but the sums have its length."""
    scale(sums_D, multiplier_D, n_bits, -STREAM, STREAM, work_D)
    low, high = np.int32(-STREAM), np.int32(STREAM)
    for d in range(len(x_D)):
        x_D[d] = min(max(np.int32(x_D[d] + work_D[d]), low), high)


@numba.njit(cache=True, nogil=True)
def norm(x_D, gain_D, n_bits, limit, work_D, out_D):
    """`norm`: write float32."""
    peak, n_shift = np.int32(1), 0
    for d in range(len(x_D)):
        peak = max(peak, np.int32(abs(x_D[d])))
    while peak:
        peak >>= 1
        n_shift += 1
    half, n_shift = np.int32((1 << n_shift) >> 1), n_shift & 31
    square = 0
    for d in range(len(x_D)):
        y = np.int32(np.int32(np.int32(x_D[d] << PEAK) + half) >> n_shift)
        work_D[d] = y
        square += y * y
    square = max(square, 1 << 20)
    root = np.int64(np.sqrt(np.float64(square)))  # a guess: the integers below decide
    while root * root > square:
        root -= 1
    while (root + 1) * (root + 1) <= square:
        root += 1
    reciprocal = (1 << 26) // root
    for d in range(len(x_D)):
        y = shifted(shifted(work_D[d] * reciprocal, 26 - DIRECTION) * gain_D[d], n_bits)
        out_D[d] = np.float32(min(max(y, -limit), limit))


@numba.njit(cache=True, nogil=True)
def gate(gate_F, up_F, out_F):
    """`gate_shift` and `gated`: write float32 and return the shift; the gate is overwritten."""
    peak, n_bits = np.int32(0), 0
    for f in range(len(gate_F)):
        gate_F[f] = np.int32(gate_F[f] * up_F[f])
        peak = max(peak, np.int32(abs(gate_F[f])))
    while peak >> n_bits > INT8:
        n_bits += 1
    half, shift = np.int32((1 << n_bits) >> 1), n_bits & 31
    low, high = np.int32(-INT8), np.int32(INT8)
    for f in range(len(gate_F)):
        y = np.int32(np.int32(gate_F[f] + half) >> shift)
        out_F[f] = np.float32(min(max(y, low), high))
    return n_bits


@numba.njit(cache=True, nogil=True)
def halve(x_I, low_I):
    """`halves`: replace numbers of 15 bits by their high halves, and write the low ones."""
    for i in range(len(x_I)):
        x = np.int32(x_I[i])
        high = np.int32(np.int32(x + (1 << (HALF - 1))) >> HALF)
        low_I[i] = np.float32(x - (high << HALF))
        x_I[i] = np.float32(high)


@numba.njit(cache=True, nogil=True)
def join(high_O, low_O):
    """The end of `wide_product`: replace sums of high halves by the whole, float32 below 2^24."""
    for o in range(len(high_O)):
        whole = (np.int64(high_O[o]) << HALF) + np.int64(low_O[o])
        high_O[o] = np.float32(shifted(whole, WIDE))


@numba.njit(cache=True, nogil=True, inline="always")
def _power(below, powers):
    """`power_of_two` of one number."""
    return np.int32(powers[below & FRACTION] >> min(below >> OCTAVE, 31))


@numba.njit(cache=True, nogil=True)
def table(sums_V, multiplier_V, n_bits, powers, out_V):
    """`integer_gpt.table`: write what counts are proportional to."""
    scale(sums_V, multiplier_V, n_bits, -SCORE, SCORE, out_V)
    peak = np.int32(-(1 << 29))
    for v in range(len(out_V)):
        peak = max(peak, out_V[v])
    for v in range(len(out_V)):
        out_V[v] = _power(peak - np.int64(out_V[v]), powers)


@numba.njit(cache=True, nogil=True)
def attend(
    query_d, keys_Sd, values_Sd, position, context, multiplier, n_bits, bias_A, powers, work, out_d
):
    """`mix`: write the mean of the values that one head of a position reads, int32.

    Args:
        query_d: float32.
        keys_Sd: int8, the ring; the slot of a position is its remainder.
        values_Sd: likewise.
        position: of the query, whose key has been written.
        context: ages that are read.
        multiplier: of the scores.
        n_bits: their shift.
        bias_A: int32, by age; the last one goes on.
        powers: the table of attention weights.
        work: float32 and int32 [S].
        out_d: see above.
    """
    sums_S, weights_S = work
    n_slots, last_age = len(keys_Sd), len(bias_A) - 1
    n_read = min(position + 1, context)
    newest = position % n_slots
    first = max(newest + 1 - n_read, 0)
    n_before = n_read - (newest + 1 - first)  # behind the end of the ring
    row_product(query_d, keys_Sd[first : newest + 1], sums_S[first : newest + 1])
    row_product(query_d, keys_Sd[n_slots - n_before :], sums_S[n_slots - n_before :])
    peak = -(1 << 29)
    for age in range(n_read):
        slot = newest - age if age <= newest else newest - age + n_slots
        score = shifted(np.int64(sums_S[slot]) * multiplier, n_bits)
        score = min(max(score, -SCORE), SCORE) + bias_A[min(age, last_age)]
        weights_S[slot] = score
        peak = max(peak, score)
    out_d[:] = 0
    total = 0
    for start, stop in ((first, newest + 1), (n_slots - n_before, n_slots)):
        for slot in range(start, stop):
            weight = _power(peak - np.int64(weights_S[slot]), powers)
            if weight:
                total += weight
                value_d = values_Sd[slot]
                for d in range(len(out_d)):
                    out_d[d] = np.int32(out_d[d] + weight * np.int32(value_d[d]))
    divisor = total >> MEAN
    half = divisor >> 1
    for d in range(len(out_d)):
        out_d[d] = (np.int64(out_d[d]) + half) // divisor
