"""`BLT[n=4.5]`: bytes in patches that end where the next byte is hard to predict."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.dynamic.entropy import THETA
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.entropy_network import entropy_reach
from latent_jax.methods.family import MethodName, Option
from latent_jax.methods.hierarchical_family import (
    HierarchicalFamily,
    Parts,
    check_parts,
    outer_network,
    usual_control,
)
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.registry import register
from latent_jax.models.hierarchy_config import StageConfig
from latent_jax.platform import Platform
from latent_jax.ranges import at_least, more_than, within

ROUTERS = tuple(kind for kind, cls in routers().items() if not (cls.taught_by or cls.by_reward))
"""Those of the paper, and those that need neither a teacher nor a reward."""


@register
class BLT(HierarchicalFamily):
    """Byte Latent Transformer (Pagnoni et al. 2024, arXiv 2412.09871).

    The network over patches is the section `model`. Entropies are those of the run that
    `hierarchy.entropy_model` names; it stays as it is, and runs for every byte.
    """

    name = "BLT"
    rank, colour = 12, 2
    summary = "bytes in patches of n on average that end at high entropies (Pagnoni et al. 2024)"
    options = {
        "n": Option("bytes per patch, as 4 or 4.5", numbers=more_than(1, 2**20), is_whole=False),
        "router": Option("decides where patches end", ROUTERS, "entropy"),
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
    renamed = {"boundaries": "router"}
    example = "BLT[n=4.5]"
    outer = "attention"

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; a router of hard decisions has no rate to control."""
        usual = super().defaults(options)
        return usual_control(usual, options.get("router", usual["router"]))

    def check(self, method: MethodName) -> None:
        """Refuse what a router cannot do, and a threshold that nothing reads."""
        router = routers()[method["router"]]
        check_parts(method, self.parts(method))
        if method["router"] == "rise" and not method["control"] and method["theta"] == THETA:
            raise ValueError(
                f"'{method}': theta={THETA:g} is a threshold of entropies, and rises are smaller: "
                "state theta, or leave control out"
            )
        if method["theta"] != THETA and (method["control"] or not router.reads_signal):
            raise ValueError(
                f"'{method}': theta is the threshold of entropies under control=0; here "
                f"control={method['control']} and router={method['router']}: leave it out"
            )

    def parts(self, method: MethodName) -> Parts:
        """Return the router of the name; `stage` adds its threshold and the cross-attention."""
        return Parts(
            router=method["router"],
            rate=method["n"],
            control=bool(method["control"]),
            pooling="mean",
            way_back="repeat",
            residual="identity",
        )

    def stage(
        self,
        method: MethodName,
        hierarchy: HierarchyConfig,
        main: TransformerConfig,
        separator_id: int,
    ) -> StageConfig:
        """Return the one stage, around the network over patches; see `HierarchicalFamily`."""
        k, widths = hierarchy.cross, hierarchy.widths
        if main.d_model % max(k, 1):
            raise ValueError(
                f"hierarchy.cross={k} vectors side by side are as wide as the network over "
                f"patches, and model.d_model={main.d_model} is no multiple of it"
            )
        hierarchy = dataclasses.replace(hierarchy, widths=widths or (main.d_model // max(k, 1),))
        stage = super().stage(method, hierarchy, main, separator_id)
        deeper = dataclasses.replace(hierarchy, layers=hierarchy.decoder_layers or hierarchy.layers)
        decoder, chunker = outer_network(deeper, stage.width, main), stage.chunker
        if routers()[method["router"]].reads_signal:
            chunker = dataclasses.replace(
                chunker, router_options=(("theta", float(method["theta"])),)
            )
        if k:
            if routers()[method["router"]].learns:
                raise ValueError(
                    f"hierarchy.cross={k}: no gradient reaches the router {method['router']} "
                    "through cross-attention, so that it would learn by its own loss alone: set "
                    "hierarchy.cross to 0, or choose a router that does not learn, such as "
                    "entropy"
                )
            if not isinstance(stage.outer, AttentionReach):
                raise ValueError(
                    f"hierarchy.cross={k}: cross-attention stands between blocks of attention; set "
                    f"hierarchy.outer to attention, got {hierarchy.outer!r}"
                )
            decoder = CrossReach(decoder, main.d_model, k)
            options = (("n_vectors", k), ("n_heads", stage.outer.stack.n_heads))
            chunker = dataclasses.replace(chunker, pooling="cross", pooling_options=options)
        return dataclasses.replace(stage, chunker=chunker, decoder=decoder)

    def model_words(self, method: MethodName, config: ConfigDict, platform: Platform):
        """Return the entropy model and the n-grams; see `HierarchicalFamily`."""
        entropy = entropy_reach(config, platform) if needs_entropies(method) else None
        return dict(entropy=entropy, ngrams=config.hierarchy.ngrams)

    def task_words(self, method: MethodName, config: ConfigDict) -> dict[str, Any]:
        """Return the run of the entropy model; see `HierarchicalFamily`."""
        return dict(entropy_source=config.hierarchy.entropy_model * needs_entropies(method))


def needs_entropies(method: MethodName) -> bool:
    """Return whether a method reads the entropies of another run."""
    return method.family == BLT.name and routers()[method["router"]].reads_signal
