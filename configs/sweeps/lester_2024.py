"""Tables 15 and 16 of Lester et al. 2024 with the settings of the paper.

Source      arXiv 2404.03626, sections 3.5 to 3.8: 26.2 billion tokens a cell, C4, examples of
            10,240 bytes that are cut off after 512 tokens
Arguments   data   a name that TFDS knows
            files  path or glob of text, used instead of `data`, such as for --dry_run
Commands    python launch/sweep.py lester_2024 --dry_run
            python launch/sweep.py lester_2024 --engine=ray
Hardware    1e22 training FLOPs in all; a cluster
"""

from configs.args import parse_args
from configs.m2 import PAPER_TOKENS
from configs.methods import SIXTEEN
from latent_jax.methods.cells import Sweep, product

SIZES = ("25m", "113m", "403m", "2b")


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, data="c4/en", files="")
    data = {"data.source": "tfds", "data.tfds_name": a.data}
    if a.files:
        data = {"data.source": "files", "data.files": (a.files,)}
    cells = product(method=SIXTEEN, size=SIZES, seed=(0,), budget=(f"tokens:{PAPER_TOKENS}",))
    return Sweep(
        cells=cells,
        overrides=data,
        train_bytes=51_200_000 * 10_240,
        cut_bytes=0,
        example_bytes=10_240,
    )
