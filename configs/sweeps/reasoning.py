"""What thoughts are worth: latent reasoning on chains and its controls at equal training FLOPs.

Source      Fifty, "Interleaved latent reasoning" (2025), a post-mortem, and the controls that it
            does not have: Coconut (arXiv 2412.06769), Pause tokens (arXiv 2310.02226)
Arguments   flops  training FLOPs of each cell
            seeds  seeds of each arm, from 0
Commands    python launch/sweep.py reasoning
            python launch/report.py runs/sweeps/reasoning --results configs/results/reasoning.json
Hardware    2 CPU cores, within 75 minutes; the same command resumes a stopped one
Result      configs/results/latent_reasoning.md
"""

from configs.args import parse_args
from latent_jax.methods.cells import Sweep, product

LATENT, HELP = "Thoughts[latent,k=3]", 0.8

ARMS = (
    {"method": "Thoughts[none]"},
    {"method": "Thoughts[pause,k=3]"},
    {"method": "Thoughts[filler,k=3]"},
    {"method": "Thoughts[written]"},
    {"method": LATENT},
    {"method": LATENT, "named": 1.0},
    {"method": LATENT, "curriculum": HELP},
    {"method": LATENT, "curriculum": HELP, "iterations": 3},
    {"method": "Thoughts[latent,k=1]", "curriculum": HELP},
    {"method": LATENT, "curriculum": HELP, "problems": 1_000},
    {"method": LATENT, "curriculum": HELP, "problems": 10_000},
)
"""The first four need no thoughts, and "written" says what thoughts could hold."""


def get_sweep(arguments: str = "") -> Sweep:
    """Return a cell for each seed and arm."""
    a = parse_args(arguments, flops=3e12, seeds=3)
    words = product(size=("57k",), seed=tuple(range(a.seeds)), budget=(f"flops:{a.flops:g}",))
    # All arms of a seed come before the next seed, so that a sweep cut short can be compared.
    cells = [{**arm, **word} for word in words for arm in ARMS]
    return Sweep(cells=cells, config="configs/reasoning_arms.py")
