"""`HNet[n=6]`, `HNet[n=3,stages=2]`: bytes that the model cuts into chunks by itself."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.dynamic.chunker import ChunkerConfig
from latent_jax.contracts import Task, Variables, Vocabulary, Writer
from latent_jax.generation.hierarchical_decoder import HierarchicalDecoder
from latent_jax.generation.token_writer import TokenWriter
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.reach import AttentionReach, MambaReach, Reach
from latent_jax.methods.family import (
    Family,
    MethodName,
    Option,
    Sources,
    head_of,
    transformer_keys,
)
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.registry import register
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageConfig
from latent_jax.platform import Platform
from latent_jax.ranges import at_least, more_than
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling

MOST_STAGES = 4

ROUTERS = tuple(kind for kind, router in routers().items() if not router.reads_signal)
"""Those that read no other model."""


@register
class HNet(Family):
    """H-Net (Hwang et al. 2025, arXiv 2507.07955), with the rate that it is asked for."""

    name = "HNet"
    rank, colour = 9, 0
    summary = "bytes, cut by the model into chunks of n on average (Hwang et al. 2025)"
    options = {
        "n": Option(
            "bytes per chunk, as 4 or 4.5; of later stages, chunks per chunk",
            numbers=more_than(1, 2**20),
            is_whole=False,
        ),
        "stages": Option(
            "how often chunks are cut into chunks", default=1, numbers=at_least(1, MOST_STAGES)
        ),
        "router": Option("decides where chunks begin", ROUTERS, "cosine"),
        "control": Option(
            "1 holds the rate to n; 0 leaves it to the ratio loss, as in the paper (1, or 0 where "
            "the router decides by itself)",
            numbers=at_least(0, 1),
        ),
    }
    example = "HNet[n=4]"
    ids_are_bytes = True
    rotary = True

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; a router of hard decisions has no rate to control."""
        usual = super().defaults(options)
        router = routers()[options.get("router", usual["router"])]
        return {**usual, "control": int(router.is_soft)}

    def check(self, method: MethodName) -> None:
        """Refuse what a router cannot do."""
        router = routers()[method["router"]]
        if method["control"] and not router.is_soft:
            raise ValueError(
                f"'{method}': the router {method['router']} decides by itself where chunks begin, "
                "so that no rate can be held: leave control out"
            )
        if method["stages"] > 1 and router.reads_ids:
            raise ValueError(
                f"'{method}': the router {method['router']} reads bytes, which only the first "
                "stage has: leave stages out"
            )

    def vocab_size(self, method: MethodName) -> int:
        """Return 256 bytes and the separator."""
        return tokenizers.Bytes.vocab_size

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the tokenizer of bytes: chunks are part of the model."""
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
        main = TransformerConfig(
            **transformer_keys(config.model, platform), vocab_size=0, max_length=config.row_length
        ).resolved(platform)
        stage = _stages(method, hierarchy, main, vocabulary.separator_id)
        return HierarchicalLanguageModeling(
            HierarchicalConfig(
                vocab_size=vocabulary.size,
                separator_id=vocabulary.separator_id,
                stage=stage,
                dropout=main.dropout,
                dtype=main.dtype,
                apart=hierarchy.documents == "apart",
            ),
            config.row_length,
            vocabulary.bytes_per_token,
            ratio_weight=hierarchy.ratio_weight,
            stage_rates=hierarchy.stage_rates,
            z_loss=config.z_loss,
            head=head_of(config, vocabulary.size, platform),
        )

    def make_writer(
        self, task: Task, variables: Variables, tokenizer: tokenizers.Tokenizer, row_length: int
    ) -> Writer:
        """Return a writer of bytes; see `Family`."""
        decoder = HierarchicalDecoder(task.model_config)
        return TokenWriter(decoder, variables, tokenizer, row_length)


def _stages(
    method: MethodName, hierarchy: HierarchyConfig, main: TransformerConfig, separator_id: int
) -> StageConfig:
    """Return the outermost stage, which holds the others."""
    n_stages = method["stages"]
    widths = hierarchy.widths or (main.d_model,) * n_stages
    if len(widths) != n_stages:
        raise ValueError(
            f"hierarchy.widths={widths} has {len(widths)} widths, and {method} has {n_stages} "
            "stages: give one for each, or () for all as wide as model.d_model"
        )
    inner = AttentionReach(main)
    for width in reversed(widths):
        chunker = ChunkerConfig(
            kind=method["router"],
            width=width,
            rate=float(method["n"]),
            slack=hierarchy.slack,
            control_steps=hierarchy.control_steps if method["control"] else 0,
            separator_id=separator_id,
        )
        inner = StageConfig(outer=outer_reach(hierarchy, width, main), chunker=chunker, inner=inner)
    return inner


def outer_reach(hierarchy: HierarchyConfig, width: int, main: TransformerConfig) -> Reach:
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
