"""A learned gate between a token and a thought, feature by feature.

Yue et al. 2025, "Hybrid latent reasoning via reinforcement learning" (HRPO, arXiv 2505.18454),
section 3.1. A step that thinks still samples a token, and what is read next is a mixture of the
token's embedding e and of the thought z:

    read = a e + sqrt(1 - a^2) i z,    a = exp(-8 softplus(decay) r),    r, i = gates of e

Two things differ from the paper. The matrices of r and i begin at zero, so that a begins at one
number that the caller chooses, in all features and for all tokens. And i begins at 1, not at 1/2:
thoughts that were learned before there was a gate keep their length.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.dense import Dense

STEEPNESS = 8.0
"""The constant in a, that of De et al. 2024, "Griffin", section 2.4."""


class Gate(nn.Module):
    """Mix tokens and thoughts; [..., D] in and out, in the dtype of the thoughts.

    Attributes:
        start: what a begins at, in (0, 1): near 1 almost only the token is read, near 0 almost only
            the thought.
    """

    start: float
    decays = {"decay": False}

    @nn.compact
    def __call__(self, e: jax.Array, z: jax.Array) -> jax.Array:
        """Return what is read next.

        Args:
            e: embeddings of tokens.
            z: thoughts.
        """
        width = (z.shape[-1],)

        def gate(name: str) -> jax.Array:
            zeros = nn.initializers.zeros
            return nn.sigmoid(Dense(width, width, kernel_init=zeros, name=name)(e32))

        e32 = e.astype(jnp.float32)
        # softplus(decay) is such that a is `start` where r is 1/2.
        first = math.log(math.expm1(-math.log(self.start) / (STEEPNESS / 2)))
        decay_D = self.param("decay", nn.initializers.constant(first), width, jnp.float32)
        decay = jnp.broadcast_to(nn.softplus(decay_D), e.shape)
        log_a = -STEEPNESS * decay * gate("recurrence")
        a, rest = jnp.exp(log_a), jnp.sqrt(-jnp.expm1(2 * log_a))
        return (a * e32 + rest * 2 * gate("input") * z.astype(jnp.float32)).astype(z.dtype)
