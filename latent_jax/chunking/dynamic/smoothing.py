"""From chunks back to positions: a moving average over chunks, repeated with a confidence.

Hwang et al. 2025 (arXiv 2507.07955), section 2.2. The average lets the network use chunks of
whose boundary the router is not sure less than the chunk before:

    zbar_j = P_j z_j + (1 - P_j) zbar_{j-1}

Each position takes the average of its chunk, times a confidence whose value is 1 and whose gradient
reaches the router: p where a chunk begins, 1 - p elsewhere.
"""

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import pick, repeat
from latent_jax.chunking.dynamic.parts import WayBack
from latent_jax.chunking.dynamic.registry import register
from latent_jax.layers.reach import keep

LEAST = 1e-4
"""P is clipped to [LEAST, 1 - LEAST]."""


@register
class Smooth(WayBack):
    """The moving average over chunks, repeated with a confidence."""

    kind = "smooth"

    def __call__(self, z_BKD, p_BT, cut, starts_BK):
        """Return the averages of the chunks of positions, and of the chunks; see `WayBack`."""
        weights_BK = chunk_weights(pick(p_BT[..., None], cut)[..., 0], starts_BK)
        smoothed_BKD = smooth(z_BKD, weights_BK)
        return dechunk(smoothed_BKD, cut.chunk_of_BT, cut.is_first_BT, p_BT), smoothed_BKD

    def step(self, z_BD, p_B, start_B, is_first_B, memory_BD):
        """Return the average, which is the memory too; see `WayBack`."""
        weight_B = chunk_weights(p_B[:, None], start_B[:, None])[:, 0]
        smoothed_BD = keep(is_first_B, smooth_step(memory_BD, z_BD, weight_B), memory_BD)
        return smoothed_BD, smoothed_BD


def chunk_weights(p_BK: jax.Array, starts_BK: jax.Array) -> jax.Array:
    """Return P of each chunk, float32[B, K]: p clipped, and 1 where a document starts.

    So no chunk takes anything from a document before its own.
    """
    return jnp.where(starts_BK, 1.0, jnp.clip(p_BK.astype(jnp.float32), LEAST, 1.0 - LEAST))


def smooth(z_BKD: jax.Array, weights_BK: jax.Array) -> jax.Array:
    """Return the moving average over chunks, float32[B, K, D], by an associative scan.

    Args:
        z_BKD: chunks; what stands behind the real ones changes none of them.
        weights_BK: float32, P; 1 at the first chunk of a row.
    """
    weights_BK1 = weights_BK[..., None]

    def join(earlier, later):
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    pair = (1.0 - weights_BK1, weights_BK1 * z_BKD.astype(jnp.float32))
    return jax.lax.associative_scan(join, pair, axis=1)[1]


def smooth_step(before_BD: jax.Array, z_BD: jax.Array, weight_B: jax.Array) -> jax.Array:
    """Return the average behind one more chunk, float32[B, D]."""
    weight_B1 = weight_B[:, None]
    return weight_B1 * z_BD.astype(jnp.float32) + (1.0 - weight_B1) * before_BD


def dechunk(
    smoothed_BKD: jax.Array, chunk_of_BT: jax.Array, is_first_BT: jax.Array, p_BT: jax.Array
) -> jax.Array:
    """Return the average of the chunk of each position times its confidence, float32[B, T, D].

    Args:
        smoothed_BKD: from `smooth`.
        chunk_of_BT: int32.
        is_first_BT: bool, whether a position begins a chunk.
        p_BT: float32, probabilities of boundaries.
    """
    confidence_BT = jnp.where(is_first_BT, p_BT, 1.0 - p_BT)
    through_BT = confidence_BT + jax.lax.stop_gradient(1.0 - confidence_BT)
    return through_BT[..., None] * repeat(smoothed_BKD, chunk_of_BT)
