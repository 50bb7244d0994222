"""Layer normalisation (Ba, Kiros and Hinton 2016) and RMS normalisation (Zhang and Sennrich 2019).

Their statistics are always float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5
"""Added to the variance or the mean square; GPT-2's value."""


def layer_norm(x_BTD: jax.Array, scale_D: jax.Array, bias_D: jax.Array) -> jax.Array:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + bias per position, in x's dtype."""
    x32_BTD = x_BTD.astype(jnp.float32)
    centred_BTD = x32_BTD - jnp.mean(x32_BTD, axis=-1, keepdims=True)
    variance_BT1 = jnp.mean(jnp.square(centred_BTD), axis=-1, keepdims=True)
    normal_BTD = centred_BTD * jax.lax.rsqrt(variance_BT1 + EPSILON)
    return (normal_BTD * scale_D[None, None] + bias_D[None, None]).astype(x_BTD.dtype)


def rms_norm(x_BTD: jax.Array, scale_D: jax.Array) -> jax.Array:
    """Return x / sqrt(mean(x^2) + epsilon) * scale per position, in x's dtype."""
    x32_BTD = x_BTD.astype(jnp.float32)
    square_BT1 = jnp.mean(jnp.square(x32_BTD), axis=-1, keepdims=True)
    return (x32_BTD * jax.lax.rsqrt(square_BT1 + EPSILON) * scale_D[None, None]).astype(x_BTD.dtype)


class RMSNorm(nn.Module):
    """`rms_norm` with a learned float32 scale per feature."""

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Normalise every position alone; shape and dtype are kept."""
        scale_D = self.param("scale", nn.initializers.ones, (x_BTD.shape[-1],), jnp.float32)
        return rms_norm(x_BTD, scale_D)


class LayerNorm(nn.Module):
    """`layer_norm` with a learned float32 scale and bias per feature."""

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Normalise every position alone; shape and dtype are kept."""
        d_model = x_BTD.shape[-1]
        scale_D = self.param("scale", nn.initializers.ones, (d_model,), jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, (d_model,), jnp.float32)
        return layer_norm(x_BTD, scale_D, bias_D)


NORM_MODULES = {"layer": LayerNorm, "rms": RMSNorm}
"""Modules by the words of `layers.config.NORMS`."""
