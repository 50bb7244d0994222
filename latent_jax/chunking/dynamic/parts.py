"""What a stage is put together of: routers, poolings and ways back, and what a router sees.

A router gives each position the probability that a chunk begins there. A pooling makes one vector
of a chunk. A way back gives each position what the network over chunks made of its chunk. All three
serve whole rows, and steps of one position per lane with the same results.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax

from latent_jax.chunking.dynamic.base import Cut
from latent_jax.chunking.dynamic.ratio import ratio_loss


class Sight(NamedTuple):
    """What a router sees of each position.

    Attributes:
        x_BTD: the encoder's result.
        before_BTD: that of the position before; zeros at the first position of a row.
        ids_BT: int32, ids that the positions read; for chunks, the first one of each.
        before_BT: int32, those of the position before; the separator at the first one of a row.
        since_start_BT: int32, positions since the start of the document, 0 at its start.
        signal_BT: float32, a number from outside, as of a frozen model; None = there is none.
        signal_before_BT: that of the position before; 0 at the first one of a row.
    """

    x_BTD: jax.Array
    before_BTD: jax.Array
    ids_BT: jax.Array
    before_BT: jax.Array
    since_start_BT: jax.Array
    signal_BT: jax.Array | None = None
    signal_before_BT: jax.Array | None = None


class Part(nn.Module):
    """One of the three; subclasses of each are found by their `kind`.

    Attributes:
        width: D, of the vectors that it reads.

    Class attributes:
        role: which of the three it is.
        kind: its name in methods.
    """

    role: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    width: int

    @classmethod
    def forward_flops(cls, width: int) -> float:
        """Return forward FLOPs per position."""
        del width
        return 0.0


class Router(Part):
    """A router; subclasses state `kind` and have `__call__`.

    It sees the position and the one before it; nothing later, and no state of its own. So one
    function serves a whole row and, with T = 1, a step of generation.

    Attributes:
        rate: positions per chunk that are aimed at.
        first_rate: those that are aimed at when training begins; 0 = `rate`.

    Class attributes:
        is_soft: whether its probabilities are of degrees, which a threshold can move, or 0 and 1.
        reads_ids: whether it reads ids, which must be those of bytes, so that it serves the
            outermost stage only.
        reads_signal: whether it reads a number from outside, likewise.
        draws: whether boundaries of training are drawn, by `draw`, with the rng stream
            "boundaries". Those of evaluation and generation never are.
        holds_rate: whether its chunks have `rate` positions without any control.
        by_reward: whether it learns from how well its draws did: `tasks.boundary_policy` trains it.
        is_relaxed: of a router that draws: whether `draw` reads its own probabilities, before the
            threshold moves them, and its loss those that `draw` returned. Its loss then holds the
            rate of training, and the threshold that of evaluation.
        taught_by: what it learns boundaries from by binary cross-entropy, which the task adds to
            the loss: "" = nothing; "entropy" = the entropy of the model's own prediction; "batch" =
            a field of batches. See `tasks.boundary_losses`. Nothing else reaches its probabilities,
            and it serves the outermost stage only.
        learns: whether it has parameters, so that its loss does something.
        weight: of its loss, where its paper states one.
    """

    role: ClassVar[str] = "router"
    is_soft: ClassVar[bool] = True
    reads_ids: ClassVar[bool] = False
    reads_signal: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    holds_rate: ClassVar[bool] = False
    by_reward: ClassVar[bool] = False
    is_relaxed: ClassVar[bool] = False
    taught_by: ClassVar[str] = ""
    learns: ClassVar[bool] = True
    weight: ClassVar[float] = 0.03

    rate: float
    first_rate: float = 0.0

    def __call__(self, sight: Sight) -> jax.Array:
        """Return the probability of a boundary, float32[B, T] in [0, 1].

        Where documents start, the frame sets it to 1.
        """
        raise NotImplementedError

    def draw(self, p_BT: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the drawn boundaries, bool[B, T], and the probabilities that what follows reads.

        Args:
            p_BT: float32, moved by the threshold; above 1/2 where evaluation has a boundary. Of a
                router with `is_relaxed` its own.
            key: typed.
        """
        raise NotImplementedError

    @classmethod
    def read(cls, p_BT: jax.Array) -> jax.Array:
        """Return the probabilities that what follows reads where nothing is drawn, float32[B, T].

        Where a router draws, they may be what training reads too.

        Args:
            p_BT: float32, moved by the threshold, any shape.
        """
        return jax.lax.stop_gradient(p_BT) if cls.taught_by else p_BT

    @staticmethod
    def loss(
        is_boundary_BT: jax.Array, p_BT: jax.Array, mask_BT: jax.Array, rate: float
    ) -> jax.Array:
        """Return what the router's paper adds to the loss, float32 scalar; see `ratio_loss`.

        Args:
            is_boundary_BT: bool.
            p_BT: float32, moved by the threshold; of a router with `is_relaxed` what `draw`
                returned.
            mask_BT: bool, True at real positions.
            rate: positions per chunk that are aimed at.
        """
        return ratio_loss(is_boundary_BT, p_BT, mask_BT, rate)


class Pooling(Part):
    """A pooling; subclasses state `kind` and have all methods below.

    The vector of a chunk is of the positions behind the boundary before, up to and including its
    own boundary, where the network over chunks reads it and its result is first used. So a position
    reads nothing later, and the first chunk of a document is its separator alone.

    Attributes:
        rate: positions per chunk that are aimed at.
    """

    role: ClassVar[str] = "pooling"

    rate: float = 1.0

    @nn.nowrap
    def out_width(self) -> int:
        """Return how wide the vectors of chunks are; D unless a pooling says more."""
        return self.width

    def __call__(self, x_BTD: jax.Array, p_BT: jax.Array, cut: Cut) -> jax.Array:
        """Return the vector of each chunk, [B, K, D]; zeros where there is none.

        Args:
            x_BTD: the encoder's result.
            p_BT: float32, probabilities of boundaries, through which a gradient may reach the
                router.
            cut: where chunks begin.
        """
        raise NotImplementedError

    @nn.nowrap
    def flops_per_chunk(self, width: int) -> float:
        """Return forward FLOPs per chunk, beside those per position."""
        del width
        return 0.0

    @staticmethod
    def empty(n_lanes: int, width: int, dtype: str) -> Any:
        """Return the state that steps begin with, a pytree of arrays [B, ...]; () for none."""
        del n_lanes, width, dtype
        return ()

    def state(self, x_BTD: jax.Array, cut: Cut, lengths_B: jax.Array) -> Any:
        """Return the state behind the first `lengths_B` positions of each lane."""
        del x_BTD, cut, lengths_B
        return ()

    def step(self, x_BD: jax.Array, is_first_B: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """Return the vector of the chunk that would end here, [B, D], and the state behind it.

        Args:
            x_BD: the encoder's result at one position per lane.
            is_first_B: bool, whether there is a boundary at it.
            state: of the position before.
        """
        raise NotImplementedError


class WayBack(Part):
    """A way back; subclasses state `kind` and have all methods below. There is no dropout in it."""

    role: ClassVar[str] = "way back"

    def __call__(
        self, z_BKD: jax.Array, p_BT: jax.Array, cut: Cut, starts_BK: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return what each position reads, float32[B, T, D], and `memory_BKD` for `state`.

        Args:
            z_BKD: what the network over chunks made, cut to the width of the stage.
            p_BT: float32, probabilities of boundaries.
            cut: where chunks begin.
            starts_BK: bool, whether a document starts with the chunk.
        """
        raise NotImplementedError

    def step(
        self,
        z_BD: jax.Array,
        p_B: jax.Array,
        start_B: jax.Array,
        is_first_B: jax.Array,
        memory_BD: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Return what one position per lane reads, float32[B, D], and the memory behind it.

        Args:
            z_BD: of the chunk that begins here; of no use where none does.
            p_B: float32, probability of a boundary.
            start_B: bool, whether a document starts here.
            is_first_B: bool, whether a chunk begins here.
            memory_BD: float32, of the last chunk.
        """
        raise NotImplementedError


ROLES: Mapping[str, type[Part]] = {cls.role: cls for cls in (Router, Pooling, WayBack)}
