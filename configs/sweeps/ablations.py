"""The ablations of Lester et al. 2024, scaled down to a laptop.

Source      section 5.1 (tokens of one bit), tables 6 (context in bytes), 9 (reset of M1), 10
            (GZip's header) and 17 (delay), appendix A.1 (24-bit windows)
Arguments   files   path or glob of text; empty = the embedded default
            size    size of M2
            tokens  tokens that every cell is trained on
Commands    python launch/sweep.py "ablations:files=enwiki_part*.jsonl.xz"
            python launch/report.py runs/sweeps/ablations
Hardware    2 CPU cores
"""

from configs.args import parse_args
from latent_jax.methods.cells import Sweep, crossed, product

RESETS = ("", ",reset=every_other", ",reset=never")


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells; only cells of the same group are compared."""
    a = parse_args(arguments, files="", size="100k", tokens=200_000)
    groups = {
        "token_bits": ("AC[v=2]", "AC[v=256]", "AC[v=65k]"),
        "reset": tuple(f"EqualInfoAC[b=16,v=256{reset}]" for reset in RESETS),
        "delay": ("EqualInfoAC[b=32,v=256]", "EqualInfoAC[b=32,v=256,rule=delay]"),
        "window": tuple(f"EqualInfoAC[b={b},v=256]" for b in (16, 24, 32, 64, 128)),
        "rule": (
            "EqualInfoAC[b=16,v=65k]",
            "EqualInfoAC[b=16,v=65k,rule=exact]",
            "EqualInfoAC[b=16,v=65k,rule=paper]",
        ),
        "header": ("GZip[v=256]", "GZip[v=256,header=no]"),
    }
    cells = [
        cell
        for group, methods in groups.items()
        for cell in product(group=(group,), method=methods)
    ]
    cells += product(
        group=("context",),
        method=("EqualInfoAC[b=16,v=256]", "EqualInfoAC[b=16,v=65k]"),
        context_bytes=(1224,),
    )
    words = product(size=(a.size,), seed=(0,), budget=(f"tokens:{a.tokens}",))
    overrides = {"data.source": "files", "data.files": (a.files,)} if a.files else {}
    return Sweep(cells=crossed(cells, words), overrides=overrides)
