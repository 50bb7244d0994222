"""The pooling of BLT: the bytes of a patch, read by queries that are made of their maximum.

Pagnoni et al. 2024, "Byte Latent Transformer: Patches Scale Better Than Tokens" (arXiv 2412.09871),
section 3.2.2: the maximum over the bytes of a patch is mapped to k vectors; each of them reads the
bytes of the patch, and no others, by attention, whose result is added to it. The k vectors side by
side are the vector of the patch, which is k times as wide as those of bytes. Queries, and keys and
values, are normed; there are no positions and no biases.

What is ours: of a longer patch, the last `reach` bytes are read, so that steps of generation can
keep them. Over rows no score is computed between a patch and bytes of another one: each byte meets
the queries of its own patch, and the softmax is a maximum and two sums over a patch, which are
scans along the row (float32). So the cost grows with the length of a row, and not with its square.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import pick
from latent_jax.chunking.dynamic.mean import running_sums
from latent_jax.chunking.dynamic.parts import Pooling
from latent_jax.chunking.dynamic.registry import register
from latent_jax.layers.dense import Dense
from latent_jax.layers.norms import RMSNorm

LEAST = jnp.finfo(jnp.float32).min
"""A score that weighs nothing."""


@register
class Cross(Pooling):
    """Cross-attention from k queries of a patch to its bytes.

    Attributes:
        n_vectors: k.
        n_heads: H; it must divide the width.
        reach: bytes of a patch that are read at most, its last ones.
    """

    kind = "cross"

    n_vectors: int = 1
    n_heads: int = 1
    reach: int = 32

    def setup(self):
        """Create norms and projections."""
        width, heads = (self.width,), (self.n_heads, self.width // self.n_heads)
        self.initial = Dense(width, (self.n_vectors, self.width), use_bias=False)
        self.query_norm, self.key_norm = RMSNorm(), RMSNorm()
        self.query = Dense(width, heads, use_bias=False)
        self.key_value = Dense(width, (2, *heads), use_bias=False)
        self.out = Dense(heads, width, use_bias=False)

    def __call__(self, x_BTD, p_BT, cut):
        """Return the vectors, [B, K, k D]; see `Pooling`."""
        del p_BT
        part_BT, is_read_BT = self._parts(cut)

        def at_bytes(x_BKN):
            return jnp.take_along_axis(x_BKN, part_BT[..., None], axis=1)

        def over_parts(x_BTN):
            return pick(running_maximum(x_BTN, cut.begins_BT), cut)

        read_BT1 = is_read_BT[..., None]
        pooled_BKD = over_parts(jnp.where(read_BT1, x_BTD.astype(jnp.float32), LEAST))
        vectors_BKJD, q_BKJHd = self._queries(pooled_BKD)
        k_BTHd, v_BTHd = self._keys(x_BTD)
        shape = (*x_BTD.shape[:2], *q_BKJHd.shape[2:])
        q_BTJHd = at_bytes(q_BKJHd.reshape(*q_BKJHd.shape[:2], -1)).reshape(shape)
        scores_BTJH = jnp.sum(q_BTJHd * k_BTHd[:, :, None], axis=-1)
        scores_BTN = jnp.where(read_BT1, scores_BTJH.reshape(*shape[:2], -1), LEAST)
        peak_BTN = at_bytes(jax.lax.stop_gradient(over_parts(scores_BTN)))
        weights_BTN = jnp.where(read_BT1, jnp.exp(scores_BTN - peak_BTN), 0.0)
        weighted = weights_BTN.reshape(*shape[:-1], 1) * v_BTHd[:, :, None]
        sums_BTM = jnp.concatenate([weighted.reshape(*shape[:2], -1), weights_BTN], axis=-1)
        sums_BKM = pick(running_sums(sums_BTM, cut.begins_BT), cut)
        n = weights_BTN.shape[-1]
        total_BKJH1 = sums_BKM[..., -n:].reshape(*q_BKJHd.shape[:-1], 1)
        read_BKJHd = sums_BKM[..., :-n].reshape(q_BKJHd.shape) / jnp.where(
            total_BKJH1 > 0, total_BKJH1, 1.0
        )
        z_BKE = self._joined(vectors_BKJD, read_BKJHd)
        return jnp.where(cut.mask_BK[..., None], z_BKE, 0.0).astype(x_BTD.dtype)

    @nn.nowrap
    def empty(self, n_lanes: int, width: int, dtype: str) -> Any:
        """Return no bytes, and that there are none; see `Pooling`."""
        ring = (n_lanes, self.reach, self.n_heads, width // self.n_heads)
        keys = jnp.zeros(ring, jnp.float32), jnp.zeros(ring, jnp.float32)
        x_BWD = jnp.zeros((n_lanes, self.reach, width), dtype)
        return x_BWD, *keys, jnp.zeros((n_lanes, self.reach), bool)

    def state(self, x_BTD, cut, lengths_B):
        """Return the last bytes behind the last boundary; see `Pooling`."""
        age_W = jnp.arange(self.reach - 1, -1, -1, dtype=jnp.int32)
        at_BW = lengths_B[:, None] - 1 - age_W[None]
        count_BT = jnp.cumsum(cut.is_first_BT, axis=1)
        inside_BW = jnp.maximum(at_BW, 0)
        # Behind the last boundary there is none up to the end; the boundary itself has one.
        n_before_BW = jnp.take_along_axis(count_BT, inside_BW, axis=1)
        ends_BW = jnp.take_along_axis(cut.is_first_BT, inside_BW, axis=1)
        n_all_B1 = jnp.take_along_axis(count_BT, lengths_B[:, None] - 1, axis=1)
        is_kept_BW = (at_BW >= 0) & (n_before_BW == n_all_B1) & ~ends_BW

        def taken(x):
            at = inside_BW.reshape(*inside_BW.shape, *(1,) * (x.ndim - 2))
            return _where(is_kept_BW, jnp.take_along_axis(x, at, axis=1))

        return taken(x_BTD), *map(taken, self._keys(x_BTD)), is_kept_BW

    def step(self, x_BD, is_first_B, state):
        """Return the vectors of a patch that would end here, [B, k D]; see `Pooling`."""
        k_B1Hd, v_B1Hd = self._keys(x_BD[:, None])
        new = (x_BD[:, None], k_B1Hd, v_B1Hd, jnp.ones((x_BD.shape[0], 1), bool))
        state = tuple(
            jnp.concatenate([ring[:, 1:], one.astype(ring.dtype)], axis=1)
            for ring, one in zip(state, new, strict=True)
        )
        x_BWD, k_BWHd, v_BWHd, is_read_BW = state
        x_BWD = jnp.where(is_read_BW[..., None], x_BWD.astype(jnp.float32), LEAST)
        vectors_BJD, q_BJHd = self._queries(jnp.max(x_BWD, axis=1))
        scores_BJHW = jnp.einsum("BJHd,BWHd->BJHW", q_BJHd, k_BWHd)
        scores_BJHW = jnp.where(is_read_BW[:, None, None], scores_BJHW, LEAST)
        weights_BJHW = jax.nn.softmax(scores_BJHW, axis=-1)
        z_BE = self._joined(vectors_BJD, jnp.einsum("BJHW,BWHd->BJHd", weights_BJHW, v_BWHd))
        keeps_BW = is_read_BW & ~is_first_B[:, None]
        rest = tuple(_where(keeps_BW, ring) for ring in state[:-1])
        return z_BE.astype(x_BD.dtype), (*rest, keeps_BW)

    @nn.nowrap
    def out_width(self) -> int:
        """Return k D; see `Pooling`."""
        return self.n_vectors * self.width

    @nn.nowrap
    def forward_flops(self, width: int) -> float:
        """Return the FLOPs of keys and values, and of scores and sums; see `Part`."""
        return 4.0 * width * width + 4.0 * self.n_vectors * width

    @nn.nowrap
    def flops_per_chunk(self, width: int) -> float:
        """Return the FLOPs of the vectors, their queries and what is added; see `Pooling`."""
        return 6.0 * self.n_vectors * width**2

    def _parts(self, cut):
        """Return the patch of each position, which its boundary ends, and whether it is read."""
        first_BT, capacity = cut.is_first_BT, cut.mask_BK.shape[1]
        part_BT = jnp.cumsum(first_BT, axis=1, dtype=jnp.int32) - first_BT
        n_parts_B1 = jnp.sum(cut.mask_BK, axis=1, keepdims=True)
        inside_BT = jnp.minimum(part_BT, capacity - 1)
        end_BT = jnp.take_along_axis(cut.first_BK, inside_BT, axis=1)
        age_BT = end_BT - jnp.arange(first_BT.shape[1], dtype=jnp.int32)[None]
        # No document starts between the byte and the end of its patch.
        count_BT = jnp.cumsum(cut.begins_BT, axis=1, dtype=jnp.int32)
        is_joined_BT = jnp.take_along_axis(count_BT, end_BT, axis=1) == count_BT
        return inside_BT, (part_BT < n_parts_B1) & (age_BT < self.reach) & is_joined_BT

    def _queries(self, pooled_BKD):
        """Return the k vectors of patches, float32[..., k, D], and their queries [..., k, H, d]."""
        vectors_BKJD = self.initial(pooled_BKD)
        shape = vectors_BKJD.shape
        normed_BND = self.query_norm(vectors_BKJD.reshape(shape[0], -1, self.width))
        q_BKJHd = self.query(normed_BND.reshape(shape))
        return vectors_BKJD, q_BKJHd * q_BKJHd.shape[-1] ** -0.5

    def _keys(self, x_BTD):
        """Return keys and values, float32[B, T, H, d]."""
        both = self.key_value(self.key_norm(x_BTD.astype(jnp.float32)))
        return both[:, :, 0], both[:, :, 1]

    def _joined(self, vectors_BKJD, read_BKJHd):
        """Return what was read added to the vectors, side by side, [..., k D]."""
        z_BKJD = vectors_BKJD + self.out(read_BKJHd)
        return z_BKJD.reshape(*z_BKJD.shape[:-2], -1)


def running_maximum(x_BTN: jax.Array, begins_BT: jax.Array) -> jax.Array:
    """Return the maximum at each position since the last one that begins, in the dtype of x."""
    stays_BT1 = ~begins_BT[..., None]

    def join(earlier, later):
        maximum = jnp.where(later[0], jnp.maximum(earlier[1], later[1]), later[1])
        return earlier[0] & later[0], maximum

    return jax.lax.associative_scan(join, (stays_BT1, x_BTN), axis=1)[1]


def _where(is_kept_BW, x):
    """Return x [B, W, ...], zeros where nothing is kept."""
    return jnp.where(is_kept_BW.reshape(*is_kept_BW.shape, *(1,) * (x.ndim - 2)), x, 0)
