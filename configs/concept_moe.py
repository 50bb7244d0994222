"""ConceptMoE: a model over tokens of BPE that joins them into concepts, beside the plain BPE model.

Source      Huang et al. 2026, "ConceptMoE: Adaptive Token-to-Concept Compression for Implicit
            Compute Allocation" (arXiv 2601.21420): two layers before and two behind a network over
            concepts, boundaries of training drawn from sharpened probabilities, joint decoding. The
            experts of the paper are an option here; see latent_jax/methods/concept_moe.py.
Measured    with an earlier control of the rate; 79 steps of 8 rows of 128 tokens (262 kB), 50 kB
            held out: 3.07 bits per byte at 1.48 tokens and 4.43 bytes per concept; with experts=4,
            3.10 at 1.73 and 5.21, and 0.7 % of choices found no room. So short a run says that both
            train, and no more: thresholds still follow routers that drift.
Arguments   n         tokens per concept, such as 1.5
            v         ids of BPE
            experts   of each feed-forward part of the network over concepts; 0 = none
            joint     1: the decoder attends with concepts too; 0: not
            control   1: a threshold holds the rate; 0: the ratio loss alone
            size      nano, micro, mini, small or base: width and depth of the network over concepts
            budget    raw bytes of training
            baseline  also train a GPT over the same tokens, as deep as all networks together
            seed      of parameters and data
Commands    python launch/train.py --config configs/concept_moe.py --workdir runs/concept_moe
            python launch/train.py --config configs/concept_moe.py:n=2,experts=8,baseline=false
            python launch/generate.py --workdir runs/concept_moe/concept_moe --prompt 'The list '
Hardware    2 CPU cores, minutes at size=nano
"""

from ml_collections import ConfigDict

from configs.args import parse_args
from configs.hnet import shared


def get_config(arguments: str = "") -> ConfigDict:
    """Return the run `concept_moe`, and `bpe` beside it."""
    a = parse_args(
        arguments,
        n=1.5,
        v=4096,
        experts=0,
        joint=1,
        control=1,
        size="nano",
        budget=2_000_000,
        baseline=True,
        seed=0,
    )
    options = [f"n={a.n:g}", f"v={a.v}"]
    options += [f"experts={a.experts}"] if a.experts else []
    options += [] if a.joint else ["joint=0"]
    options += [] if a.control else ["control=0"]
    concept_moe = shared(a, f"ConceptMoE[{','.join(options)}]")
    concept_moe.hierarchy.window = 0
    runs = {"concept_moe": concept_moe}
    if a.baseline:
        runs["bpe"] = shared(a, f"BPE[v={a.v}]")
        runs["bpe"].model.n_layers += 2 * concept_moe.hierarchy.layers
    return ConfigDict({"runs": runs})
