"""Integer cells: every code of W bits belongs to exactly one text.

A window owns 2^W codes. A node, which is a text so far, owns a run of n of them: it keeps the first
for "the window ends here" and shares the other n - 1 among the next bytes by the model's integer
counts; the root, the empty text, keeps none and gives every byte at least one. A byte without a
code does not fit. So the code of a text is a number, greedy coding always ends, and no end symbol
and no rule for padding is needed (the windows of Lester et al. 2024, section 3.3, need both).

How the codes are shared decides how long the texts get. In a tree of K texts the expected length of
a greedily chosen text is the sum of the probabilities of all its nodes, and largest for the K most
probable nodes: those above a threshold. A byte of probability p then leads to about p x of them,
rounded down. So n - 1 codes are shared as floor(p x), with the largest x that does not give away
too many (d'Hondt's rule of apportionment). From 2^precision codes on, where a single code is no
matter, the shares are the differences of a rounded running sum: that needs no search.
"""

import numba
import numpy as np

from latent_jax.tokenizers.limbs import is_below_power, is_less, multiply_shift, subtract

_FRACTION = 16
"""Bits after the point of x."""


@numba.njit(cache=True, nogil=True)
def _total(cumulative_C, x, precision, least):
    total = np.int64(0)
    for v in range(len(cumulative_C) - 1):
        share = ((cumulative_C[v + 1] - cumulative_C[v]) * x) >> (precision + _FRACTION)
        total += max(share, least)
    return total


@numba.njit(cache=True, nogil=True)
def shares(cumulative_C, n_codes, precision, least, out_V):
    """Write how many of `n_codes` codes each byte gets, int64[V]; they sum to `n_codes`.

    Args:
        cumulative_C: int64[V + 1], from `cumulative_counts`.
        n_codes: below 2^precision; at least V where `least` is 1.
        precision: bits; the counts sum to 2^precision.
        least: 0, or 1 where every byte must get a code.
        out_V: see above.
    """
    n_symbols = len(cumulative_C) - 1
    # Rounding takes less than one code from each byte, so x is between n and n + V.
    low, high = (0 if least else n_codes) << _FRACTION, (n_codes + n_symbols) << _FRACTION
    while high - low > 1:
        middle = (low + high) >> 1
        if _total(cumulative_C, middle, precision, least) <= n_codes:
            low = middle
        else:
            high = middle
    left = n_codes
    for v in range(n_symbols):
        count = cumulative_C[v + 1] - cumulative_C[v]
        out_V[v] = max((count * low) >> (precision + _FRACTION), least)
        left -= out_V[v]
    # Those that would rise together at the next x, in the order of the bytes.
    for v in range(n_symbols):
        count = cumulative_C[v + 1] - cumulative_C[v]
        if left > 0 and max((count * high) >> (precision + _FRACTION), least) > out_V[v]:
            out_V[v] += 1
            left -= 1


@numba.njit(cache=True, nogil=True)
def child(free_L, cumulative_C, precision, at_root, symbol, start_L, codes_L, shares_V):
    """Write where the codes of one byte begin among those that a node shares, and how many it gets.

    Args:
        free_L: the number of codes that the node shares.
        cumulative_C: int64[V + 1].
        precision: bits.
        at_root: every byte gets at least one code.
        symbol: the byte.
        start_L: out: the codes of smaller bytes.
        codes_L: out: the byte's own; 0 where it does not fit.
        shares_V: int64[V], scratch.
    """
    if is_below_power(free_L, precision):
        shares(cumulative_C, free_L[0], precision, 1 if at_root else 0, shares_V)
        start_L[:] = 0
        codes_L[:] = 0
        for v in range(symbol):
            start_L[0] += shares_V[v]
        codes_L[0] = shares_V[symbol]
    else:
        multiply_shift(free_L, cumulative_C[symbol], precision, start_L)
        multiply_shift(free_L, cumulative_C[symbol + 1], precision, codes_L)
        subtract(codes_L, start_L, codes_L)


@numba.njit(cache=True, nogil=True)
def find_child(free_L, cumulative_C, precision, at_root, code_L, scratch_L, shares_V):
    """Return the byte to which code number `code_L` of those that a node shares belongs.

    Args:
        free_L: the number of codes that the node shares; `code_L` is below it.
        cumulative_C: int64[V + 1].
        precision: bits.
        at_root: every byte gets at least one code.
        code_L: counted from the first shared code.
        scratch_L: any limbs.
        shares_V: int64[V], scratch.
    """
    n_symbols = len(cumulative_C) - 1
    if is_below_power(free_L, precision):
        shares(cumulative_C, free_L[0], precision, 1 if at_root else 0, shares_V)
        end = np.int64(0)
        for v in range(n_symbols):
            end += shares_V[v]
            if code_L[0] < end:
                return v
    low, high = 0, n_symbols
    while high - low > 1:
        middle = (low + high) // 2
        multiply_shift(free_L, cumulative_C[middle], precision, scratch_L)
        if is_less(code_L, scratch_L):
            high = middle
        else:
            low = middle
    return low
