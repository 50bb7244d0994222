"""Training steps that grow with the model's size: table 13 of Lester et al. 2024.

Source      arXiv 2404.03626, table 13: 3,000, 11,000, 40,000 and 200,000 steps of 256 x 512 tokens
Arguments   data   a name that TFDS knows
            files  path or glob of text, used instead of `data`
            rule   of the windows of EqualInfoAC: paper, or usual (this project's)
            m1     file of M1 that launch/prepare.py m1 wrote; empty = the one in the package
Commands    python launch/sweep.py chinchilla --dry_run
Hardware    a cluster; even the size 25m has 393 million tokens per cell
"""

from configs.args import parse_args
from configs.methods import PAPER, SIXTEEN, by_rule, stated
from latent_jax.methods.cells import Sweep, crossed, product, zipped

STEPS = {"25m": 3_000, "113m": 11_000, "403m": 40_000, "2b": 200_000}


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, data="c4/en", files="", rule=PAPER, m1="")
    data = {"data.source": "tfds", "data.tfds_name": a.data}
    if a.files:
        data = {"data.source": "files", "data.files": (a.files,)}
    sizes = zipped(
        size=tuple(STEPS), budget=tuple(f"tokens:{n * 256 * 512}" for n in STEPS.values())
    )
    methods = by_rule(SIXTEEN, a.rule)
    # 3,000 steps are shorter than the paper's warm-up.
    return Sweep(
        cells=crossed(product(method=methods, seed=(0,)), sizes),
        overrides={**data, "tokenizer.m1": a.m1, "optimizer.warmup_steps": 1_000},
        train_bytes=51_200_000 * 10_240,
        cut_bytes=0,
        example_bytes=10_240,
        published=stated(methods, "bytes_per_token"),
    )
