"""`Hourglass[n=4]`, `Hourglass[n=4,up=attention]`: bytes, shortened by a fixed factor."""

import dataclasses

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.reach import AttentionReach
from latent_jax.layers.up_attention import UpReach
from latent_jax.methods.family import MethodName, Option
from latent_jax.methods.hierarchical_family import HierarchicalFamily, Parts
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.registry import register
from latent_jax.models.hierarchy_config import StageConfig
from latent_jax.ranges import at_least

MOST_JOINED = 1024
"""Of n, which the map of the linear pooling is n times as large as."""


@register
class Hourglass(HierarchicalFamily):
    """Hourglass (Nawrot et al. 2021, arXiv 2110.13711), with one shortening.

    Every n-th position, counted from the start of each document, ends a chunk; see the pooling
    `linear`. The way back repeats the result of a chunk and adds the encoder's result. With
    up=attention bytes then read all chunks up to their own, the paper's "attention upsampling"; see
    `layers.up_attention`.
    """

    name = "Hourglass"
    rank, colour = 11, 4
    summary = "bytes, n of them joined and mapped to one vector (Nawrot et al. 2021)"
    options = {
        "n": Option("bytes per chunk", numbers=at_least(2, MOST_JOINED)),
        "pooling": Option("what makes a vector of n bytes", ("linear", "mean"), "linear"),
        "up": Option(
            "how bytes read chunks: their own one, or all up to it by attention as well",
            ("repeat", "attention"),
            "repeat",
        ),
    }
    example = "Hourglass[n=4]"
    outer = "attention"

    def parts(self, method: MethodName) -> Parts:
        """Return the stride, the pooling of the name, and repetition."""
        return Parts(
            router="stride",
            rate=method["n"],
            pooling=method["pooling"],
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
        """Return the stage; see `HierarchicalFamily`."""
        stage = super().stage(method, hierarchy, main, separator_id)
        if method["up"] == "repeat":
            return stage
        if not isinstance(stage.outer, AttentionReach):
            raise ValueError(
                f"{method}: attention upsampling has the heads of the blocks around it: set "
                f"hierarchy.outer to attention, got {hierarchy.outer!r}"
            )
        return dataclasses.replace(stage, up=UpReach(stage.outer.stack))
