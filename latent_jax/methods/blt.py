"""`BLT[n=4.5]`: bytes in patches that end where the next byte is hard to predict."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.dynamic.chunker import ChunkerConfig
from latent_jax.chunking.dynamic.entropy import THETA
from latent_jax.contracts import Task, Variables, Vocabulary, Writer
from latent_jax.generation.hierarchical_decoder import HierarchicalDecoder
from latent_jax.generation.token_writer import TokenWriter
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.entropy_network import entropy_reach
from latent_jax.methods.family import (
    Family,
    MethodName,
    Option,
    Sources,
    head_of,
    transformer_keys,
)
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.hnet import outer_reach
from latent_jax.methods.registry import register
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageConfig
from latent_jax.platform import Platform
from latent_jax.ranges import at_least, more_than, within
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling


@register
class BLT(Family):
    """Byte Latent Transformer (Pagnoni et al. 2024, arXiv 2412.09871).

    The network over patches is the section `model`. Entropies are those of the run that
    `hierarchy.entropy_model` names; it stays as it is, and runs for every byte.
    """

    name = "BLT"
    rank, colour = 10, 2
    summary = "bytes in patches of n on average that end at high entropies (Pagnoni et al. 2024)"
    options = {
        "n": Option("bytes per patch, as 4 or 4.5", numbers=more_than(1, 2**20), is_whole=False),
        "boundaries": Option("decides where patches end", tuple(routers()), "entropy"),
        "control": Option(
            "1 holds the rate to n; 0 keeps theta, as in the paper, and n only sets the room for "
            "patches (1, or 0 where nothing can be moved)",
            numbers=at_least(0, 1),
        ),
        "theta": Option(
            "threshold of entropies in nats, where control=0",
            default=THETA,
            numbers=within("[0, 100]"),
            is_whole=False,
        ),
    }
    example = "BLT[n=4.5]"
    ids_are_bytes = True
    rotary = True

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; a router of hard decisions has no rate to control."""
        usual = super().defaults(options)
        router = routers()[options.get("boundaries", usual["boundaries"])]
        return {**usual, "control": int(router.is_soft)}

    def check(self, method: MethodName) -> None:
        """Refuse what a router cannot do, and a threshold that nothing reads."""
        router = routers()[method["boundaries"]]
        if method["control"] and not router.is_soft:
            raise ValueError(
                f"'{method}': the boundaries {method['boundaries']} are decided by the text, so "
                "that no rate can be held: leave control out"
            )
        if method["theta"] != THETA and (method["control"] or not router.reads_signal):
            raise ValueError(
                f"'{method}': theta is the threshold of entropies under control=0; here "
                f"control={method['control']} and boundaries={method['boundaries']}: leave it out"
            )

    def vocab_size(self, method: MethodName) -> int:
        """Return 256 bytes and the separator."""
        return tokenizers.Bytes.vocab_size

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the tokenizer of bytes: patches are part of the model."""
        return tokenizers.Bytes()

    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return language modeling with a stage around the network `model`; see `Family`.

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
        reads_entropies = needs_entropies(method)
        return HierarchicalLanguageModeling(
            HierarchicalConfig(
                vocab_size=vocabulary.size,
                separator_id=vocabulary.separator_id,
                stage=_stage(method, hierarchy, main, vocabulary.separator_id),
                dropout=main.dropout,
                dtype=main.dtype,
                apart=hierarchy.documents == "apart",
                entropy=entropy_reach(config, platform) if reads_entropies else None,
                ngrams=hierarchy.ngrams,
            ),
            config.row_length,
            vocabulary.bytes_per_token,
            ratio_weight=hierarchy.ratio_weight,
            stage_rates=hierarchy.stage_rates,
            z_loss=config.z_loss,
            head=head_of(config, vocabulary.size, platform),
            entropy_source=hierarchy.entropy_model if reads_entropies else "",
        )

    def make_writer(
        self, task: Task, variables: Variables, tokenizer: tokenizers.Tokenizer, row_length: int
    ) -> Writer:
        """Return a writer of bytes; see `Family`."""
        decoder = HierarchicalDecoder(task.model_config)
        return TokenWriter(decoder, variables, tokenizer, row_length)


def needs_entropies(method: MethodName) -> bool:
    """Return whether a method reads the entropies of another run."""
    return method.family == BLT.name and routers()[method["boundaries"]].reads_signal


def _stage(
    method: MethodName, hierarchy: HierarchyConfig, main: TransformerConfig, separator_id: int
) -> StageConfig:
    """Return the one stage, around the network over patches."""
    (width,) = hierarchy.widths if len(hierarchy.widths) == 1 else (0,)
    if hierarchy.widths and not width:
        raise ValueError(
            f"hierarchy.widths={hierarchy.widths} has {len(hierarchy.widths)} widths, and {method} "
            "has one stage: give one, or () for model.d_model / hierarchy.cross"
        )
    k = hierarchy.cross
    if main.d_model % max(k, 1):
        raise ValueError(
            f"hierarchy.cross={k} vectors side by side are as wide as the network over patches, "
            f"and model.d_model={main.d_model} is no multiple of it"
        )
    width = width or main.d_model // max(k, 1)
    router = routers()[method["boundaries"]]
    outer = outer_reach(hierarchy, width, main)
    deeper = dataclasses.replace(hierarchy, layers=hierarchy.decoder_layers or hierarchy.layers)
    decoder = outer_reach(deeper, width, main)
    pooling_options = ()
    if k:
        if not isinstance(outer, AttentionReach):
            raise ValueError(
                f"hierarchy.cross={k}: cross-attention stands between blocks of attention; set "
                f"hierarchy.outer to attention, got {hierarchy.outer!r}"
            )
        decoder = CrossReach(decoder, main.d_model, k)
        pooling_options = (("n_vectors", k), ("n_heads", outer.stack.n_heads))
    chunker = ChunkerConfig(
        kind=method["boundaries"],
        width=width,
        rate=float(method["n"]),
        slack=hierarchy.slack,
        control_steps=hierarchy.control_steps if method["control"] else 0,
        separator_id=separator_id,
        pooling="cross" if k else "mean",
        router_options=(("theta", float(method["theta"])),) if router.reads_signal else (),
        pooling_options=pooling_options,
    )
    return StageConfig(
        outer=outer,
        chunker=chunker,
        inner=AttentionReach(main),
        way_back="repeat",
        residual="identity",
        decoder=decoder,
    )
