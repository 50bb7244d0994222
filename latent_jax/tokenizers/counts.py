"""Probabilities as integer counts that sum to exactly 2^precision, with at least 1 per symbol.

An arithmetic coder is exact only if encoder and decoder divide the interval in the same way. So the
coder divides it by integers, and floats that counts are made from never reach it.
"""

import numba
import numpy as np

from latent_jax.ranges import at_least

MIN_PRECISION, MAX_PRECISION = 9, 16
"""Bits. 8 are too few, because 257 symbols get at least 1 each."""
PRECISIONS = at_least(MIN_PRECISION, MAX_PRECISION)


def check_precision(precision: int) -> None:
    """Raise a ValueError unless counts of this precision can be made."""
    if not MIN_PRECISION <= precision <= MAX_PRECISION:
        raise ValueError(
            f"precision={precision} is outside {MIN_PRECISION} to {MAX_PRECISION} bits; Lester et "
            "al. 2024 take 14"
        )


@numba.njit(cache=True, nogil=True)
def cumulative_counts(table_V, precision, out_C):
    """Write the cumulative integer counts of one distribution.

    Every symbol gets 1. The rest of 2^precision is shared in proportion to max(p * 2^precision - 1,
    0), the part of each symbol's share above 1. A running sum is rounded, so the total is exact
    without a second pass. From float32, all operations are multiplications, sums in a fixed order
    and a floor, and give the same counts on every machine that has the same floats. From integers,
    there is no float at all.

    Args:
        table_V: probabilities, float32, which need not sum to 1, but their sum must be finite and
            positive; or int32, from 0 to 2^20, where all may be 0 and are then equal. V <
            2^precision, so that some symbol has more than a count of 1.
        precision: bits, `MIN_PRECISION` to `MAX_PRECISION`.
        out_C: int64[V + 1], written: symbol v owns [out_C[v], out_C[v + 1]), out_C[0] = 0 and
            out_C[V] = 2^precision.
    """
    _write_counts(table_V, precision, out_C)


def _write_counts(table_V, precision, out_C):
    """Choose by dtype, while Numba compiles."""
    raise NotImplementedError("compiled code only")


@numba.extending.overload(_write_counts, inline="always")
def _choose(table_V, precision, out_C):
    if isinstance(table_V.dtype, numba.types.Float):
        return lambda table_V, precision, out_C: _from_floats(table_V, precision, out_C)
    return lambda table_V, precision, out_C: _from_integers(table_V, precision, out_C)


@numba.njit(cache=True, nogil=True)
def _from_floats(probabilities_V, precision, out_C):
    n_symbols = len(probabilities_V)
    total = 0.0
    for v in range(n_symbols):
        total += np.float64(probabilities_V[v])
    scale = np.float64(1 << precision) / total
    above = 0.0
    for v in range(n_symbols):
        above += max(probabilities_V[v] * scale - 1.0, 0.0)
    shared = np.float64((1 << precision) - n_symbols)
    ratio = shared / above if above > 0.0 else 0.0
    running = 0.0
    out_C[0] = 0
    for v in range(n_symbols):
        running += max(probabilities_V[v] * scale - 1.0, 0.0) * ratio
        out_C[v + 1] = v + 1 + np.int64(min(running, shared) + 0.5)
    out_C[n_symbols] = 1 << precision


@numba.njit(cache=True, nogil=True)
def _from_integers(weights_V, precision, out_C):
    """With weights up to 2^20, 257 of them and 16 bits of precision, all is below 2^61."""
    n_symbols = len(weights_V)
    total = np.int64(0)
    for v in range(n_symbols):
        total += weights_V[v]
    out_C[0] = 0
    if total == 0:  # windows leave out the end of the text, which may have all the weight
        for v in range(n_symbols):
            out_C[v + 1] = (np.int64(v + 1) << precision) // n_symbols
        return
    above = np.int64(0)
    for v in range(n_symbols):
        above += max((np.int64(weights_V[v]) << precision) - total, 0)
    shared = np.int64((1 << precision) - n_symbols)
    half, running = above >> 1, np.int64(0)
    for v in range(n_symbols):
        running += max((np.int64(weights_V[v]) << precision) - total, 0)
        out_C[v + 1] = v + 1 + (running * shared + half) // above


@numba.njit(cache=True, nogil=True)
def find_symbol(cumulative_C, target):
    """Return the symbol v with cumulative_C[v] <= target < cumulative_C[v + 1]."""
    low, high = 0, len(cumulative_C) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if cumulative_C[middle] <= target:
            low = middle
        else:
            high = middle
    return low
