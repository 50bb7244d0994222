"""How long chunks should be: one router at 1.5 to 12 bytes per chunk, at two budgets.

Source      "Compute Optimal Tokenization" (arXiv 2605.01188): the best rate falls with compute, as
            18.2 C^-0.035 bytes, fitted from 5e18 to 2e21 FLOPs
Arguments   files   path or glob of text; empty = the embedded default
            router  of H-Net
            bytes   raw bytes that a cell reads; the second budget is four times as large
            seeds   of each cell, from 0
Commands    python launch/sweep.py "chunking_rate:files=enwiki_part*.jsonl.xz"
            python launch/report.py runs/sweeps/chunking_rate \\
                --results configs/results/sweep_chunking_rate.json
Hardware    2 CPU cores; the same command resumes a stopped one
"""

from configs.args import parse_args
from latent_jax.methods.cells import Sweep

RATES = (1.5, 2, 3, 4, 6, 8, 12)


def get_sweep(arguments: str = "") -> Sweep:
    """Return a cell for each budget, seed and rate."""
    a = parse_args(arguments, files="", router="cosine", bytes=500_000, seeds=2)
    router = f",router={a.router}" if a.router != "cosine" else ""
    cells = [
        {
            "group": f"{n_bytes:g} bytes",
            "method": f"HNet[n={rate:g}{router}]",
            "size": "1m",
            "budget": f"bytes:{n_bytes}",
            "seed": seed,
        }
        for n_bytes in (a.bytes, 4 * a.bytes)
        for seed in range(a.seeds)
        for rate in RATES
    ]
    overrides = {"data.source": "files", "data.files": (a.files,)} if a.files else {}
    return Sweep(cells=cells, config="configs/chunking_arms.py", overrides=overrides)
