"""`ConceptMoE[n=1.5,v=4096]`: tokens of BPE, which the model joins into concepts by itself."""

import dataclasses

from latent_jax import tokenizers
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.middle import MOST_EXPERTS, MiddleConfig
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.bpe import BPE
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.hierarchical_family import (
    HierarchicalFamily,
    Parts,
    concept_parts,
    outer_network,
)
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.registry import register
from latent_jax.models.hierarchy_config import StageConfig
from latent_jax.ranges import at_least, more_than


@register
class ConceptMoE(HierarchicalFamily):
    """ConceptMoE (Huang et al. 2026, arXiv 2601.21420): chunks of tokens, decoded with concepts.

    From the authors' demo: the router `bernoulli`; a concept is the vector of the token that begins
    it; the moving average of H-Net over concepts, added to the encoder's result as it is; and joint
    decoding: the layers of the decoder attend with one more projection of query, key and value
    each, of the averaged concept of each token. The demo passes the concepts to these layers and
    does not show their attention; that the projections add to those of the stream is our reading of
    "QKV projectors". All layers of our decoder are joint, as in the demo.

    Ours: the rate is held by a threshold (control=0 leaves it to the ratio loss), sub-networks end
    in norms, and experts are in the network over concepts alone; in the paper all layers have some.
    Without experts (the default) the model is compared with a dense one at equal FLOPs.
    """

    name = "ConceptMoE"
    rank, colour = 13, 1
    summary = "byte-pair encoding, n tokens of which the model joins on average (Huang et al. 2026)"
    options = {
        "n": Option("tokens per concept, as 1.5", numbers=more_than(1, 2**20), is_whole=False),
        "v": Option("ids, the separator included"),
        "experts": Option(
            "experts of each feed-forward part of the network over concepts; 0 = it has none",
            default=0,
            numbers=at_least(0, MOST_EXPERTS),
        ),
        "joint": Option(
            "1: the decoder attends with concepts too", default=1, numbers=at_least(0, 1)
        ),
        "router": Option("decides where concepts begin", ("bernoulli", "cosine"), "bernoulli"),
        "control": Option(
            "1 holds the rate to n; 0 leaves it to the ratio loss",
            default=1,
            numbers=at_least(0, 1),
        ),
    }
    example = "ConceptMoE[n=1.5,v=4096]"
    learns_code = True
    reads_gpt2_files = True
    ids_are_bytes = False
    unit = "tokens"
    outer = "attention"

    def check(self, method: MethodName) -> None:
        """Refuse a single expert."""
        if method["experts"] == 1:
            raise ValueError(
                f"'{method}': one expert is none: leave experts out, or give 2 or more"
            )

    def parts(self, method: MethodName) -> Parts:
        """Return the router of the name, and the rest; see `concept_parts`."""
        return concept_parts(method)

    def vocab_size(self, method: MethodName) -> int:
        """Return v; the separator is one of them."""
        return method["v"]

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return the tokenizer of `BPE[v=...]`, the same that this method has in a corpus."""
        name = f"BPE[v={method['v']}]"
        return BPE().make_code(MethodName("BPE", {"v": method["v"]}, name), sources)

    def stage(
        self,
        method: MethodName,
        hierarchy: HierarchyConfig,
        main: TransformerConfig,
        separator_id: int,
    ) -> StageConfig:
        """Return the stage; see `HierarchicalFamily`."""
        stage = super().stage(method, hierarchy, main, separator_id)
        decoder, inner = stage.outer, stage.inner
        if method["joint"]:
            attention = dataclasses.replace(hierarchy, outer="attention")
            decoder = outer_network(attention, stage.width, main)
            decoder = dataclasses.replace(decoder, reads_chunks=True)
        if method["experts"]:
            inner = AttentionReach(
                MiddleConfig.of(
                    main,
                    n_experts=method["experts"],
                    n_chosen=hierarchy.expert_choices,
                    expert_slack=hierarchy.expert_slack,
                )
            )
        return dataclasses.replace(stage, decoder=decoder, inner=inner)
