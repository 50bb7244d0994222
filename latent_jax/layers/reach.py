"""Causal networks whose positions reach back a limited way: stacks of attention, and of Mamba-2.

Both run over whole rows, read the first positions of each lane at once (`prefill`), and then one
position per lane (`step`), with the same results. Documents of a row may be told apart; then no
position reads another document.

A network whose `reads_chunks` is true takes beside the stream, at each position, the vector of the
chunk that the position reads: see `layers.cross_reach`.

A step may leave a lane out (`is_real_B`): its state stays as it is, and its result is of no use. So
a network can run for those lanes of a batch that have something to read.
"""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.block import Beside, Stack, by_layer, stacked
from latent_jax.layers.cache import Cache, empty_cache, last_slots
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.norms import RMSNorm
from latent_jax.layers.ssm import MambaBlock, SSMConfig
from latent_jax.layers.view import View
from latent_jax.sharding_constraints import rows


class ReachCache(NamedTuple):
    """What attention passes on: a ring for each layer, and the positions read, int32[B]."""

    layers: tuple[Cache, ...]
    n_read_B: jax.Array


@dataclasses.dataclass(frozen=True)
class AttentionReach:
    """A stack of transformer blocks with rotary positions, or, as a middle network, without any.

    Attributes:
        stack: the blocks; resolved.
        window: positions that each one reads, itself included; 0 = all before it.
        reads_chunks: whether each position reads one more vector, as wide as the stream, in the
            attention of all blocks.

    Class attributes:
        adds_chunks: whether a decoder made of it reads what chunks gave added to the stream.

    Raises:
        ValueError: the positions are learned or relative.
    """

    stack: TransformerConfig
    window: int = 0
    reads_chunks: bool = False
    adds_chunks: ClassVar[bool] = True

    def __post_init__(self):
        """Refuse positions that a view cannot have."""
        if self.stack.positions not in ("rotary", "none"):
            raise ValueError(
                "attention over chunks, or over a window, needs "
                f"model.positions=rotary; got {self.stack.positions!r}"
            )

    @property
    def width(self) -> int:
        """D."""
        return self.stack.d_model

    @property
    def unrolled(self) -> "AttentionReach":
        """The same without a loop over layers."""
        return dataclasses.replace(self, stack=self.stack.unrolled)

    def module(self) -> nn.Module:
        """Return the network."""
        return AttentionNetwork(self)

    def forward_flops(self, length: float, *, in_steps: bool = False) -> float:
        """Return forward FLOPs per position on rows of `length` positions.

        All T x T scores count: a window masks them, and does not leave them out.

        Args:
            length: positions per row.
            in_steps: count all experts, which a step of a few lanes computes.
        """
        stack = self.stack
        flops = stack.stack_flops(length)
        if in_steps and isinstance(stack, MiddleConfig) and stack.n_experts:
            flops["feed_forward"] = stack.expert_flops(stack.n_experts)
        n_projected = stack.d_model + 2 * stack.key_value_heads * stack.head_size
        of_memory = 2.0 * stack.n_layers * stack.d_model * n_projected
        return sum(flops.values()) + (of_memory if self.reads_chunks else 0.0)

    def empty_cache(self, n_lanes: int, n_slots: int) -> ReachCache:
        """Return what `step` starts from; rings have `n_slots` slots, or as many as the window."""
        n_slots = min(self.window or n_slots, n_slots)
        stack = self.stack
        ring = empty_cache(n_lanes, stack.key_value_heads, n_slots, stack.head_size, stack.dtype)
        return ReachCache((ring,) * stack.n_layers, jnp.zeros(n_lanes, jnp.int32))


@dataclasses.dataclass(frozen=True)
class MambaReach:
    """Mamba-2 blocks without feed-forward parts, and an RMS norm at their end.

    Attributes:
        block: of each.
        n_layers: how many.
    """

    block: SSMConfig
    n_layers: int
    reads_chunks: ClassVar[bool] = False
    adds_chunks: ClassVar[bool] = True

    @classmethod
    def of(cls, d_model: int, n_layers: int, d_state: int, dtype: str) -> "MambaReach":
        """Return blocks with heads of 64 channels, or fewer where 64 does not divide 2 D."""
        words = dict(head_dim=math.gcd(64, 2 * d_model), dtype=dtype)
        return cls(SSMConfig(d_model=d_model, d_state=d_state, **words), n_layers)

    @property
    def width(self) -> int:
        """D."""
        return self.block.d_model

    @property
    def unrolled(self) -> "MambaReach":
        """The same: it has no loop over layers."""
        return self

    def module(self) -> nn.Module:
        """Return the network."""
        return MambaNetwork(self)

    def forward_flops(self, length: float) -> float:
        """Return forward FLOPs per position on rows of `length` positions."""
        return self.n_layers * self.block.forward_flops(max(1, round(length)))

    def empty_cache(self, n_lanes: int, n_slots: int) -> tuple[Any, ...]:
        """Return the state of each block before the first position."""
        del n_slots
        return (self.block.empty_state(n_lanes),) * self.n_layers


Reach = AttentionReach | MambaReach


class AttentionNetwork(nn.Module):
    """See `AttentionReach`."""

    config: AttentionReach

    def setup(self):
        """Create the blocks."""
        self.stack = Stack(self.config.stack, causal=True)

    def __call__(
        self,
        x_BTD: jax.Array,
        documents_BT: jax.Array | None = None,
        *,
        train: bool = False,
        memory_BTD: jax.Array | None = None,
        mask_BT: jax.Array | None = None,
    ) -> jax.Array:
        """Return the stream behind the final norm, [B, T, D].

        Padding at the end of a row is read by no position before it.

        Args:
            x_BTD: the stream.
            documents_BT: int32, never falling; None = all positions are of one document.
            train: whether dropout is on.
            memory_BTD: one more vector of each position, where the config says so.
            mask_BT: bool, False at padding, which experts do not take; None = there is none.
        """
        window = self.config.window
        view = None
        if documents_BT is not None or 0 < window < x_BTD.shape[1]:
            view = reach_view(x_BTD.shape[1], window, documents_BT)
        beside = Beside(memory_BTD, mask_BT)
        return self.stack(x_BTD, train=train, view=view, beside=beside)[0]

    def prefill(
        self,
        x_BTD: jax.Array,
        lengths_B: jax.Array,
        cache: ReachCache,
        memory_BTD: jax.Array | None = None,
    ) -> tuple[jax.Array, ReachCache]:
        """Return the stream, and rings with the last of the first `lengths_B` positions.

        Positions read as many positions back as the rings have slots, as steps do. Of the empty
        cache only that number counts. Experts have room for all positions, as in steps.
        """
        n_slots = cache.layers[0].k_BGSd.shape[2]
        view = reach_view(x_BTD.shape[1], n_slots, None)
        x_BTD, keys = self.stack(x_BTD, view=view, beside=Beside(memory_BTD), drops=False)
        rings = tuple(last_slots(layer, lengths_B, n_slots) for layer in by_layer(keys))
        return x_BTD, ReachCache(rings, lengths_B)

    def step(
        self,
        x_BD: jax.Array,
        cache: ReachCache,
        is_real_B: jax.Array,
        memory_BD: jax.Array | None = None,
    ) -> tuple[jax.Array, ReachCache]:
        """Return the stream of one position per lane, [B, D], and the cache.

        A lane that is left out writes to the slot of its next position, which the next real one
        overwrites before anything reads it. So no ring has to be selected by lane.
        """
        beside = Beside(None if memory_BD is None else memory_BD[:, None])
        x_B1D, layers = self.stack(
            x_BD[:, None],
            cache=stacked(cache.layers),
            position_B=cache.n_read_B,
            beside=beside,
            drops=False,
        )
        return x_B1D[:, 0], ReachCache(by_layer(layers), cache.n_read_B + is_real_B)


class MambaNetwork(nn.Module):
    """See `MambaReach`."""

    config: MambaReach

    def setup(self):
        """Create the blocks and the norm."""
        self.layer = [MambaBlock(self.config.block, "rms") for _ in range(self.config.n_layers)]
        self.norm = RMSNorm()

    def __call__(
        self, x_BTD: jax.Array, documents_BT: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Return the stream behind the norm; see `AttentionNetwork`. There is no dropout."""
        del train
        for block in self.layer:
            x_BTD = block(rows(x_BTD), documents_BT)
        return self.norm(x_BTD)

    def prefill(
        self,
        x_BTD: jax.Array,
        lengths_B: jax.Array,
        cache: tuple[Any, ...],
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Return the stream, and the states behind the first `lengths_B` positions."""
        del cache  # it is empty
        states = []
        for block in self.layer:
            x_BTD, state = block.prefill(x_BTD, lengths_B)
            states.append(state)
        return self.norm(x_BTD), tuple(states)

    def step(
        self, x_BD: jax.Array, cache: tuple[Any, ...], is_real_B: jax.Array
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Return the stream of one position per lane, [B, D], and the states."""
        states = []
        for block, state in zip(self.layer, cache, strict=True):
            x_BD, state = block.step(x_BD, state)
            states.append(state)
        return self.norm(x_BD[:, None])[:, 0], keep(is_real_B, tuple(states), cache)


def reach_view(length: int, window: int, documents_BT: jax.Array | None) -> View:
    """Return who reads whom: the last `window` positions (0 = all), of the same document."""
    at_T = jnp.arange(length, dtype=jnp.int32)
    age_TT = at_T[:, None] - at_T[None]
    reads_BTT = ((age_TT >= 0) & (age_TT < (window or length)))[None]
    if documents_BT is not None:
        reads_BTT = reads_BTT & (documents_BT[:, :, None] == documents_BT[:, None])
    return View(at_T[None], reads_BTT)


def keep(is_new_B: jax.Array, new: Any, old: Any) -> Any:
    """Return a pytree whose lanes are those of `new` where `is_new_B`, else those of `old`."""

    def choose(x, y):
        return jnp.where(is_new_B.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(choose, new, old)
