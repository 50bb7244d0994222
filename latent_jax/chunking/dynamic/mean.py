"""The pooling of dynamic token pooling: the mean over a chunk.

Nawrot et al. 2023, "Efficient Transformers with Dynamic Token Pooling" (arXiv 2211.09761), section
2.3. A gradient reaches the router through the assignment of positions to chunks, as in the
authors' code: position t weighs 1 + c_t - stopped(c_t) in the mean of its chunk, where c_t counts
the boundaries before it by their probabilities. So what more boundaries before a position would do
to its weight is felt by each of them.
"""

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import pick
from latent_jax.chunking.dynamic.parts import Pooling
from latent_jax.chunking.dynamic.registry import register


@register
class Mean(Pooling):
    """The mean of the positions behind the boundary before, up to and including this one."""

    kind = "mean"

    def __call__(self, x_BTD, p_BT, cut):
        """Return the means; see `Pooling`."""
        before_BT = jnp.cumsum(p_BT, axis=1) - p_BT
        weight_BT = 1.0 + before_BT - jax.lax.stop_gradient(before_BT)
        sums_BTE = running_sums(_weighted(x_BTD, weight_BT), cut.begins_BT)
        return pick(_mean(sums_BTE), cut).astype(x_BTD.dtype)

    @staticmethod
    def empty(n_lanes, width, dtype):
        """Return float32 sums of no positions; see `Pooling`."""
        del dtype
        return jnp.zeros((n_lanes, width + 1), jnp.float32)

    def state(self, x_BTD, cut, lengths_B):
        """Return the sums behind the last boundary; see `Pooling`."""
        sums_BTE = running_sums(_weighted(x_BTD, jnp.ones(x_BTD.shape[:2])), cut.begins_BT)
        at_B11 = lengths_B[:, None, None] - 1
        sums_BE = jnp.take_along_axis(sums_BTE, at_B11, axis=1)[:, 0]
        ends_B1 = jnp.take_along_axis(cut.is_first_BT, at_B11[..., 0], axis=1)
        return jnp.where(ends_B1, 0.0, sums_BE)

    def step(self, x_BD, is_first_B, state):
        """Return the mean up to here; see `Pooling`."""
        sums_BE = state + _weighted(x_BD, jnp.ones(x_BD.shape[:1]))
        return _mean(sums_BE).astype(x_BD.dtype), jnp.where(is_first_B[:, None], 0.0, sums_BE)

    @classmethod
    def forward_flops(cls, width):
        """Return an addition for each number; see `Part`."""
        return float(width)


def running_sums(x_BTE: jax.Array, begins_BT: jax.Array) -> jax.Array:
    """Return the sum at each position since the last one that begins, float32[B, T, E].

    An associative scan: differences of cumulative sums would be rounded by all that was summed
    before, and additions in any order would not be the same twice on a GPU.
    """
    stays_BT1 = ~begins_BT[..., None]

    def join(earlier, later):
        return earlier[0] & later[0], later[1] + jnp.where(later[0], earlier[1], 0.0)

    return jax.lax.associative_scan(join, (stays_BT1, x_BTE.astype(jnp.float32)), axis=1)[1]


def _weighted(x, weight):
    """Return weighted vectors with their weight behind them, float32[..., D + 1]."""
    weight = weight[..., None]
    return jnp.concatenate([x.astype(jnp.float32) * weight, weight], axis=-1)


def _mean(sums):
    return sums[..., :-1] / sums[..., -1:]
