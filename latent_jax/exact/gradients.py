"""The operations of `exact.operations` for training: integers in float32, with gradients.

Forward, every function here *is* the integer operation: its operands are integers in float32, are
cast to int32, and the result is cast back. float32 holds integers of up to 2^24 in size. So what is
trained gives, to the last bit, what the exported file gives, as long as operands and results are no
larger:

    operands of products, sums of products      within 2^24 by `bounds.check_sum`
    stream, gains, gates, means, multipliers    within 2^19, 2^16, 2^11, 2^13, 2^23
    scores, biases, logits                      a file allows 2^28. `models.quantized_gpt` keeps its
                                                own within `LOGARITHM`, so score plus bias is 2^24

A number beyond 2^24 would be rounded to a multiple of a power of two. Backward, each is
differentiated as the real-valued function that it rounds (the straight-through estimator, Bengio,
Leonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons",
section 4; Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 3).
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from latent_jax.exact import bounds, operations

LOGARITHM = 1 << 23
"""Largest score, bias or logit while a network is trained: a power of two of 2^17 octaves."""


def _straight_through(integer: Callable, smooth: Callable) -> Callable:
    """Return a function of float arrays with the value of one and the gradient of the other."""

    @jax.custom_vjp
    def run(*arrays):
        return integer(*(x.astype(jnp.int32) for x in arrays)).astype(jnp.float32)

    def backward(arrays, gradient):
        return jax.vjp(smooth, *arrays)[1](gradient)

    run.defvjp(lambda *arrays: (run(*arrays), arrays), backward)
    return run


def whole(x: jax.Array, scale: float, limit: int) -> jax.Array:
    """Return round(x scale) within +-limit as float32; the gradient is that of x scale, clipped."""
    return _rounded(x, scale, limit)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _rounded(x, scale, limit):
    return jnp.clip(jnp.round(x * scale), -limit, limit)


def _rounded_backward(scale, limit, x, gradient):
    return (jnp.where(jnp.abs(x * scale) <= limit + 0.5, gradient * scale, 0.0),)


_rounded.defvjp(lambda x, scale, limit: (_rounded(x, scale, limit), x), _rounded_backward)


def product(x: jax.Array, w: jax.Array, dtype: str = "float32") -> jax.Array:
    """See `exact.operations.product`: a product of floats that are integers is exact by itself."""
    return jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=jnp.float32)


def wide_product(x: jax.Array, w: jax.Array, dtype: str = "float32") -> jax.Array:
    """See `exact.operations.wide_product`."""
    return _straight_through(
        functools.partial(operations.wide_product, dtype=dtype),
        lambda x, w: jnp.matmul(x, w) * 2.0**-bounds.WIDE,
    )(x, w)


def requantize(x, multiplier, n_bits, low: int, high: int) -> jax.Array:
    """See `exact.operations.requantize`. Multipliers and shifts are constants of a run."""
    constants = jax.lax.stop_gradient((multiplier, n_bits))
    multiplier, n_bits = (operations.like(constant, x) for constant in constants)
    return _straight_through(
        lambda x, m, n: operations.requantize(x, m, n, low, high),
        lambda x, m, n: jnp.clip(x * (m * jnp.exp2(-n)), low, high),
    )(x, multiplier, n_bits)


def add(x, y) -> jax.Array:
    """See `exact.operations.add`."""
    return jnp.clip(x + y, -bounds.STREAM, bounds.STREAM)


def gate_shift(gate, up) -> jax.Array:
    """See `exact.operations.gate_shift`; a constant for the gradient."""
    gate, up = (jax.lax.stop_gradient(x).astype(jnp.int32) for x in (gate, up))
    return operations.gate_shift(gate, up).astype(jnp.float32)


def gated(gate, up, n_bits) -> jax.Array:
    """See `exact.operations.gated`."""
    return _straight_through(operations.gated, lambda g, u, n: g * u * jnp.exp2(-n))(
        gate, up, jax.lax.stop_gradient(n_bits)
    )


def norm(x_BTD, gain_D, n_bits: int, limit: int) -> jax.Array:
    """See `exact.operations.norm`."""

    def smooth(x_BTD, gain_D):
        square_BT1 = jnp.sum(jnp.square(x_BTD), axis=-1, keepdims=True)
        y_BTD = x_BTD * jax.lax.rsqrt(jnp.maximum(square_BT1, 1.0))
        return jnp.clip(y_BTD * gain_D * 2.0 ** (bounds.DIRECTION - n_bits), -limit, limit)

    return _straight_through(lambda x, gain: operations.norm(x, gain, n_bits, limit), smooth)(
        x_BTD, operations.like(gain_D, x_BTD)
    )


def mix(scores, is_read, table, v_Sd, dtype: str = "float32") -> jax.Array:
    """See `exact.operations.mix`."""
    read = is_read.astype(jnp.float32)

    def smooth(scores, read, table, v_Sd):
        octaves = jnp.where(read > 0, scores * (2.0**-bounds.OCTAVE * math.log(2)), -1e9)
        return (jax.nn.softmax(octaves, axis=-1) @ v_Sd) * 2.0**bounds.MEAN

    return _straight_through(
        lambda scores, read, table, v: operations.mix(scores, read > 0, table, v, dtype), smooth
    )(scores, jnp.broadcast_to(read, scores.shape), table.astype(jnp.float32), v_Sd)
