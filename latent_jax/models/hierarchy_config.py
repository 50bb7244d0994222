"""The config of a hierarchical model, and its FLOPs: at its capacity, and at the rate aimed at."""

import dataclasses
from typing import Annotated, Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.chunker import ChunkerConfig, Last
from latent_jax.chunking.dynamic.parts import WayBack
from latent_jax.chunking.dynamic.registry import ways_back
from latent_jax.layers.config import DTYPES, MOST_IDS
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.layers.ngrams import REACH
from latent_jax.layers.reach import AttentionReach, Reach, ReachCache
from latent_jax.layers.up_attention import UpReach
from latent_jax.models.entropy_model import entropy_flops
from latent_jax.nearest import check_word
from latent_jax.ranges import Natural, at_least, check_fields, one_of

RESIDUALS = ("linear", "identity")
"""What is added to the way back: a linear map of the encoder's result that begins at zero (H-Net),
or the result itself."""

PARTS = ("encoder", "router", "main", "decoder")
"""Components of FLOPs beside the head; those of all stages are added."""


class StageCache(NamedTuple):
    """What a stage passes on from one position to the next.

    Attributes:
        encoder: of the encoder.
        decoder: of the decoder.
        last: what the router sees of the position before, and the pooling's state.
        memory_BD: float32, what the way back remembers of the last chunk.
        inner: of the inner network.
        up: of the attention upsampling; () = there is none.
    """

    encoder: Any
    decoder: Any
    last: Last
    memory_BD: Any
    inner: Any
    up: ReachCache | tuple[()] = ()


class ModelCache(NamedTuple):
    """What a model passes on from one position to the next.

    Attributes:
        stage: of the outermost stage.
        entropy: of the entropy model; () = there is none.
        past: int32[B, REACH], the last ids of the document, for n-grams; () = there are none.
    """

    stage: StageCache
    entropy: ReachCache | tuple[()] = ()
    past: jax.Array | tuple[()] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig:
    """A stage: encoder, chunker, inner network over chunks, decoder.

    Attributes:
        outer: of encoder and decoder, each with weights of its own.
        chunker: how rows are cut.
        inner: a stage again, or the main network.
        way_back: from chunks to positions, see `registry.ways_back`.
        residual: one of `RESIDUALS`.
        decoder: the decoder where it is another network than the encoder; None = as `outer`. One
            that reads chunks reads, at each position, what the way back remembers of its chunk.
        up: attention to all chunks behind the way back, added to it; None = there is none.

    Raises:
        ValueError: the inner network is narrower, the chunker or the decoder has another width, a
            word is unknown, encoder or decoder have no positions, or nothing is added to the
            encoder's result and the residual is not "identity" or chunks are read by attention.
    """

    outer: Reach
    chunker: ChunkerConfig
    inner: "StageConfig | AttentionReach"
    way_back: str = "smooth"
    residual: str = "linear"
    decoder: "Reach | CrossReach | None" = None
    up: UpReach | None = None

    def __post_init__(self):
        """Check the words and widths."""
        check_word("way back", self.way_back, ways_back())
        check_word("residual", self.residual, RESIDUALS)
        if self.inner.width < self.chunk_width:
            raise ValueError(
                f"a stage of width {self.chunk_width} holds a network of width {self.inner.width}: "
                "inner networks are at least as wide (hierarchy.widths, model.d_model)"
            )
        if self.chunker.width != self.width:
            raise ValueError(f"a chunker of width {self.chunker.width} in a stage of {self.width}")
        if self.after.width != self.width:
            raise ValueError(f"a decoder of width {self.after.width} in a stage of {self.width}")
        for network in (self.outer, self.after):
            if isinstance(network, AttentionReach) and network.stack.positions == "none":
                raise ValueError(
                    "encoder and decoder have positions=none: only a network over chunks may do "
                    "without positions"
                )
        if not self.after.adds_chunks and self.residual != "identity":
            raise ValueError(
                "a decoder that reads chunks alone takes the encoder's result as it is: set "
                f"residual to identity; got {self.residual!r}"
            )
        if self.up is not None and not self.after.adds_chunks:
            raise ValueError(
                "a decoder that reads chunks alone has no way back that attention could be added "
                "to: leave one of both out"
            )
        if self.up is not None and self.up.stack.d_model != self.width:
            raise ValueError(
                f"attention upsampling of width {self.up.stack.d_model} in a stage of {self.width}"
            )

    @property
    def width(self) -> int:
        """D."""
        return self.outer.width

    @property
    def after(self) -> "Reach | CrossReach":
        """The decoder."""
        return self.decoder or self.outer

    @property
    def chunk_width(self) -> int:
        """Of the vectors of chunks; inner networks are at least as wide."""
        return self.chunker.out_width

    @property
    def back_width(self) -> int:
        """Of what the way back gives."""
        return self.width if self.after.adds_chunks else self.inner.width

    @property
    def back(self) -> WayBack:
        """The way back."""
        return ways_back()[self.way_back](width=self.back_width)

    @property
    def is_innermost(self) -> bool:
        """Whether the inner network is the main one."""
        return not isinstance(self.inner, StageConfig)

    @property
    def unrolled(self) -> Self:
        """The same without loops over layers."""
        decoder = self.decoder and self.decoder.unrolled
        return dataclasses.replace(
            self, outer=self.outer.unrolled, inner=self.inner.unrolled, decoder=decoder
        )

    def forward_flops(self, length: float, at_rate: bool) -> dict[str, float]:
        """Return forward FLOPs per position by the names of `PARTS`.

        Args:
            length: positions per row.
            at_rate: count the chunks that are aimed at; else all that there is room for.
        """
        n_chunks = length / self.chunker.rate if at_rate else self.chunker.capacity(round(length))
        share = n_chunks / length
        if self.is_innermost:
            inner = {"main": self.inner.forward_flops(n_chunks, in_steps=at_rate)}
        else:
            inner = self.inner.forward_flops(n_chunks, at_rate)
        own = {
            "encoder": self.outer.forward_flops(length),
            "router": self.chunker.forward_flops + share * self.chunker.flops_per_chunk,
            "decoder": self.after.forward_flops(length)
            + (2.0 * self.width**2 if self.residual == "linear" else 0.0)
            + (0.0 if self.up is None else self.up.forward_flops(length, n_chunks)),
        }
        return {part: own.get(part, 0.0) + share * inner.get(part, 0.0) for part in PARTS}

    def empty_cache(self, n_lanes: int, n_slots: int, dtype: str) -> StageCache:
        """Return what steps start from; rings of all stages have `n_slots` slots."""
        words = (dtype,) if not self.is_innermost else ()
        last = self.chunker.empty_last(n_lanes, dtype)
        return StageCache(
            self.outer.empty_cache(n_lanes, n_slots),
            self.after.empty_cache(n_lanes, n_slots),
            last,
            jnp.zeros((n_lanes, self.back_width), jnp.float32),
            self.inner.empty_cache(n_lanes, n_slots, *words),
            () if self.up is None else self.up.empty_cache(n_lanes, n_slots),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchicalConfig:
    """A language model over bytes, or other ids, that cuts them into chunks by itself.

    Attributes:
        vocab_size: V, ids of the tied head.
        separator_id: the id between documents, and before every row.
        stage: the outermost stage.
        dropout: rate on the embeddings, in training; that of the main network is its own.
        dtype: one of `DTYPES`, of activations and matmuls.
        apart: whether documents of a row do not see each other; see `HierarchicalModel`.
        entropy: of the frozen byte model whose entropies routers read, see `EntropyModel`; None =
            there is none.
        ngrams: rows of each table of hashed n-grams, see `HashNgrams`; 0 = there are none.
    """

    vocab_size: Annotated[int, at_least(1, MOST_IDS)]
    separator_id: Natural
    stage: StageConfig
    dropout: float = 0.0
    dtype: Annotated[str, one_of(DTYPES)] = "float32"
    apart: bool = False
    entropy: AttentionReach | None = None
    ngrams: Natural = 0

    def __post_init__(self):
        """Check the fields."""
        check_fields(self)

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """All stages, outermost first."""
        found = [self.stage]
        while not found[-1].is_innermost:
            found.append(found[-1].inner)
        return tuple(found)

    @property
    def main(self) -> AttentionReach:
        """The network over the chunks of the innermost stage."""
        return self.stages[-1].inner

    @property
    def widths(self) -> tuple[int, ...]:
        """D of every stage, and of the main network."""
        return (*(stage.width for stage in self.stages), self.main.width)

    @property
    def unrolled(self) -> Self:
        """The same network without loops over layers."""
        entropy = None if self.entropy is None else self.entropy.unrolled
        return dataclasses.replace(self, stage=self.stage.unrolled, entropy=entropy)

    def lengths(self, length: int) -> tuple[int, ...]:
        """Return the positions that each stage reads, and the main network, at capacity."""
        found = [length]
        for stage in self.stages:
            found.append(stage.chunker.capacity(found[-1]))
        return tuple(found)

    def forward_flops(self, length: int, *, at_rate: bool = False) -> dict[str, float]:
        """Return forward FLOPs per id by component; an id is a byte, or a token of another code.

        The compiled program computes all chunks that there is room for, padded or not; that is what
        is counted, and what budgets pay.

        Args:
            length: ids per row.
            at_rate: count the chunks that are aimed at instead, as a step of generation pays them.
        """
        head = 2.0 * self.stage.width * self.vocab_size
        parts = {"embedding": 0.0, **self.stage.forward_flops(length, at_rate), "head": head}
        if self.entropy is not None:
            parts["entropy_model"] = entropy_flops(self.entropy, length)
        return parts

    def empty_cache(self, n_lanes: int, n_slots: int) -> ModelCache:
        """Return what `HierarchicalModel.step` starts from."""
        stage = self.stage.empty_cache(n_lanes, n_slots, self.dtype)
        entropy = () if self.entropy is None else self.entropy.empty_cache(n_lanes, n_slots)
        past = jnp.full((n_lanes, REACH), self.separator_id, jnp.int32) if self.ngrams else ()
        return ModelCache(stage, entropy, past)
