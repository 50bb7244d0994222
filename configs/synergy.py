"""Synergy: a model over bytes whose network over concepts has no positions, beside one that has.

Source      Zheng and Xie 2025, "Synergy: End-to-end Concept Model" (arXiv 2507.12769): bytes, a
            learned router, and a middle network that is better without positions. The equations of
            the router are not public; those of H-Net stand in, see latent_jax/methods/synergy.py.
Measured    with an earlier control of the rate; 98 steps of 8 rows (201 kB), 30 kB held out: 4.14
            bits per byte at 3.68 bytes per concept, 1.1 % of chunks without room. The run with
            positions was not measured.
Arguments   n         bytes per concept
            control   1: a threshold holds the rate; 0: the ratio loss alone
            size      nano, micro, mini, small or base: width and depth of the network over concepts
            budget    raw bytes of training
            baseline  also train the same model with rotary positions in the middle
            seed      of parameters and data
Commands    python launch/train.py --config configs/synergy.py --workdir runs/synergy
            python launch/train.py --config configs/synergy.py:n=6,baseline=false
            python launch/generate.py --workdir runs/synergy/synergy --prompt 'The list '
Hardware    2 CPU cores, minutes at size=nano
"""

from ml_collections import ConfigDict

from configs.args import parse_args
from configs.hnet import shared


def get_config(arguments: str = "") -> ConfigDict:
    """Return the run `synergy`, and `rotary` beside it."""
    a = parse_args(
        arguments,
        n=4.0,
        control=1,
        size="nano",
        budget=2_000_000,
        baseline=True,
        seed=0,
    )
    control = [] if a.control else ["control=0"]
    kinds = {"synergy": [], "rotary": ["positions=rotary"]} if a.baseline else {"synergy": []}
    runs = {}
    for name, positions in kinds.items():
        options = [f"n={a.n:g}", *positions, *control]
        runs[name] = shared(a, f"Synergy[{','.join(options)}]")
        runs[name].hierarchy.window = 0
    return ConfigDict({"runs": runs})
