"""The way back of dynamic token pooling: each position takes the vector of its chunk.

Nawrot et al. 2023, "Efficient Transformers with Dynamic Token Pooling" (arXiv 2211.09761), section
2.3. No gradient reaches the router here: in the authors' code the weights of a position over all
chunks are divided by their sum, which is that of its own chunk.
"""

import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import repeat
from latent_jax.chunking.dynamic.parts import WayBack
from latent_jax.chunking.dynamic.registry import register
from latent_jax.layers.reach import keep


@register
class Repeat(WayBack):
    """The vector of the chunk of each position."""

    kind = "repeat"

    def __call__(self, z_BKD, p_BT, cut, starts_BK):
        """Return the vectors of the chunks of positions, and the chunks; see `WayBack`."""
        del p_BT, starts_BK
        z_BKD = z_BKD.astype(jnp.float32)
        return repeat(z_BKD, cut.chunk_of_BT), z_BKD

    def step(self, z_BD, p_B, start_B, is_first_B, memory_BD):
        """Return the vector of the last chunk; see `WayBack`."""
        del p_B, start_B
        memory_BD = keep(is_first_B, z_BD.astype(jnp.float32), memory_BD)
        return memory_BD, memory_BD
