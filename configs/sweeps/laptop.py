"""Lester et al. 2024 scaled down to a laptop: its sixteen methods and two more, at two sizes.

Source      tables 3, 15 and 16 of the paper, whose budget is in tokens as well
Arguments   files   path or glob of text; empty = the embedded default
            tokens  tokens that every cell is trained on
            rule    of the windows of EqualInfoAC: usual, or paper (that of Lester et al. 2024)
Commands    python launch/sweep.py "laptop:files=enwiki_part*.jsonl.xz"
            python launch/report.py runs/sweeps/laptop --results configs/results/sweep_laptop.json
Hardware    2 CPU cores, within 75 minutes; the same command resumes a stopped one
"""

from configs.args import parse_args
from configs.methods import BEYOND, SIX, SIXTEEN, USUAL, by_rule
from latent_jax.methods.cells import Sweep, product


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, files="", tokens=200_000, rule=USUAL)
    budget = f"tokens:{a.tokens}"
    methods = by_rule((*SIXTEEN, *BEYOND), a.rule)
    cells = product(method=methods, size=("100k", "300k"), seed=(0,), budget=(budget,))
    cells += product(method=by_rule(SIX, a.rule), size=("100k",), seed=(1, 2), budget=(budget,))
    overrides = {}
    if a.files:
        overrides = {"data.source": "files", "data.files": (a.files,)}
    return Sweep(cells=cells, overrides=overrides)
