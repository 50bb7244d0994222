"""Integer arithmetic: the same bits on every device, in every order, under every compiler.

What a network of these operations computes is defined by integers alone, so that a decoder on
another machine, years later, sees what the encoder saw. Three facts carry it.

*Products.* Operands are integers of at most `INT8` in size, sums stay below 2^24. float32 holds all
integers up to 2^24, so every partial sum, in any order, fused or not, is exact; so it is in TF32
(operands of 11 bits), with bfloat16 operands and float32 sums (8 bits), and in int8 kernels.
Operands of 15 bits are two of 8 (`halves`). `check_sum` proves the bound of a product from its
weights before it is used. (Kernels that sum in fewer than 24 bits, as those of float8 do, are not.)

*Everything else* is int32, where addition, multiplication, shifts, comparisons, minimum, maximum
and floor division have one result as long as nothing leaves 32 bits; each docstring says why it
does not. Sums in int32 are associative. No float is rounded anywhere.

*Tables* of powers of two are part of the model's file. No device computes an exponential.

Bounds that hold throughout: the residual stream is within +-`STREAM`, what enters a product within
+-`INT8` or +-`INT15`.
"""

import jax
import jax.numpy as jnp

from latent_jax.exact.bounds import (
    DIRECTION,
    HALF,
    INT8,
    MEAN,
    OCTAVE,
    PEAK,
    STREAM,
    WIDE,
)

LARGEST_ROOT = 46_340
"""Of a number below 2^31."""


def rounded_shift(x: jax.Array, n_bits: jax.Array | int) -> jax.Array:
    """Return floor(x / 2^n + 1/2). int32 with |x| < 2^31 - 2^(n-1): the sum does not overflow."""
    return (x + ((1 << n_bits) >> 1)) >> n_bits


def product(x: jax.Array, w: jax.Array, dtype: str = "float32") -> jax.Array:
    """Return x w, int32, for integers that `check_sum` has passed; `dtype` is of the operands."""
    return jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=jnp.float32).astype(
        jnp.int32
    )


def halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return high and low of x = high 2^7 + low, |x| <= INT15: |high| <= 127, -64 <= low <= 63."""
    high = (x + (1 << (HALF - 1))) >> HALF
    return high, x - (high << HALF)


def wide_product(x: jax.Array, w: jax.Array, dtype: str = "float32") -> jax.Array:
    """Return x w / 2^8, rounded, int32, for |x| <= INT15: a product for each half.

    Both sums are below 2^24; the whole is at most `INT15` times the absolute weights of an output,
    which `check_sum` holds below 2^31 - 2^7.
    """
    high, low = halves(x)
    whole = (product(high, w, dtype) << HALF) + product(low, w, dtype)
    return rounded_shift(whole, WIDE)


def requantize(
    x: jax.Array, multiplier: jax.Array, n_bits: jax.Array, low: int, high: int
) -> jax.Array:
    """Return x multiplier / 2^n, rounded and clipped; the file's check holds the product below
    2^31 - 2^(n-1) by the bound of x.
    """
    return jnp.clip(rounded_shift(x * like(multiplier, x), like(n_bits, x)), low, high)


def like(constant: jax.Array | int, x: jax.Array) -> jax.Array | int:
    """Return a constant of the last axes with as many axes as x; a scalar stays one."""
    n_axes = jnp.ndim(constant)
    if n_axes in (0, x.ndim):
        return constant
    return constant.reshape((1,) * (x.ndim - n_axes) + constant.shape)


def add(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return x + y within the residual stream; both are within it, so the sum is below 2^20."""
    return jnp.clip(x + y, -STREAM, STREAM)


def gate_shift(gate: jax.Array, up: jax.Array) -> jax.Array:
    """Return by how many bits the products of a position are shifted to fit 7 bits, [B, T, 1].

    Both sides have at most 11 bits, so the products are below 2^22 and the result is at most 15.
    """
    peak_BT1 = jnp.max(jnp.abs(gate * up), axis=-1, keepdims=True)
    n_bits_BT1 = 32 - jax.lax.clz(peak_BT1)
    return jnp.maximum(n_bits_BT1 - INT8.bit_length(), 0)


def gated(gate: jax.Array, up: jax.Array, n_bits: jax.Array) -> jax.Array:
    """Return gate up / 2^n, rounded, of at most 127 in size where n is the `gate_shift`."""
    return jnp.clip(rounded_shift(gate * up, n_bits), -INT8, INT8)


def root(x: jax.Array) -> jax.Array:
    """Return floor(sqrt(x)) for 0 <= x < 2^31, bit by bit: no square exceeds 46,340^2 < 2^31."""
    found = jnp.zeros_like(x)
    for bit in range(15, -1, -1):
        larger = found | (1 << bit)
        square = jnp.square(jnp.minimum(larger, LARGEST_ROOT))
        found = jnp.where((larger <= LARGEST_ROOT) & (square <= x), larger, found)
    return found


def direction(x_BTD: jax.Array) -> jax.Array:
    """Return x / |x| in units of 2^-14, int32[B, T, D], |.| <= 2^14 + 16: an RMS norm up to a gain.

    The largest |x| of a position is brought to 11 bits, y = x 2^11 / 2^b with b its bit length: x
    2^11 is below 2^30. Then |y| <= 2^11, and D squares of 2^22 stay below 2^31, which the file's
    check asks of D: at most 511. Their root n is at least 2^10 (or all are 0), so the reciprocal
    2^26 / n is at most 2^16, and y times it at most 2^27.
    """
    peak_BT1 = jnp.max(jnp.abs(x_BTD), axis=-1, keepdims=True)
    n_bits_BT1 = 32 - jax.lax.clz(jnp.maximum(peak_BT1, 1))
    y_BTD = rounded_shift(x_BTD << PEAK, n_bits_BT1)
    square_BT1 = jnp.sum(y_BTD * y_BTD, axis=-1, keepdims=True, dtype=jnp.int32)
    reciprocal_BT1 = (1 << 26) // root(jnp.maximum(square_BT1, 1 << 20))
    return rounded_shift(y_BTD * reciprocal_BT1, 26 - DIRECTION)


def norm(x_BTD: jax.Array, gain_D: jax.Array, n_bits: int, limit: int) -> jax.Array:
    """Return the direction times a gain, / 2^n, rounded and clipped to +-limit.

    Gains are below 2^16, directions at most 2^14 + 16: the product is below 2^31 - 2^17.
    """
    return requantize(direction(x_BTD), gain_D, n_bits, -limit, limit)


def power_of_two(below: jax.Array, table: jax.Array) -> jax.Array:
    """Return table[0] 2^(-below / 64), int32, for `below` >= 0 in units of 2^-6 octaves.

    The part below an octave is looked up, whole octaves are shifts of a positive number.
    """
    octaves = jnp.minimum(below >> OCTAVE, 31)
    return jnp.take(table, below & ((1 << OCTAVE) - 1)) >> octaves


def weights_of(scores: jax.Array, is_read: jax.Array, table: jax.Array) -> jax.Array:
    """Return unnormalised attention weights over the last axis, int32 from 0 to 2^14 - 1.

    Scores are below 2^29 in size, so their difference to the largest is below 2^31. The largest
    that is read has the weight table[0], what is not read has 0.
    """
    scores = jnp.where(is_read, scores, -(1 << 29))
    below = jnp.max(scores, axis=-1, keepdims=True) - scores
    return jnp.where(is_read, power_of_two(below, table), 0)


def mean(weights_TS: jax.Array, v_Sd: jax.Array, dtype: str = "float32") -> jax.Array:
    """Return the weighted mean of values in units of 2^-5, int32[..., T, d].

    Weights below 2^14 are two halves of 7 bits, so each product of S <= 1,024 values of at most 127
    stays below 2^24. The whole, at most S 2^14 127, is below 2^31 together with half of the divisor
    for S <= 1,024; the divisor, the total in units of 2^5, is at least 2^8.
    """
    high, low = weights_TS >> HALF, weights_TS & ((1 << HALF) - 1)
    whole = (product(high, v_Sd, dtype) << HALF) + product(low, v_Sd, dtype)
    total = jnp.sum(weights_TS, axis=-1, keepdims=True, dtype=jnp.int32) >> MEAN
    return (whole + (total >> 1)) // total


def mix(
    scores: jax.Array,
    is_read: jax.Array,
    table: jax.Array,
    v_Sd: jax.Array,
    dtype: str = "float32",
) -> jax.Array:
    """Return the mean of values under softmax(scores), see `weights_of` and `mean`."""
    return mean(weights_of(scores, is_read, table), v_Sd, dtype)
