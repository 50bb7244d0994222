"""The latent language study: what the language model's gradient does to the codes, and what they
cost beside BPE and Bytes.

Source      Fifty, "Language, Entropy, and Language Modeling" (2025): conv1d at C = 2, trained
            jointly, and the questions that it leaves open
Arguments   files  path or glob of text; empty = the embedded default
            size   of the language models
            bytes  of raw text that every cell reads
            codes  in the codebook
Commands    python launch/sweep.py "latent_lm:files=enwiki_part*.jsonl.xz"
            python launch/report.py runs/sweeps/latent_lm
Hardware    2 CPU cores, within 75 minutes; the same command goes on where it stopped

First conv1d at C = 2 with four weights beta and each `lm_gradient`. The setting with the fewest
bits per byte then decides on the rest: SSM and C = 4 at it, and three seeds of it beside BPE and
Bytes, at equal bytes and at equal training FLOPs.
"""

from configs.args import parse_args
from latent_jax.experiments.sweep.cells import Sweep, crossed, product

BETAS = (0.01, 0.1, 0.3, 1.0)
GRADIENTS = ("none", "input", "input_and_target")
SEEDS = (0, 1, 2)


def get_sweep(arguments: str = "") -> Sweep:
    """Return the first cells, and what decides on the others."""
    a = parse_args(arguments, files="", size="300k", bytes=2_000_000, codes=2048)
    budget = f"bytes:{a.bytes}"
    method = f"Latent[conv1d,c=2,k={a.codes}]"
    words = dict(size=(a.size,), seed=(0,), budget=(budget,))
    first = product(
        group=("gradient",), method=(method,), beta=BETAS, lm_gradient=GRADIENTS, **words
    )

    def follow_up(records):
        best = min(records, key=lambda record: record["bits_per_byte"])
        cell = next(c for c, r in zip(first, records, strict=True) if r is best)
        setting = dict(beta=(cell["beta"],), lm_gradient=(cell["lm_gradient"],))
        others = [
            f"Latent[{kind},c={c},k={a.codes}]"
            for kind, c in (("ssm", 2), ("conv1d", 4), ("ssm", 4))
        ]
        cells = product(group=("compressor",), method=(method, *others), **setting, **words)
        flops = f"flops:{best['train_flops']:.3e}"
        for group, unit in (("equal bytes", budget), ("equal FLOPs", flops)):
            seeds = product(size=(a.size,), seed=SEEDS, budget=(unit,))
            latents = product(group=(group,), method=(method,), **setting)
            rest = product(group=(group,), method=("Bytes", f"BPE[v={a.codes}]"))
            cells += crossed([*latents, *rest], seeds)
        return cells

    overrides = {"row_length": 256, "batch_size": 16}
    if a.files:
        overrides |= {"data.source": "files", "data.files": (a.files,)}
    return Sweep(cells=first, overrides=overrides, follow_up=follow_up)
