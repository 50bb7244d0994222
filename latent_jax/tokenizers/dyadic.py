"""The paper's rule for windows: the shortest dyadic code of the text's interval, padded with zeros.

Lester et al. 2024, section 3.3. The code of a text is the shortest string of bits s whose interval
[0.s, 0.s + 2^-len(s)) lies inside the text's interval. A byte joins the window while this code has
at most W bits. Zeros pad the code to W bits. A text and a continuation of it whose further bytes
add only zeros then have the same code, so a window does not always show where it ends. The decoder
takes the longest text with the code. In the delay variant (section A.5) the encoder moves such
bytes to the next window, and the decoder takes the shortest text with the code.
"""

import math

import numba
import numpy as np

from latent_jax.tokenizers import arithmetic, limbs

KEY = 4
"""Number of limbs of a padded code, which has up to 128 bits."""


def most_bytes(window_bits: int, precision: int) -> int:
    """Return an upper bound of the bytes in a window.

    A byte of the largest possible probability, 1 - 255 / 2^precision, costs the fewest bits.
    """
    cheapest = -math.log2(1 - 255 / 2**precision)
    return int(window_bits / cheapest) + 2


@numba.njit(cache=True, nogil=True)
def enter(coder, bits_W, start_count, stop_count, precision):
    """Narrow the interval by a symbol if the code still fits into W bits; else change nothing.

    Args:
        coder: int64[4], the state of the arithmetic coder.
        bits_W: uint8[W], the bits that the coder has written.
        start_count: cumulative count before the symbol.
        stop_count: cumulative count after it.
        precision: the counts sum to 2^precision.

    Returns:
        Whether it fits.
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
    """Write the code that the window has if it ends here, uint8[W]. The coder is not changed."""
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
    """Return the length in bytes, at least 1, of the shortest prefix with the longest one's code.

    Args:
        history_DL: int64[>= depth, KEY], the code of every prefix.
        depth: bytes in the longest prefix.
    """
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
