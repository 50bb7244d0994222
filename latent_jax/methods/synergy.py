"""`Synergy[n=4]`: bytes that the model cuts into concepts, which have no positions."""

import dataclasses

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.family import MethodName, Option
from latent_jax.methods.hierarchical_family import HierarchicalFamily, Parts, concept_parts
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.registry import register
from latent_jax.models.hierarchy_config import StageConfig
from latent_jax.ranges import at_least, more_than


@register
class Synergy(HierarchicalFamily):
    """Synergy (Zheng and Xie 2025, arXiv 2507.12769): a middle network without positions.

    Known of the paper, from its abstract and from reports on it: a language model over bytes is
    trained end to end; an encoder, a learned router that selects bytes for the middle network, and
    a decoder; there are fewer concepts than a byte-level BPE has tokens; and the middle network is
    better without positions than with them. Training was unstable.

    The equations of its router are not public to us. Ours are those of H-Net: the router `cosine`,
    picked vectors, the moving average with its confidence, and a residual that is added as it is;
    and a threshold holds the rate. So what is tested here is the claim on positions, and no more.
    """

    name = "Synergy"
    rank, colour = 14, 0
    summary = "bytes, cut by the model into concepts without positions (Zheng and Xie 2025)"
    options = {
        "n": Option("bytes per concept, as 4 or 4.5", numbers=more_than(1, 2**20), is_whole=False),
        "positions": Option("of the network over concepts", ("none", "rotary"), "none"),
        "router": Option("decides where concepts begin", ("cosine", "bernoulli"), "cosine"),
        "control": Option(
            "1 holds the rate to n; 0 leaves it to the ratio loss",
            default=1,
            numbers=at_least(0, 1),
        ),
    }
    example = "Synergy[n=4]"
    outer = "attention"

    def parts(self, method: MethodName) -> Parts:
        """Return the router of the name, and the rest; see `concept_parts`."""
        return concept_parts(method)

    def stage(
        self,
        method: MethodName,
        hierarchy: HierarchyConfig,
        main: TransformerConfig,
        separator_id: int,
    ) -> StageConfig:
        """Return the stage; see `HierarchicalFamily`."""
        stage = super().stage(method, hierarchy, main, separator_id)
        inner = AttentionReach(MiddleConfig.of(main, positions=method["positions"]))
        return dataclasses.replace(stage, inner=inner)
