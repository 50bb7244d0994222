"""The main methods at 25m parameters, with a budget that one GPU trains in 25 minutes.

Source      Lester et al. 2024, the column 25m of table 13
Arguments   files   path or glob of text; empty = the embedded default
            tokens  tokens that every cell is trained on
            rule    of the windows of EqualInfoAC: usual, or paper (that of Lester et al. 2024)
Commands    python launch/sweep.py "gpu:files=enwiki_part*.jsonl.xz"
Hardware    one H100 or H200; this sweep has not been run yet
"""

from configs.args import parse_args
from configs.methods import SIX, USUAL, by_rule
from latent_jax.methods.cells import Sweep, product


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, files="", tokens=40_000_000, rule=USUAL)
    overrides = {
        "batch_size": 64,
        "optimizer.warmup_steps": 100,
        "evaluation_bytes": 1_000_000,
        "training.eval_every": 0,
    }
    if a.files:
        overrides |= {"data.source": "files", "data.files": (a.files,)}
    cells = product(
        method=by_rule(SIX, a.rule),
        size=("25m",),
        seed=(0,),
        budget=(f"tokens:{a.tokens}",),
        optimizer=("adamw",),
    )
    return Sweep(cells=cells, overrides=overrides)
