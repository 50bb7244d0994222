"""What families share whose model cuts its ids into chunks, and reads those by another network.

A family says in `parts` how its chunks are made. The networks around them are the section
`hierarchy` of a configuration, and the network over them the section `model`.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.dynamic.chunker import ChunkerConfig
from latent_jax.contracts import Task, Variables, Vocabulary, Writer
from latent_jax.generation.hierarchical_decoder import HierarchicalDecoder
from latent_jax.generation.token_writer import TokenWriter
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.reach import AttentionReach, MambaReach, Reach
from latent_jax.methods.family import Family, MethodName, Sources, head_of, transformer_keys
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageConfig
from latent_jax.platform import Platform
from latent_jax.tasks.boundary_policy import BoundaryPolicy
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """How the chunks of all stages are made; words are kinds of `chunking.dynamic.registry`.

    Attributes:
        router: decides where chunks begin.
        rate: positions per chunk that are aimed at.
        stages: how often chunks are cut into chunks.
        control: whether a threshold holds the rate.
        pooling: what makes a vector of a chunk.
        way_back: from chunks to positions.
        residual: what is added to it, see `models.hierarchy_config.RESIDUALS`.
    """

    router: str
    rate: float
    stages: int = 1
    control: bool = False
    pooling: str = "pick"
    way_back: str = "smooth"
    residual: str = "linear"


class HierarchicalFamily(Family):
    """A family of models over bytes, or other ids, that make chunks; a subclass has `parts`.

    Class attributes:
        unit: what the rate of the outermost stage is counted in, one of
            `tasks.hierarchical_language_modeling.UNITS`.
        outer: blocks of encoders and decoders where `hierarchy.outer` is "auto".
    """

    ids_are_bytes = True
    rotary = True
    outer: ClassVar[str]
    unit: ClassVar[str] = "bytes"

    @abc.abstractmethod
    def parts(self, method: MethodName) -> Parts:
        """Return how chunks are made."""

    def stage(
        self,
        method: MethodName,
        hierarchy: HierarchyConfig,
        main: TransformerConfig,
        separator_id: int,
    ) -> StageConfig:
        """Return the outermost stage, which holds the others.

        Args:
            method: parsed.
            hierarchy: the section of the configuration; its `outer` is no "auto".
            main: the network over chunks, resolved.
            separator_id: the id between documents.

        Raises:
            ValueError: widths do not fit.
        """
        return _stages(method, self.parts(method), hierarchy, main, separator_id)

    def model_words(
        self, method: MethodName, config: ConfigDict, platform: Platform
    ) -> dict[str, Any]:
        """Return further fields of the model's config."""
        del method, config, platform
        return {}

    def task_words(self, method: MethodName, config: ConfigDict) -> dict[str, Any]:
        """Return further fields of the task."""
        del method, config
        return {}

    def vocab_size(self, method: MethodName) -> int:
        """Return 256 bytes and the separator; a family of other ids has its own."""
        return tokenizers.Bytes.vocab_size

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the tokenizer of bytes, unless ids are others: chunks are part of the model."""
        return tokenizers.Bytes()

    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return language modeling with stages around the network `model`; see `Family`.

        Raises:
            ValueError: snippets or quantized are set, positions are not rotary, or widths do not
                fit.
        """
        if config.snippets.every or config.quantized:
            raise ValueError(
                f"snippets.every={config.snippets.every} and quantized={config.quantized} are keys "
                f"of a GPT over a tokenizer's ids: leave them as they are for {method}"
            )
        keys = {**config.hierarchy, "widths": tuple(config.hierarchy.widths)}
        hierarchy = HierarchyConfig(**keys)
        if hierarchy.outer == "auto":
            hierarchy = dataclasses.replace(hierarchy, outer=self.outer)
        # The model counts what thresholds have followed, which are micro-batches.
        n_steps = hierarchy.rate_steps * config.training.accumulation
        hierarchy = dataclasses.replace(hierarchy, rate_steps=n_steps)
        main = TransformerConfig(
            **transformer_keys(config.model, platform), vocab_size=0, max_length=config.row_length
        ).resolved(platform)
        stage = self.stage(method, hierarchy, main, vocabulary.separator_id)
        words = {}
        if routers()[stage.chunker.kind].by_reward:
            words = {key: keys[key] for key in ("group", "advantage", "policy_weight")}
        return (BoundaryPolicy if words else HierarchicalLanguageModeling)(
            HierarchicalConfig(
                vocab_size=vocabulary.size,
                separator_id=vocabulary.separator_id,
                stage=stage,
                dropout=main.dropout,
                dtype=main.dtype,
                apart=hierarchy.documents == "apart",
                **self.model_words(method, config, platform),
            ),
            config.row_length,
            vocabulary.bytes_per_token,
            boundary_weight=hierarchy.boundary_weight,
            stage_rates=hierarchy.stage_rates,
            z_loss=config.z_loss,
            head=head_of(config, vocabulary.size, platform),
            unit=self.unit,
            balance_weight=hierarchy.balance_weight,
            **self.task_words(method, config),
            **words,
        )

    def make_writer(
        self, task: Task, variables: Variables, tokenizer: tokenizers.Tokenizer, row_length: int
    ) -> Writer:
        """Return a writer of ids; see `Family`."""
        decoder = HierarchicalDecoder(task.model_config)
        return TokenWriter(decoder, variables, tokenizer, row_length)


def concept_parts(method: MethodName) -> Parts:
    """Return the parts of methods that make concepts, of their options router, n and control.

    Vectors are picked and come back as the moving average, beside the encoder's result as it is.
    """
    return Parts(
        router=method["router"],
        rate=method["n"],
        control=bool(method["control"]),
        residual="identity",
    )


def check_parts(method: MethodName, parts: Parts) -> None:
    """Raise ValueError where a router cannot do what a name asks of it."""
    router = routers()[parts.router]
    if parts.control and not router.is_soft:
        raise ValueError(
            f"'{method}': the router {parts.router} decides by itself where chunks begin, so that "
            "no rate can be held: leave control out"
        )
    if parts.stages > 1 and (router.reads_ids or router.taught_by):
        verb = "reads" if router.reads_ids else "is taught boundaries of"
        raise ValueError(
            f"'{method}': the router {parts.router} {verb} bytes, which only the first stage has: "
            "leave stages out"
        )


def usual_control(usual: Mapping[str, Any], router: str) -> dict[str, Any]:
    """Return defaults with a control of 1, or of 0 for a router of hard decisions."""
    return {**usual, "control": int(routers()[router].is_soft)}


def _stages(
    method: MethodName,
    parts: Parts,
    hierarchy: HierarchyConfig,
    main: TransformerConfig,
    separator_id: int,
) -> StageConfig:
    """Return the outermost stage, which holds the others."""
    widths = hierarchy.widths or (main.d_model,) * parts.stages
    if len(widths) != parts.stages:
        raise ValueError(
            f"hierarchy.widths={widths} has {len(widths)} widths, and {method} has {parts.stages} "
            "stages: give one for each, or () for all as wide as model.d_model"
        )
    inner = AttentionReach(main)
    for width in reversed(widths):
        chunker = ChunkerConfig(
            kind=parts.router,
            width=width,
            rate=float(parts.rate),
            slack=hierarchy.slack,
            control_steps=hierarchy.control_steps if parts.control else 0,
            rate_from=hierarchy.rate_from,
            rate_steps=hierarchy.rate_steps,
            separator_id=separator_id,
            pooling=parts.pooling,
        )
        inner = StageConfig(
            outer=outer_network(hierarchy, width, main),
            chunker=chunker,
            inner=inner,
            way_back=parts.way_back,
            residual=parts.residual,
        )
    return inner


def outer_network(hierarchy: HierarchyConfig, width: int, main: TransformerConfig) -> Reach:
    """Return the networks of a stage of a width: encoder and decoder."""
    if hierarchy.outer == "mamba":
        return MambaReach.of(width, hierarchy.layers, hierarchy.state, main.dtype)
    n_heads = hierarchy.heads or max(1, width // main.head_size)
    stack = dataclasses.replace(
        main,
        d_model=width,
        n_layers=hierarchy.layers,
        n_heads=n_heads,
        n_kv_heads=math.gcd(n_heads, main.n_kv_heads) if main.n_kv_heads else 0,
        d_ff=round(main.hidden_size / main.d_model * width),
        norm="rms",
        scan_unroll=hierarchy.layers if main.scan_unroll == main.n_layers else main.scan_unroll,
    )
    return AttentionReach(stack, hierarchy.window)
