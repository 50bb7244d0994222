"""Four sizes of four methods at equal training FLOPs: bytes per parameter and compression ratio.

Source      "Compute Optimal Tokenization", arXiv 2605.01188: about 60 bytes per parameter and 3.3
            to 3.7 bytes per token are best for English at 1e20 to 2e21 FLOPs
Arguments   files  path or glob of text; empty = the embedded default
            flops  FLOPs of training of each cell, M1 included
Commands    python launch/sweep.py "isoflop:files=enwiki_part*.jsonl.xz" --dry_run
Hardware    2 CPU cores
"""

from configs.args import parse_args
from latent_jax.methods.cells import Sweep, product

METHODS = ("Bytes", "BPE[v=512]", "BPE[v=2048]", "BPE[v=8192]")
SIZES = ("100k", "300k", "1m", "3m")


def get_sweep(arguments: str = "") -> Sweep:
    """Return all cells."""
    a = parse_args(arguments, files="", flops=2e12)
    overrides = {"data.source": "files", "data.files": (a.files,)} if a.files else {}
    return Sweep(
        cells=product(
            group=("isoflop",), method=METHODS, size=SIZES, seed=(0,), budget=(f"flops:{a.flops}",)
        ),
        overrides={
            **overrides,
            "batch_size": 4,
            "optimizer.name": "adamw",
            "optimizer.schedule": "cosine",
            "optimizer.learning_rate": 3e-3,
            "optimizer.warmup_steps": 10,
            "optimizer.b1": 0.9,
            "evaluation_bytes": 100_000,
            "training.eval_every": 0,
            "data.num_workers": 0,
        },
    )
