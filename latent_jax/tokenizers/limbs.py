"""Non-negative integers of up to 160 bits as int64 arrays of 32-bit limbs, lowest limb first.

The code of a window of 128 bits does not fit into a machine word. A limb leaves 31 bits of an int64
for a factor or a carry, so no step overflows and none is rounded.
"""

import numba
import numpy as np

LIMB = 32
_MASK = (1 << LIMB) - 1


def n_limbs(window_bits: int) -> int:
    """Return the number of limbs that hold every number from 0 to 2^window_bits inclusive."""
    return window_bits // LIMB + 1


@numba.njit(cache=True, nogil=True, inline="always")
def add(a_L, b_L, out_L):
    """Write a + b."""
    carry = np.int64(0)
    for i in range(len(out_L)):
        total = a_L[i] + b_L[i] + carry
        out_L[i] = total & _MASK
        carry = total >> LIMB


@numba.njit(cache=True, nogil=True, inline="always")
def add_small(a_L, b, out_L):
    """Write a + b for an int64 b of either sign; the sum must not be negative."""
    carry = np.int64(b)
    for i in range(len(out_L)):
        total = a_L[i] + carry
        out_L[i] = total & _MASK
        carry = total >> LIMB


@numba.njit(cache=True, nogil=True, inline="always")
def subtract(a_L, b_L, out_L):
    """Write a - b, for b <= a."""
    carry = np.int64(0)
    for i in range(len(out_L)):
        total = a_L[i] - b_L[i] + carry
        out_L[i] = total & _MASK
        carry = total >> LIMB


@numba.njit(cache=True, nogil=True, inline="always")
def is_less(a_L, b_L):
    """Return whether a < b."""
    for i in range(len(a_L) - 1, -1, -1):
        if a_L[i] != b_L[i]:
            return a_L[i] < b_L[i]
    return False


@numba.njit(cache=True, nogil=True, inline="always")
def multiply_shift(a_L, factor, shift, out_L):
    """Write (a * factor) >> shift, for 0 <= factor < 2^31 and 0 < shift < 32.

    The result must fit into the limbs of `out_L`.
    """
    carry = np.int64(0)
    below = np.int64(0)
    for i in range(len(a_L)):
        product = a_L[i] * factor + carry
        limb = product & _MASK
        carry = product >> LIMB
        if i:
            out_L[i - 1] = below | ((limb << (LIMB - shift)) & _MASK)
        below = limb >> shift
    out_L[len(a_L) - 1] = below | ((carry << (LIMB - shift)) & _MASK)


@numba.njit(cache=True, nogil=True, inline="always")
def bit_length(a_L):
    """Return the number of bits without leading zeros; 0 for 0."""
    for i in range(len(a_L) - 1, -1, -1):
        if a_L[i]:
            n_bits = np.int64(0)
            limb = a_L[i]
            while limb:
                limb >>= 1
                n_bits += 1
            return i * LIMB + n_bits
    return np.int64(0)


@numba.njit(cache=True, nogil=True, inline="always")
def is_below_power(a_L, power):
    """Return whether a < 2^power, for power < 32."""
    for i in range(len(a_L) - 1, 0, -1):
        if a_L[i]:
            return False
    return a_L[0] >> power == 0


@numba.njit(cache=True, nogil=True)
def to_bits(a_L, bits_W):
    """Write the lowest W bits of a into uint8[W], the most significant first."""
    width = len(bits_W)
    for j in range(width):
        at = width - 1 - j
        bits_W[j] = (a_L[at // LIMB] >> (at % LIMB)) & 1


@numba.njit(cache=True, nogil=True)
def from_bits(bits_W, out_L):
    """Write the number with these bits, the most significant first."""
    out_L[:] = 0
    width = len(bits_W)
    for j in range(width):
        at = width - 1 - j
        out_L[at // LIMB] |= np.int64(bits_W[j]) << (at % LIMB)
