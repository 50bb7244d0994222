"""Ten times the tokens of the laptop sweep: is compressed text learned after longer training?

Source      claims of Lester et al. 2024 that do not hold at the budget of the sweep `laptop`:
            EqualInfoAC and GZip are learned, and shorter windows are better than longer ones
            (tables 15 and 16)
Arguments   files   path or glob of text; empty = the embedded default
            size    size of M2
            tokens  tokens that every cell is trained on
            rule    of the windows of EqualInfoAC: usual, or paper (that of Lester et al. 2024)
Commands    python launch/sweep.py "longer:files=enwiki_part*.jsonl.xz"
            python launch/report.py runs/sweeps/longer --results configs/results/sweep_longer.json
Hardware    2 CPU cores, about an hour
"""

from configs.args import parse_args
from configs.methods import SIX, USUAL, by_rule
from latent_jax.methods.cells import Sweep, product


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, files="", size="100k", tokens=2_000_000, rule=USUAL)
    methods = by_rule((*SIX, "EqualInfoAC[b=32,v=256]"), a.rule)
    cells = product(method=methods, size=(a.size,), seed=(0,), budget=(f"tokens:{a.tokens}",))
    overrides = {"data.source": "files", "data.files": (a.files,)} if a.files else {}
    return Sweep(cells=cells, overrides=overrides)
