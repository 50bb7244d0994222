"""The paper's rule for windows: the shortest dyadic code of the text's interval, padded with zeros.

Lester et al. 2024, section 3.3. A byte joins the window while the shortest string of bits whose
interval [0.s, 0.s + 2^-len(s)) lies inside the text's interval has at most W bits. Padding makes
texts that differ in bytes coded by zeros alike, so a window does not always say where it ends: the
reader keeps the longest text whose padded code is the window. The delay variant (section A.5) gives
such bytes to the next window, so that the first text with this code is the right one.
"""

import math

import numba
import numpy as np

from latent_jax.tokenizers import arithmetic, limbs

KEY = 4
"""Limbs of a padded code of up to 128 bits."""


def most_bytes(window_bits: int, precision: int) -> int:
    """Return an upper bound of the bytes in a window: none costs less than the likeliest can."""
    cheapest = -math.log2(1 - 255 / 2**precision)
    return int(window_bits / cheapest) + 2


@numba.njit(cache=True, nogil=True)
def enter(coder, bits_W, start_count, stop_count, precision):
    """Narrow the interval by a symbol if its code still fits into W bits; else change nothing.

    Args:
        coder: int64[4], the state of the arithmetic coder.
        bits_W: uint8[W], what it has written.
        start_count: cumulative count before the symbol.
        stop_count: cumulative count after it.
        precision: the counts sum to 2^precision.

    Returns:
        Whether it fitted.
    """
    low, size = coder[arithmetic.LOW], coder[arithmetic.SIZE]
    pending, written = coder[arithmetic.PENDING], coder[arithmetic.WRITTEN]
    arithmetic.encode_symbol(coder, bits_W, start_count, stop_count, precision)
    if arithmetic.length(coder) <= len(bits_W):
        return True
    coder[arithmetic.LOW], coder[arithmetic.SIZE] = low, size
    coder[arithmetic.PENDING], coder[arithmetic.WRITTEN] = pending, written
    return False


@numba.njit(cache=True, nogil=True)
def padded(coder, bits_W, out_W):
    """Write the code of the window if it ended here: uint8[W]. The coder goes on unchanged."""
    end = coder.copy()
    out_W[:] = bits_W
    arithmetic.finish(end, out_W)
    out_W[end[arithmetic.WRITTEN] :] = 0


@numba.njit(cache=True, nogil=True)
def key(coder, bits_W, out_L):
    """Write the padded code as a number, int64[KEY]."""
    code_W = np.empty_like(bits_W)
    padded(coder, bits_W, code_W)
    limbs.from_bits(code_W, out_L)


@numba.njit(cache=True, nogil=True)
def first_equal(history_DL, depth):
    """Return the length of the shortest text, at least 1 byte, with the code of the longest."""
    for j in range(depth):
        if (history_DL[j] == history_DL[depth - 1]).all():
            return j + 1
    return depth


@numba.njit(cache=True, nogil=True)
def is_code(coder, bits_W, code_W):
    """Return whether the padded code of the text so far is `code_W`."""
    own_W = np.empty_like(bits_W)
    padded(coder, bits_W, own_W)
    return (own_W == code_W).all()
