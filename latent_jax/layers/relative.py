"""Relative positions: a learned bias per head and distance, added to the attention scores.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer" (T5), section 2.1. Short distances have a bucket each; longer distances share buckets,
which are equally wide in the logarithm of the distance. Here every layer learns its own bias, as in
Lester et al. 2024, section 3.2; T5 has one bias for all layers.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.config import TransformerConfig


def buckets(distances: np.ndarray, *, causal: bool, n_buckets: int, last: int) -> np.ndarray:
    """Return the bucket of each distance, int32 of the same shape.

    Args:
        distances: integers, query position minus key position.
        causal: if True, keys in the future, which are masked anyway, get the bucket of distance 0;
            if False, past and future have half of the buckets each.
        n_buckets: number of buckets.
        last: all distances from this one on share the last bucket.
    """
    distances = np.asarray(distances, np.int64)
    first = np.zeros_like(distances)
    if causal:
        size = np.maximum(distances, 0)
    else:
        n_buckets //= 2
        first = np.where(distances < 0, n_buckets, 0)
        size = np.abs(distances)
    n_exact = n_buckets // 2
    logarithm = np.log(np.maximum(size, n_exact) / n_exact) / np.log(last / n_exact)
    wide = n_exact + (logarithm * (n_buckets - n_exact)).astype(np.int64)
    return (first + np.where(size < n_exact, size, np.minimum(wide, n_buckets - 1))).astype(
        np.int32
    )


class PositionBias(nn.Module):
    """The position bias of one layer: one learned number per head and bucket."""

    decays = {"table": False}

    config: TransformerConfig
    causal: bool

    def setup(self):
        """Create the table, float32[H, buckets]."""
        config = self.config
        shape = (config.n_heads, config.relative_buckets)
        self.table = self.param("table", nn.initializers.normal(0.02), shape, jnp.float32)

    def by_distance(self, distances_N: np.ndarray) -> jax.Array:
        """Return float32[H, N], the bias at each distance (query minus key; static integers).

        It is a product with a constant matrix, because the gradient of a look-up is a slow scatter.
        """
        config = self.config
        buckets_N = buckets(
            distances_N,
            causal=self.causal,
            n_buckets=config.relative_buckets,
            last=config.relative_distance,
        )
        is_bucket_RN = np.arange(config.relative_buckets)[:, None] == buckets_N[None]
        return jnp.dot(self.table, is_bucket_RN.astype(np.float32), precision="highest")

    def __call__(self, length: int) -> jax.Array:
        """Return float32[H, T, T], the bias of every query t and key s of a row of T."""
        # One value for each of the 2 T - 1 distances, from the farthest past to the future.
        bias_HN = self.by_distance(np.arange(length - 1, -length, -1))
        return _diagonals(bias_HN, length)


def _diagonals(bias_HN: jax.Array, length: int) -> jax.Array:
    """Return out[h, t, s] = bias[h, s - t + T - 1], from N = 2 T - 1 values.

    The values are repeated with a period of 2 T and cut into rows of 2 T - 1, so each row begins
    one value earlier in the period than the row before. The gradient is then a sum of rows; that
    of a gather would be a scatter.
    """
    n_heads = bias_HN.shape[0]
    period_HP = jnp.pad(bias_HN, ((0, 0), (0, 1)))
    filled = jnp.broadcast_to(period_HP[:, None], (n_heads, length, 2 * length))
    filled = filled.reshape(n_heads, -1)[:, : length * (2 * length - 1)]
    return filled.reshape(n_heads, length, 2 * length - 1)[:, :, length - 1 :]
