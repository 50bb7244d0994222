"""Layer normalisation (Ba, Kiros and Hinton 2016) and RMS normalisation (Zhang and Sennrich 2019).

Means, variances and mean squares are always computed in float32.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5
"""Added to the variance or the mean square; GPT-2's value, and the default."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x_BTD: jax.Array, scale_D: jax.Array, bias_D: jax.Array, epsilon: float = EPSILON
) -> jax.Array:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + bias per position, in x's dtype."""
    return _layer_norm(x_BTD, scale_D, bias_D, epsilon)[0]


def _layer_norm(x_BTD, scale_D, bias_D, epsilon):
    """Return the result, and what the backward pass needs: the input and its statistics."""
    x32_BTD = x_BTD.astype(jnp.float32)
    mean_BT1 = jnp.mean(x32_BTD, axis=-1, keepdims=True)
    centred_BTD = x32_BTD - mean_BT1
    variance_BT1 = jnp.mean(jnp.square(centred_BTD), axis=-1, keepdims=True)
    inverse_BT1 = jax.lax.rsqrt(variance_BT1 + epsilon)
    y_BTD = centred_BTD * inverse_BT1 * scale_D[None, None] + bias_D[None, None]
    return y_BTD.astype(x_BTD.dtype), (x_BTD, scale_D, mean_BT1, inverse_BT1)


def _layer_norm_gradients(epsilon, kept, gradient_BTD):
    """Return the gradients of x, scale and bias (Ba, Kiros and Hinton 2016, section 3)."""
    del epsilon  # it is in the statistics that were kept
    x_BTD, scale_D, mean_BT1, inverse_BT1 = kept
    g_BTD = gradient_BTD.astype(jnp.float32)
    # Without the barrier XLA would keep the float32 x of the forward pass instead of casting again.
    x_BTD = jax.lax.optimization_barrier(x_BTD)
    normal_BTD = (x_BTD.astype(jnp.float32) - mean_BT1) * inverse_BT1
    scaled_BTD = g_BTD * scale_D[None, None]
    mean_BT1 = jnp.mean(scaled_BTD, axis=-1, keepdims=True)
    along_BT1 = jnp.mean(scaled_BTD * normal_BTD, axis=-1, keepdims=True)
    x_gradient_BTD = inverse_BT1 * (scaled_BTD - mean_BT1 - normal_BTD * along_BT1)
    outer = tuple(range(x_BTD.ndim - 1))
    return (
        x_gradient_BTD.astype(x_BTD.dtype),
        jnp.sum(g_BTD * normal_BTD, axis=outer),
        jnp.sum(g_BTD, axis=outer),
    )


layer_norm.defvjp(_layer_norm, _layer_norm_gradients)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x_BTD: jax.Array, scale_D: jax.Array, epsilon: float = EPSILON) -> jax.Array:
    """Return x / sqrt(mean(x^2) + epsilon) * scale per position, in x's dtype."""
    return _rms_norm(x_BTD, scale_D, epsilon)[0]


def _rms_norm(x_BTD, scale_D, epsilon):
    """Return the result, and what the backward pass needs: the input and its statistic."""
    x32_BTD = x_BTD.astype(jnp.float32)
    square_BT1 = jnp.mean(jnp.square(x32_BTD), axis=-1, keepdims=True)
    inverse_BT1 = jax.lax.rsqrt(square_BT1 + epsilon)
    y_BTD = x32_BTD * inverse_BT1 * scale_D[None, None]
    return y_BTD.astype(x_BTD.dtype), (x_BTD, scale_D, inverse_BT1)


def _rms_norm_gradients(epsilon, kept, gradient_BTD):
    """Return the gradients of x and scale (Zhang and Sennrich 2019, appendix A)."""
    del epsilon  # it is in the statistic that was kept
    x_BTD, scale_D, inverse_BT1 = kept
    g_BTD = gradient_BTD.astype(jnp.float32)
    x_BTD = jax.lax.optimization_barrier(x_BTD)  # as in `_layer_norm_gradients`
    normal_BTD = x_BTD.astype(jnp.float32) * inverse_BT1
    scaled_BTD = g_BTD * scale_D[None, None]
    along_BT1 = jnp.mean(scaled_BTD * normal_BTD, axis=-1, keepdims=True)
    x_gradient_BTD = inverse_BT1 * (scaled_BTD - normal_BTD * along_BT1)
    scale_gradient_D = jnp.sum(g_BTD * normal_BTD, axis=tuple(range(x_BTD.ndim - 1)))
    return x_gradient_BTD.astype(x_BTD.dtype), scale_gradient_D


rms_norm.defvjp(_rms_norm, _rms_norm_gradients)


class RMSNorm(nn.Module):
    """`rms_norm` with a learned float32 scale per feature."""

    decays = {"scale": False}

    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return x normalised at every position, in the shape and dtype of x."""
        scale_D = self.param("scale", nn.initializers.ones, (x_BTD.shape[-1],), jnp.float32)
        return rms_norm(x_BTD, scale_D, self.epsilon)


class LayerNorm(nn.Module):
    """`layer_norm` with a learned float32 scale and bias per feature."""

    decays = {"scale": False, "bias": False}

    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return x normalised at every position, in the shape and dtype of x."""
        d_model = x_BTD.shape[-1]
        scale_D = self.param("scale", nn.initializers.ones, (d_model,), jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, (d_model,), jnp.float32)
        return layer_norm(x_BTD, scale_D, bias_D, self.epsilon)


NORM_MODULES = {"layer": LayerNorm, "rms": RMSNorm}
"""Name in `layers.config.NORMS` -> module."""
