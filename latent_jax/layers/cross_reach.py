"""The decoder of BLT: bytes read the vectors of their patch before each block.

Pagnoni et al. 2024, "Byte Latent Transformer: Patches Scale Better Than Tokens" (arXiv 2412.09871),
section 3.3.1: the roles of the encoder's cross-attention are swapped. Queries are bytes; keys and
values are the k vectors of the one patch whose result the byte reads, which what the network over
patches gives is split into. Both are normed; there are no positions and no biases.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.block import Block, remat_policy
from latent_jax.layers.cache import last_slots
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init
from latent_jax.layers.dropout import keep_mask
from latent_jax.layers.norms import RMSNorm
from latent_jax.layers.reach import AttentionReach, ReachCache, reach_view
from latent_jax.sharding_constraints import rows


@dataclasses.dataclass(frozen=True)
class CrossReach:
    """Blocks of attention, each behind cross-attention to one memory of each position.

    Attributes:
        reach: the blocks.
        memory_width: E, of the memory.
        n_vectors: k, parts of the memory.

    Raises:
        ValueError: k does not divide E.
    """

    reach: AttentionReach
    memory_width: int
    n_vectors: int
    reads_chunks: ClassVar[bool] = True
    adds_chunks: ClassVar[bool] = False

    def __post_init__(self):
        """Check the division."""
        if self.memory_width % self.n_vectors:
            raise ValueError(
                f"a memory of width {self.memory_width} is not {self.n_vectors} vectors side by "
                "side: hierarchy.cross must divide model.d_model"
            )

    @property
    def stack(self) -> TransformerConfig:
        """The blocks."""
        return self.reach.stack

    @property
    def width(self) -> int:
        """D."""
        return self.reach.width

    @property
    def unrolled(self) -> "CrossReach":
        """The same: it has no loop over layers."""
        return self

    def module(self) -> nn.Module:
        """Return the network."""
        return CrossNetwork(self)

    def forward_flops(self, length: float) -> float:
        """Return forward FLOPs per position on rows of `length` positions."""
        width, k = self.width, self.n_vectors
        queries_and_out = 2.0 * 2.0 * width**2
        keys_and_values = 2.0 * 2.0 * self.memory_width * width
        cross = queries_and_out + keys_and_values + 2.0 * 2.0 * k * width
        return self.reach.forward_flops(length) + self.stack.n_layers * cross

    def empty_cache(self, n_lanes: int, n_slots: int) -> ReachCache:
        """Return what `step` starts from; see `AttentionReach`."""
        return self.reach.empty_cache(n_lanes, n_slots)


class MemoryAttention(nn.Module):
    """Attention from each position to the vectors of its memory, added to the stream."""

    config: CrossReach

    @nn.compact
    def __call__(self, x_BTD: jax.Array, memory_BTE: jax.Array) -> jax.Array:
        """Return the stream, [B, T, D]; `memory_BTE` is float32 or in the compute dtype."""
        stack, k = self.config.stack, self.config.n_vectors
        heads = (stack.n_heads, stack.head_size)
        part = self.config.memory_width // k
        words = dict(dtype=stack.dtype, use_bias=False)
        h_BTD = RMSNorm(name="query_norm")(x_BTD)
        outer = memory_BTE.shape[:2]
        vectors_BNC = memory_BTE.astype(stack.dtype).reshape(outer[0], outer[1] * k, part)
        vectors_BTJC = RMSNorm(name="memory_norm")(vectors_BNC).reshape(*outer, k, part)
        q_BTHd = Dense((stack.d_model,), heads, name="query", **words)(h_BTD)
        both = Dense((part,), (2, *heads), name="key_value", **words)(vectors_BTJC)
        k_BTJHd, v_BTJHd = both[:, :, :, 0], both[:, :, :, 1]
        q_BTHd = q_BTHd * q_BTHd.shape[-1] ** -0.5
        single = dict(preferred_element_type=jnp.float32)
        scores_BTHJ = jnp.einsum("BTHd,BTJHd->BTHJ", q_BTHd, k_BTJHd, **single)
        weights_BTHJ = jax.nn.softmax(scores_BTHJ, axis=-1).astype(v_BTJHd.dtype)
        read_BTHd = jnp.einsum("BTHJ,BTJHd->BTHd", weights_BTHJ, v_BTJHd, **single)
        words["kernel_init"] = residual_init(stack.n_layers)
        out = Dense(heads, (stack.d_model,), name="out", **words)
        return x_BTD + out(read_BTHd.astype(x_BTD.dtype))


class CrossNetwork(nn.Module):
    """See `CrossReach`; it is called as `AttentionNetwork`, with one memory for each position."""

    config: CrossReach

    def setup(self):
        """Create the blocks and the norm."""
        stack = self.config.stack
        numbers, kinds = range(stack.n_layers), (MemoryAttention, Block)
        if stack.remat != "none":
            kinds = [nn.remat(kind, policy=remat_policy(stack.remat)) for kind in kinds]
        cross, block = kinds
        self.cross = [cross(self.config) for _ in numbers]
        self.layer = [block(stack, causal=True) for _ in numbers]
        self.norm = RMSNorm()

    def __call__(
        self,
        x_BTD: jax.Array,
        documents_BT: jax.Array | None = None,
        *,
        train: bool = False,
        memory_BTD: jax.Array,
    ) -> jax.Array:
        """Return the stream behind the norm, [B, T, D]; see `AttentionNetwork`.

        Args:
            x_BTD: the stream.
            documents_BT: int32, never falling; None = all positions are of one document.
            train: whether dropout is on.
            memory_BTD: [B, T, E], what each position reads.
        """
        window, length = self.config.reach.window, x_BTD.shape[1]
        view = None
        if documents_BT is not None or 0 < window < length:
            view = reach_view(length, window, documents_BT)
        for cross, block in zip(self.cross, self.layer, strict=True):
            kept_2BTD = self._kept(x_BTD) if train and self.config.stack.dropout else None
            x_BTD = cross(rows(x_BTD), memory_BTD)
            x_BTD, _ = block(x_BTD, None, kept_2BTD, None, None, view)
        return self.norm(x_BTD)

    def prefill(
        self, x_BTD: jax.Array, lengths_B: jax.Array, cache: ReachCache, memory_BTD: jax.Array
    ) -> tuple[jax.Array, ReachCache]:
        """Return the stream, and rings with the last of the first `lengths_B` positions."""
        n_slots = cache.layers[0].k_BGSd.shape[2]
        view, rings = reach_view(x_BTD.shape[1], n_slots, None), []
        for cross, block in zip(self.cross, self.layer, strict=True):
            x_BTD, keys = block(cross(x_BTD, memory_BTD), None, None, None, None, view)
            rings.append(last_slots(keys, lengths_B, n_slots))
        return self.norm(x_BTD), ReachCache(tuple(rings), lengths_B)

    def step(
        self, x_BD: jax.Array, cache: ReachCache, is_real_B: jax.Array, memory_BD: jax.Array
    ) -> tuple[jax.Array, ReachCache]:
        """Return the stream of one position per lane, [B, D], and the cache."""
        x_B1D, memory_B1E, rings = x_BD[:, None], memory_BD[:, None], []
        parts = zip(self.cross, self.layer, cache.layers, strict=True)
        for cross, block, ring in parts:
            x_B1D, ring = block(cross(x_B1D, memory_B1E), None, None, ring, cache.n_read_B)
            rings.append(ring)
        return self.norm(x_B1D)[:, 0], ReachCache(tuple(rings), cache.n_read_B + is_real_B)

    def _kept(self, x_BTD):
        """Return the dropout masks of the two branches of a block, bool[2, B, T, D]."""
        keys = jax.random.split(self.make_rng("dropout"))
        rate = self.config.stack.dropout
        return jnp.stack([rows(keep_mask(key, rate=rate, shape=x_BTD.shape)) for key in keys])
