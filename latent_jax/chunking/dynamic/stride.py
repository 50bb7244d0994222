"""Chunks of a fixed number of positions, counted from the start of each document."""

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register


@register
class Stride(Router):
    """A boundary at every n-th position of a document: the control of every learned router."""

    kind = "stride"
    is_soft = False
    weight = 0.0

    def __call__(self, sight: Sight) -> jax.Array:
        """Return 1 at every n-th position; see `Router`."""
        return (sight.since_start_BT % round(self.rate) == 0).astype(jnp.float32)
