"""The linear pooling of Hourglass: n neighbours, joined and mapped to one vector.

Nawrot et al. 2021, "Hierarchical Transformers Are More Efficient Language Models" (arXiv
2110.13711), section 2.1: the vectors of k positions, k D numbers, are mapped to D numbers. The
paper shifts rows by k - 1 positions to the right, and fills them with zeros, so that a chunk of the
shifted row ends with the position at which it is first used. Here a chunk ends at its boundary, and
the chunks of `stride` are those of the shifted row: the first one is the start of the document,
behind n - 1 zeros.

A chunk of fewer than n positions has zeros before them, and of a longer one the last n are read.
The map has a bias, and is computed in float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Pooling
from latent_jax.chunking.dynamic.registry import register
from latent_jax.layers.dense import Dense


@register
class Linear(Pooling):
    """The last n positions of a chunk, joined and mapped."""

    kind = "linear"

    def setup(self):
        """Create the map."""
        self.map = Dense((self.n_joined() * self.width,), (self.width,), "float32")

    def __call__(self, x_BTD, p_BT, cut):
        """Return the maps at boundaries; see `Pooling`."""
        del p_BT
        at_1T = jnp.arange(x_BTD.shape[1])[None]
        begin_BT = jax.lax.cummax(jnp.where(cut.begins_BT, at_1T, 0), axis=1)
        before_BK = jnp.take_along_axis(begin_BT, cut.first_BK, axis=1) - 1
        z_BKD = self._mapped(_last(x_BTD, cut.first_BK, before_BK, self.n_joined()))
        return jnp.where(cut.mask_BK[..., None], z_BKD, 0.0).astype(x_BTD.dtype)

    @nn.nowrap
    def n_joined(self) -> int:
        """Return n, the rate in whole positions."""
        return max(round(self.rate), 1)

    @nn.nowrap
    def empty(self, n_lanes, width, dtype):
        """Return n - 1 vectors of zeros; see `Pooling`."""
        return jnp.zeros((n_lanes, self.n_joined() - 1, width), dtype)

    def state(self, x_BTD, cut, lengths_B):
        """Return the last n - 1 vectors behind the last boundary, zeros first; see `Pooling`."""
        at_B1 = lengths_B[:, None] - 1
        places_1T = jnp.arange(x_BTD.shape[1])[None]
        is_before_BT = cut.is_first_BT & (places_1T <= at_B1)
        before_B1 = jnp.max(jnp.where(is_before_BT, places_1T, -1), axis=1, keepdims=True)
        return _last(x_BTD, at_B1, before_B1, self.n_joined() - 1)[:, 0]

    def step(self, x_BD, is_first_B, state):
        """Return the map of the vectors up to here; see `Pooling`."""
        last_BND = jnp.concatenate([state, x_BD[:, None]], axis=1)
        z_BD = self._mapped(last_BND[:, None])[:, 0].astype(x_BD.dtype)
        return z_BD, jnp.where(is_first_B[:, None, None], 0.0, last_BND[:, 1:])

    @nn.nowrap
    def flops_per_chunk(self, width):
        """Return the FLOPs of the map; see `Pooling`."""
        return 2.0 * self.n_joined() * width * width

    def _mapped(self, last_BKND: jax.Array) -> jax.Array:
        return self.map(last_BKND.reshape(*last_BKND.shape[:2], -1))


def _last(x_BTD, at_BK, before_BK, n):
    """Return the n positions up to each place, [B, K, n, D]; zeros up to `before_BK`."""
    back_N = jnp.arange(n - 1, -1, -1)
    places_BKN = at_BK[..., None] - back_N[None, None]
    rows_B11 = jnp.arange(x_BTD.shape[0])[:, None, None]
    found_BKND = x_BTD[rows_B11, jnp.maximum(places_BKN, 0)]
    return jnp.where((places_BKN > before_BK[..., None])[..., None], found_BKND, 0.0)
