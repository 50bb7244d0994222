"""What thoughts are worth: latent reasoning on chains and its controls at equal training FLOPs.

Source      Fifty, "Interleaved latent reasoning" (2025), a post-mortem, and the controls that it
            does not have: Coconut (arXiv 2412.06769), Pause tokens (arXiv 2310.02226)
Arguments   arms   names of `ARMS`, joined by "+"; empty = all
            flops  training FLOPs of each cell
            seeds  seeds of each arm, from 0
Commands    python launch/sweep.py reasoning
            python launch/report.py runs/sweeps/reasoning \\
                --results configs/results/sweep_reasoning.json
Hardware    2 CPU cores: 5 minutes of a core for a cell; the same command resumes a stopped one
Result      configs/results/latent_reasoning.md
"""

from configs.args import parse_args
from latent_jax.methods.cells import Sweep, product
from latent_jax.nearest import check_word
from latent_jax.reports import thought_claims
from latent_jax.reports.thought_claims import HELP

LATENT = f"Thoughts[{thought_claims.LATENT}]"

ARMS = {
    "curriculum": {"method": LATENT, "curriculum": HELP},
    "named": {"method": LATENT, "named": 1.0},
    "none": {"method": "Thoughts[none]"},
    "pause": {"method": "Thoughts[pause,k=3]"},
    "latent": {"method": LATENT},
    "one": {"method": "Thoughts[latent,k=1]", "curriculum": HELP},
    "few": {"method": LATENT, "curriculum": HELP, "problems": 1_000},
    "decoder": {"method": LATENT, "decoder": 1.0},
    "aligned": {"method": LATENT, "aligned": 1.0},
    "written": {"method": "Thoughts[written]"},
    "filler": {"method": "Thoughts[filler,k=3]"},
    "jacobi": {"method": LATENT, "curriculum": HELP, "iterations": 1},
    "inline": {"method": LATENT, "curriculum": HELP, "layout": "inline"},
    "some": {"method": LATENT, "curriculum": HELP, "problems": 10_000},
}
"""Arm -> its cell. "none", "pause", "filler" and "written" have no thoughts; "written" says what
thoughts could hold. "few" and "some" have fewer problems to train on, all others 100,000; the
held-out ones of a seed are the same in all arms."""


def get_sweep(arguments: str = "") -> Sweep:
    """Return a cell for each seed and arm."""
    a = parse_args(arguments, arms="", flops=2.4e12, seeds=3)
    arms = a.arms.split("+") if a.arms else ARMS
    for arm in arms:
        check_word("arm", arm, ARMS)
    words = product(size=("100k",), seed=tuple(range(a.seeds)), budget=(f"flops:{a.flops:g}",))
    # All arms of a seed come before the next seed, so that a sweep cut short can be compared.
    cells = [{**ARMS[arm], **word} for word in words for arm in arms]
    return Sweep(cells=cells, config="configs/reasoning_arms.py")
