"""The chunker: router, threshold, cut and pooling, over rows or in a single step.

A boundary is where the router's probability is above the threshold, and where a document starts:
the position that reads the separator, and the first position of a row. A router may draw the
boundaries of training instead.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import Cut, capacity_of, chunks_of, cut_at
from latent_jax.chunking.dynamic.parts import Pooling, Router, Sight
from latent_jax.chunking.dynamic.rate import MOST_STEPS, Threshold, moved
from latent_jax.chunking.dynamic.registry import poolings, routers
from latent_jax.chunking.dynamic.row import Row, before, since_start
from latent_jax.chunking.dynamic.schedule import aim, check_schedule
from latent_jax.contracts import Chunks
from latent_jax.layers.reach import keep
from latent_jax.nearest import check_word
from latent_jax.ranges import Natural, Size, at_least, check_fields, more_than

EVEN = 0.5
"""A boundary is where the moved probability is above it."""


class Last(NamedTuple):
    """What a step of a router sees of the position before, and the state of the pooling.

    Attributes:
        x_BD: the encoder's result.
        id_B: int32.
        since_start_B: int32, positions since the start of the document.
        signal_B: float32, see `Sight`; 0 where there is none.
        pooling: the state of the pooling.
    """

    x_BD: jax.Array
    id_B: jax.Array
    since_start_B: jax.Array
    signal_B: jax.Array
    pooling: Any


class Read(NamedTuple):
    """Probabilities of boundaries beside those that decide, float32[B, T].

    Attributes:
        p_BT: what poolings and ways back read; they differ where boundaries are drawn.
        own_BT: the router's own, which no threshold moved, also where documents start.
    """

    p_BT: jax.Array
    own_BT: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkerConfig:
    """How rows are cut.

    Attributes:
        kind: of the router, see `registry.routers`.
        width: D, of the vectors that it sees.
        rate: positions per chunk that are aimed at; of the outermost stage, raw bytes, or ids where
            the task counts in tokens.
        slack: chunks that a row has room for, as a multiple of those aimed at.
        control_steps: observations that thresholds average over, at most; see `rate`. 0 = the
            paper's threshold, p > 1/2.
        separator_id: the id between documents.
        pooling: what makes a vector of a chunk, see `registry.poolings`.
        rate_from: positions per chunk that are aimed at when training begins; 0 = `rate`.
        rate_steps: observations of a threshold in which the aim moves from there to `rate`.
        router_options: pairs of further fields of the router and their values.
        pooling_options: those of the pooling.

    Raises:
        ValueError: the router or the pooling is unknown, a number is out of range, a router of
            hard decisions is to be controlled, or the aim is to move and nothing holds the rate.
    """

    kind: str
    width: Size
    rate: Annotated[float, more_than(1, 2**20)]
    slack: Annotated[float, at_least(1, 2**20)] = 1.25
    control_steps: Annotated[int, at_least(0, MOST_STEPS)] = 0
    separator_id: Natural = 256
    pooling: str = "pick"
    rate_from: Annotated[float, at_least(0, 2**20)] = 0.0
    rate_steps: Natural = 0
    router_options: tuple[Any, ...] = ()
    pooling_options: tuple[Any, ...] = ()

    def __post_init__(self):
        """Check the fields."""
        check_fields(self)
        check_schedule(self.rate_from, self.rate_steps)
        if self.rate_from and not self.control_steps:
            raise ValueError(
                f"rate_from={self.rate_from:g} moves what is aimed at, and nothing holds the rate "
                "of this stage: set it to 0, or control to 1"
            )
        check_word("router", self.kind, routers())
        check_word("pooling", self.pooling, poolings())
        if self.control_steps and not routers()[self.kind].is_soft:
            raise ValueError(
                f"the router {self.kind} decides by 0 and 1, which no threshold moves: set control "
                "to 0"
            )

    def capacity(self, length: int) -> int:
        """Return K for rows of `length` positions, at the most chunks that are ever aimed at."""
        return capacity_of(length, min(self.rate, self.rate_from or self.rate), self.slack)

    def router(self) -> Router:
        """Return the router."""
        words = dict(width=self.width, rate=self.rate, first_rate=self.rate_from)
        return routers()[self.kind](**words, **dict(self.router_options))

    def pool(self) -> Pooling:
        """Return the pooling."""
        return poolings()[self.pooling](
            width=self.width, rate=self.rate, **dict(self.pooling_options)
        )

    @property
    def loose(self) -> tuple[Router, Pooling]:
        """Router and pooling that belong to no module, to be asked what they cost or need."""
        words = dict(width=self.width, rate=self.rate, parent=None)
        router = routers()[self.kind](**words, **dict(self.router_options))
        return router, poolings()[self.pooling](**words, **dict(self.pooling_options))

    @property
    def out_width(self) -> int:
        """Width of the vectors of chunks."""
        return self.loose[1].out_width()

    @property
    def forward_flops(self) -> float:
        """Forward FLOPs of router and pooling per position."""
        return sum(part.forward_flops(self.width) for part in self.loose)

    @property
    def flops_per_chunk(self) -> float:
        """Forward FLOPs of the pooling per chunk."""
        return self.loose[1].flops_per_chunk(self.width)

    def empty_last(self, n_lanes: int, dtype: str) -> Last:
        """Return what the first step of a lane sees."""
        zeros_B = jnp.zeros(n_lanes, jnp.int32)
        return Last(
            jnp.zeros((n_lanes, self.width), dtype),
            zeros_B + self.separator_id,
            zeros_B,
            jnp.zeros(n_lanes, jnp.float32),
            self.loose[1].empty(n_lanes, self.width, dtype),
        )


class DynamicChunker(nn.Module):
    """Cuts rows into chunks, each of which becomes one vector."""

    config: ChunkerConfig

    def setup(self):
        """Create the router, the threshold and the pooling."""
        self.router = self.config.router()
        if self.config.control_steps:
            self.threshold = Threshold(self.config.control_steps)
        self.pool = self.config.pool()

    def __call__(
        self, x_BTD: jax.Array, row: Row, *, train: bool = False, capacity: int | None = None
    ) -> tuple[Chunks, Cut, jax.Array, Read]:
        """Return the chunks, where they begin, and probabilities of boundaries, float32[B, T].

        The first ones are the router's, moved by the threshold, and 1 where documents start.

        Args:
            x_BTD: the encoder's result.
            row: of the same positions.
            train: whether the threshold follows this batch, and boundaries are drawn.
            capacity: K; None = that of the config.
        """
        config = self.config
        capacity = capacity or config.capacity(x_BTD.shape[1])
        p_BT = own_BT = self.router(self._sight(x_BTD, row))
        rate = config.rate
        starts_BT = row.starts_BT & row.mask_BT
        if config.control_steps:
            rate = aim(config.rate, config.rate_from, config.rate_steps, self.threshold.n_done)
            threshold = self.threshold.now(train=train)
            if train:
                is_free_BT = row.mask_BT & ~row.starts_BT
                n_wanted = row.n_units / rate
                self.threshold.follow(p_BT, is_free_BT, starts_BT, n_wanted, capacity)
            p_BT = moved(p_BT, threshold)
        p_BT = jnp.where(row.starts_BT, 1.0, p_BT)
        is_boundary_BT, read_BT = p_BT > EVEN, self.router.read(p_BT)
        if train and self.router.draws:
            drawn_BT = own_BT if self.router.is_relaxed else p_BT
            is_boundary_BT, read_BT = self.router.draw(drawn_BT, self.make_rng("boundaries"))
            is_boundary_BT = is_boundary_BT | row.starts_BT
            read_BT = jnp.where(row.starts_BT, 1.0, read_BT)
        is_boundary_BT = is_boundary_BT & row.mask_BT
        cut = cut_at(is_boundary_BT, capacity, starts_BT)
        judged_BT = read_BT if self.router.is_relaxed else p_BT
        loss = self.router.loss(is_boundary_BT, judged_BT, row.mask_BT, rate)
        chunks = chunks_of(self.pool(x_BTD, read_BT, cut), cut, loss)
        return chunks, cut, p_BT, Read(read_BT, own_BT)

    def step(
        self,
        x_BD: jax.Array,
        id_B: jax.Array,
        start_B: jax.Array,
        last: Last,
        signal_B: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, Last]:
        """Return of one position per lane its probability, its chunk's vector, and what comes next.

        Args:
            x_BD: the encoder's result.
            id_B: int32, the id that the position reads.
            start_B: bool, whether a document starts there.
            last: of the position before.
            signal_B: float32, see `Sight`; None = there is none.
        """
        since_start_B = jnp.where(start_B, 0, last.since_start_B + 1)
        pairs = (x_BD, last.x_BD, id_B, last.id_B, since_start_B)
        pairs += () if signal_B is None else (signal_B, last.signal_B)
        p_B = self.router(Sight(*(x[:, None] for x in pairs)))[:, 0]
        if self.config.control_steps:
            p_B = moved(p_B, self.threshold.now(train=False))
        p_B = jnp.where(start_B, 1.0, p_B)
        empty = self.pool.empty(x_BD.shape[0], self.config.width, x_BD.dtype)
        pooled = keep(start_B, empty, last.pooling)
        z_BD, pooling = self.pool.step(x_BD, p_B > EVEN, pooled)
        signal_B = last.signal_B if signal_B is None else signal_B
        return p_B, z_BD, Last(x_BD, id_B, since_start_B, signal_B, pooling)

    def last(self, x_BTD: jax.Array, row: Row, cut: Cut, lengths_B: jax.Array) -> Last:
        """Return what the step behind the first `lengths_B` positions sees."""
        at_B1 = lengths_B[:, None] - 1
        sight = self._sight(x_BTD, row)
        x_BD = jnp.take_along_axis(x_BTD, at_B1[..., None], axis=1)[:, 0]
        signal_BT = row.signal_BT
        if signal_BT is None:
            signal_BT = jnp.zeros(row.ids_BT.shape, jnp.float32)
        rows = (row.ids_BT, sight.since_start_BT, signal_BT)
        rest = (jnp.take_along_axis(x, at_B1, axis=1)[:, 0] for x in rows)
        return Last(x_BD, *rest, self.pool.state(x_BTD, cut, lengths_B))

    def _sight(self, x_BTD: jax.Array, row: Row) -> Sight:
        before_BTD = jnp.pad(x_BTD[:, :-1], ((0, 0), (1, 0), (0, 0)))
        separator = self.config.separator_id
        before_BT = before(row.ids_BT, separator)
        signals = (None, None)
        if row.signal_BT is not None:
            signals = (row.signal_BT, before(row.signal_BT, 0))
        return Sight(x_BTD, before_BTD, row.ids_BT, before_BT, since_start(row.starts_BT), *signals)
