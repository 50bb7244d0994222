"""Integer cells: every code of W bits belongs to exactly one text.

A window has 2^W codes. A node of the tree is a text, the prefix of a window; it owns a contiguous
run of n codes. The first one means "the window ends here". The node shares the other n - 1 among
the next bytes by the model's integer counts. The root, the empty text, keeps no code for itself and
gives every byte at least one. A byte that gets no code does not fit into the window. So the code of
a text is a number, greedy coding always ends, and neither an end symbol nor a rule for padding is
needed (the windows of Lester et al. 2024, section 3.3, need both).

The sharing of codes decides how long the texts get. Below 2^precision codes, every single code
matters. So every byte gets the whole part of its proportional share, and the bytes with the largest
remainders get one more (Hamilton's rule of apportionment); a single last code goes to the likeliest
byte. From 2^precision codes on, the shares are the differences of a rounded running sum, which
needs no search.
"""

import numba
import numpy as np

from latent_jax.tokenizers.limbs import is_below_power, is_less, multiply_shift, subtract


@numba.njit(cache=True, nogil=True)
def shares(cumulative_C, n_codes, precision, least, out_V):
    """Write how many of `n_codes` codes each byte gets; the numbers sum to `n_codes`.

    Args:
        cumulative_C: int64[V + 1], from `cumulative_counts`.
        n_codes: below 2^precision; at least V where `least` is 1.
        precision: bits; the counts sum to 2^precision.
        least: 1 where every byte must get a code, else 0.
        out_V: int64[V], written: the number of codes of each byte.
    """
    n_symbols = len(cumulative_C) - 1
    shared = n_codes - n_symbols * least
    left = n_codes
    for v in range(n_symbols):
        count = cumulative_C[v + 1] - cumulative_C[v]
        out_V[v] = least + ((count * shared) >> precision)
        left -= out_V[v]
    # Find by bisection the smallest remainder that still gets one of the codes that are left.
    mask = (1 << precision) - 1
    low, high = np.int64(0), np.int64(1 << precision)
    while high - low > 1:
        middle = (low + high) >> 1
        n_above = 0
        for v in range(n_symbols):
            count = cumulative_C[v + 1] - cumulative_C[v]
            n_above += ((count * shared) & mask) >= middle
        if n_above >= left:
            low = middle
        else:
            high = middle
    for v in range(n_symbols):
        remainder = ((cumulative_C[v + 1] - cumulative_C[v]) * shared) & mask
        if remainder >= high:
            out_V[v] += 1
            left -= 1
    for v in range(n_symbols):  # bytes of equal remainder, in the order of their values
        remainder = ((cumulative_C[v + 1] - cumulative_C[v]) * shared) & mask
        if left > 0 and remainder == low:
            out_V[v] += 1
            left -= 1


@numba.njit(cache=True, nogil=True)
def child(free_L, cumulative_C, precision, at_root, symbol, start_L, codes_L, shares_V):
    """Write the first code and the number of codes that one byte gets from a node.

    Args:
        free_L: the number of codes that the node shares.
        cumulative_C: int64[V + 1].
        precision: bits.
        at_root: whether every byte gets at least one code.
        symbol: the byte.
        start_L: written: the number of shared codes that smaller bytes get.
        codes_L: written: the number of codes that this byte gets; 0 where it does not fit.
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
    """Return the byte that owns the shared code number `code_L` of a node.

    Args:
        free_L: the number of codes that the node shares.
        cumulative_C: int64[V + 1].
        precision: bits.
        at_root: whether every byte gets at least one code.
        code_L: the number of the code, counted from the first shared one; below `free_L`.
        scratch_L: limbs, scratch.
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
