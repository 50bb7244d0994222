"""The router of H-Net: a chunk begins where neighbours differ in direction.

Hwang et al. 2025, "Dynamic Chunking for End-to-End Hierarchical Sequence Modeling" (arXiv
2507.07955), section 2.2, the routing module:

    q_t = W_q x_t    k_t = W_k x_t    p_t = (1 - cos(q_t, k_{t-1})) / 2

Both matrices begin as the identity, without a bias. The cosine is computed in float32.
"""

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register
from latent_jax.layers.dense import Dense

TINY = 1e-12
"""Least square of a length, which keeps a vector of zeros finite."""


@register
class Cosine(Router):
    """Half of one minus the cosine of a position's query and the key of the one before it."""

    kind = "cosine"

    def setup(self):
        """Create the two projections."""
        words = dict(dtype="float32", use_bias=False, kernel_init=_identity)
        self.query = Dense((self.width,), (self.width,), **words)
        self.key = Dense((self.width,), (self.width,), **words)

    def __call__(self, sight: Sight) -> jax.Array:
        """Return p_t; see `Router`."""
        q_BTD, k_BTD = _unit(self.query(sight.x_BTD)), _unit(self.key(sight.before_BTD))
        return jnp.clip((1.0 - jnp.sum(q_BTD * k_BTD, axis=-1)) / 2.0, 0.0, 1.0)

    @classmethod
    def forward_flops(cls, width: int) -> float:
        """Return the FLOPs of two projections."""
        return 2.0 * 2.0 * width * width


def _unit(x_BTD: jax.Array) -> jax.Array:
    square_BT1 = jnp.sum(jnp.square(x_BTD), axis=-1, keepdims=True)
    return x_BTD * jax.lax.rsqrt(jnp.maximum(square_BT1, TINY))


def _identity(key, shape, dtype):
    del key
    return jnp.eye(*shape, dtype=dtype)
