"""The table of Lester et al. 2024 whole: sixteen methods at five sizes, with its settings.

Source      arXiv 2404.03626, sections 3.5 to 3.8 and tables 4, 12, 15 and 16: 26.2 billion tokens a
            cell, C4, examples of 10,240 bytes that are cut off after 512 tokens. Slides about it
            list five sizes; in the paper 3m is M1's, and tables 15 and 16 have the other four
Arguments   data   a name that TFDS knows
            files  path or glob of text, used instead of `data`
            rule   of the windows of EqualInfoAC: paper, or usual (this project's)
            m1     file of M1 that launch/prepare.py m1 wrote; empty = the one in the package
Commands    python launch/sweep.py lester_2024 --dry_run
            python launch/sweep.py lester_2024:m1=runs/m1_3m.msgpack --engine=ray --address=auto
Hardware    6e21 training FLOPs in all; a cluster. --dry_run reads no text and takes seconds
"""

from configs.args import parse_args
from configs.m2 import PAPER_TOKENS
from configs.methods import PAPER, SIXTEEN, by_rule, stated
from latent_jax.methods.cells import Sweep, product

SIZES = ("3m", "25m", "113m", "403m", "2b")


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, data="c4/en", files="", rule=PAPER, m1="")
    data = {"data.source": "tfds", "data.tfds_name": a.data}
    if a.files:
        data = {"data.source": "files", "data.files": (a.files,)}
    methods = by_rule(SIXTEEN, a.rule)
    cells = product(method=methods, size=SIZES, seed=(0,), budget=(f"tokens:{PAPER_TOKENS}",))
    return Sweep(
        cells=cells,
        overrides={**data, "tokenizer.m1": a.m1},
        train_bytes=51_200_000 * 10_240,
        cut_bytes=0,
        example_bytes=10_240,
        published=stated(methods, "bytes_per_token", "tokens", "bytes"),
    )
