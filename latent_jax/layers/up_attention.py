"""Attention upsampling: positions read all chunks up to their own, on the way back.

Nawrot et al. 2021, "Hierarchical Transformers Are More Efficient Language Models" (Hourglass, arXiv
2110.13711), section 2.3: of the stream x before the shortening, and what the network over chunks
made, x', first a plain upsampling U(x, x') is computed, and then

    U(x, x') + Attention(Q = U(x, x'), K = V = x')

What is ours: queries, and keys and values, are normed before they are projected, as in all blocks
of the house; positions are rotary, a query's being the number of its chunk; there are no biases.
In the authors' code (trax, `AttentionResampling`) U is a linear map to each of the positions of a
chunk, plus x, and a feed-forward branch and dropout follow the attention. Here U is that of the
stage, such as repetition plus x, and the decoder's blocks follow. In steps a ring holds the keys
and values of the last chunks.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.block import remat_policy
from latent_jax.layers.cache import Cache, attend_step, empty_cache, last_slots
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init
from latent_jax.layers.norms import RMSNorm
from latent_jax.layers.reach import ReachCache
from latent_jax.layers.rotary import rotate
from latent_jax.ranges import Natural, check_fields
from latent_jax.sharding_constraints import rows


@dataclasses.dataclass(frozen=True)
class UpReach:
    """Attention from positions to chunks.

    Attributes:
        stack: of the blocks around it, whose width, heads, dtype and remat it has; rotary.
        window: chunks that a position reads, its own included; 0 = all before it.

    Raises:
        ValueError: the window is negative, or the positions are not rotary.
    """

    stack: TransformerConfig
    window: Natural = 0

    def __post_init__(self):
        """Check the window and the positions."""
        check_fields(self)
        if self.stack.positions != "rotary":
            raise ValueError(
                f"attention upsampling needs model.positions=rotary; got {self.stack.positions!r}"
            )

    def module(self) -> nn.Module:
        """Return the attention."""
        kind, remat = UpAttention, self.stack.remat
        if remat != "none":
            kind = nn.remat(kind, policy=remat_policy(remat))
        return kind(self)

    def forward_flops(self, length: float, n_chunks: float) -> float:
        """Return forward FLOPs per position, on rows of so many positions and chunks.

        All scores count, also those that are masked.
        """
        width = self.stack.d_model
        queries_and_out = 2.0 * 2.0 * width**2
        keys_and_values = n_chunks / length * 2.0 * 2.0 * width**2
        return queries_and_out + keys_and_values + 2.0 * 2.0 * n_chunks * width

    def empty_cache(self, n_lanes: int, n_slots: int) -> ReachCache:
        """Return what `step` starts from: a ring, and that no chunk has been read."""
        stack, n_slots = self.stack, min(self.window or n_slots, n_slots)
        ring = empty_cache(n_lanes, stack.n_heads, n_slots, stack.head_size, stack.dtype)
        return ReachCache((ring,), jnp.zeros(n_lanes, jnp.int32))


class UpAttention(nn.Module):
    """See `UpReach`."""

    config: UpReach

    def setup(self):
        """Create norms and projections."""
        stack = self.config.stack
        width, heads = (stack.d_model,), (stack.n_heads, stack.head_size)
        words = dict(dtype=stack.dtype, use_bias=False)
        self.query_norm, self.chunk_norm = RMSNorm(), RMSNorm()
        self.query = Dense(width, heads, **words)
        self.key_value = Dense(width, (heads[0], 2, heads[1]), **words)
        self.out = Dense(heads, width, kernel_init=residual_init(stack.n_layers), **words)

    def __call__(
        self,
        x_BTD: jax.Array,
        z_BKD: jax.Array,
        chunk_of_BT: jax.Array,
        is_own_BTK: jax.Array | None = None,
    ) -> jax.Array:
        """Return the stream with what was read of chunks, [B, T, D].

        Args:
            x_BTD: U, in the compute dtype.
            z_BKD: chunks.
            chunk_of_BT: int32, the chunk of each position; later ones are not read.
            is_own_BTK: bool, whether a chunk is of the document of a position; None = all are read.
        """
        return self._read(x_BTD, self._keys(z_BKD), chunk_of_BT, is_own_BTK, self.config.window)

    def prefill(
        self,
        x_BTD: jax.Array,
        z_BKD: jax.Array,
        chunk_of_BT: jax.Array,
        n_chunks_B: jax.Array,
        cache: ReachCache,
    ) -> tuple[jax.Array, ReachCache]:
        """Return the stream, and a ring with the last of the first `n_chunks_B` chunks.

        Positions read as many chunks back as the ring has slots, as steps do.
        """
        n_slots, keys = cache.layers[0].k_BGSd.shape[2], self._keys(z_BKD)
        y_BTD = self._read(x_BTD, keys, chunk_of_BT, None, n_slots)
        k_BHKd, v_BHKd = (part.swapaxes(1, 2) for part in keys)
        ring = last_slots(Cache(k_BHKd, v_BHKd), n_chunks_B, n_slots)
        return y_BTD, ReachCache((ring,), n_chunks_B)

    def step(
        self, x_BD: jax.Array, z_BD: jax.Array, is_first_B: jax.Array, cache: ReachCache
    ) -> tuple[jax.Array, ReachCache]:
        """Return the stream of one position per lane, [B, D], and the cache.

        Args:
            x_BD: U.
            z_BD: of the chunk that begins here; of no use where none does.
            is_first_B: bool, whether a chunk begins here.
            cache: of the position before.
        """
        (ring,), n_read_B = cache.layers, cache.n_read_B + is_first_B
        last_B = n_read_B - 1
        k_BHd, v_BHd = (part[:, 0] for part in self._keys(z_BD[:, None], last_B[:, None]))
        # Where no chunk begins, the slot is written as it is.
        at_B111 = (last_B % ring.k_BGSd.shape[2])[:, None, None, None]
        k_BHd, v_BHd = (
            jnp.where(is_first_B[:, None, None], new, _slot(old, at_B111))
            for new, old in zip((k_BHd, v_BHd), ring, strict=True)
        )
        q_BHd = self._queries(x_BD[:, None], last_B[:, None])[:, 0]
        read_BHd, ring = attend_step(q_BHd, k_BHd, v_BHd, ring, last_B)
        return x_BD + self.out(read_BHd), ReachCache((ring,), n_read_B)

    def _read(self, x_BTD, keys, chunk_of_BT, is_own_BTK, window):
        k_BKHd, v_BKHd = keys
        at_11K = jnp.arange(k_BKHd.shape[1], dtype=jnp.int32)[None, None]
        age_BTK = chunk_of_BT[..., None] - at_11K
        reads_BTK = (age_BTK >= 0) & (age_BTK < (window or k_BKHd.shape[1]))
        if is_own_BTK is not None:
            reads_BTK = reads_BTK & is_own_BTK
        q_BTHd = self._queries(rows(x_BTD), chunk_of_BT)
        read_BTHd = _attend(q_BTHd, k_BKHd, v_BKHd, reads_BTK[:, None])
        # Behind an overflow there may be no chunk of a document.
        is_read_BT11 = jnp.any(reads_BTK, axis=2)[..., None, None]
        return x_BTD + self.out(jnp.where(is_read_BT11, read_BTHd, 0))

    def _queries(self, x_BTD, position_BT):
        """Return rotated queries [B, T, H, d]."""
        q_BTHd = self.query(self.query_norm(x_BTD))
        return rotate(q_BTHd, position_BT, self.config.stack.rope_theta)

    def _keys(self, z_BKD, position_BK=None):
        """Return keys, rotated by the numbers of chunks, and values, [B, K, H, d]."""
        z_BKD = rows(z_BKD.astype(self.config.stack.dtype))
        both_BKH2d = self.key_value(self.chunk_norm(z_BKD))
        if position_BK is None:
            position_BK = jnp.arange(z_BKD.shape[1], dtype=jnp.int32)[None]
        k_BKHd = rotate(both_BKH2d[..., 0, :], position_BK, self.config.stack.rope_theta)
        return k_BKHd, both_BKH2d[..., 1, :]


@jax.checkpoint
def _attend(q_BTHd, k_BKHd, v_BKHd, reads_B1TK):
    """Attend without keeping scores for the backward pass."""
    return jax.nn.dot_product_attention(
        q_BTHd, k_BKHd, v_BKHd, mask=reads_B1TK, implementation="xla"
    )


def _slot(ring_BHSd, at_B111):
    """Return what is in one slot of each lane, [B, H, d]."""
    return jnp.take_along_axis(ring_BHSd, at_B111, axis=2)[:, :, 0]
