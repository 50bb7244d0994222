"""The numbers that bound exact arithmetic, and the proof that a product keeps them.

No JAX: who decodes on a processor alone reads these too.
"""

import math

import numpy as np

INT8 = 127
"""Largest operand of a product: it fits into int8, and into the 8 bits of bfloat16."""
HALF = 7
"""Bits of the lower of two halves."""
INT15 = (INT8 << HALF) + (1 << (HALF - 1)) - 1
"""Largest number whose halves are operands, 16,319."""
STREAM = (1 << 19) - 1
"""Largest number of the residual stream."""
EXACT = 1 << 24
"""float32 holds every integer up to here."""
OCTAVE = 6
"""Logits and scores are logarithms to base 2 in units of 2^-6."""
WEIGHT_BITS = 14
"""Attention weights are below 2^14: two halves of 7 bits, without a sign."""
PEAK, DIRECTION = 11, 14
"""Of the norm: bits of the largest number it squares, and of the direction it returns."""
WIDE = 8
"""Bits that a wide product leaves out."""
GATE = (1 << 11) - 1
"""Largest number on either side of a gate."""
GATE_SHIFT = 15
"""Largest shift of the products of a position behind a gate."""
SCORE = 1 << 28
"""Largest score or logit."""
GAIN = (1 << 16) - 1
"""Largest gain of a norm."""
MEAN = 5
"""Fraction bits of a mean of values."""


def check_sum(
    weights: np.ndarray, name: str, largest: int = INT8, limit: int = EXACT
) -> np.ndarray:
    """Return the largest sum that a product with these weights can give, int64[outputs].

    Args:
        weights: integers [inputs, outputs].
        name: for the message.
        largest: of the other operand.
        limit: what the sum must stay below.

    Raises:
        ValueError: weights are outside of int8, or the sum may reach the limit.
    """
    weights = np.asarray(weights, np.int64)
    if weights.size and np.abs(weights).max() > INT8:
        raise ValueError(f"{name}: weights up to {np.abs(weights).max()}; at most {INT8} are exact")
    bounds = np.abs(weights).sum(axis=0) * largest
    if bounds.max(initial=0) >= limit:
        raise ValueError(f"{name}: sums up to {bounds.max():,} are not below {limit:,}")
    return bounds


def powers(n_bits: int) -> list[int]:
    """Return the table that a file gets: floor((2^n - 1) 2^(-k / 64)), by integers alone."""
    top = (1 << n_bits) - 1
    return [_root64(top**64 >> k) for k in range(1 << OCTAVE)]


def _root64(x: int) -> int:
    """Return floor(x^(1/64)): six square roots."""
    for _ in range(OCTAVE):
        x = math.isqrt(x)
    return x
