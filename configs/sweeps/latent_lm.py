"""The latent language study: the effect of the LM's gradient on codes, and bits against BPE.

Source      Fifty, "Language, Entropy, and Language Modeling" (2025): conv1d at C = 2, trained
            jointly, and the questions that it leaves open
Arguments   files  path or glob of text; empty = the embedded default
            size   size of the language models
            bytes  raw bytes of text that every cell is trained on
            codes  number of codes in the codebook
Commands    python launch/sweep.py "latent_lm:files=enwiki_part*.jsonl.xz"
            python launch/report.py runs/sweeps/latent_lm
Hardware    2 CPU cores, within 75 minutes; the same command resumes a stopped one

The first cells train conv1d at C = 2 with four weights beta and each `lm_gradient`, on equal bytes.
The best setting of these has the fewest bits per byte. On the same bytes, further cells train SSM
and C = 4 at the best setting; two more seeds of each `lm_gradient` at its beta; and three seeds of
BPE and Bytes. The group "equal FLOPs" trains three seeds of the best setting, of BPE and of Bytes
with the training FLOPs that the best setting spent.
"""

from configs.args import parse_args
from latent_jax.methods.cells import Sweep, product

BETAS = (0.01, 0.1, 0.3, 1.0)
GRADIENTS = ("none", "input", "input_and_target")
SEEDS = (0, 1, 2)


def get_sweep(arguments: str = "") -> Sweep:
    """Return the first cells, and the function that chooses the others from their records."""
    a = parse_args(arguments, files="", size="300k", bytes=2_000_000, codes=2048)
    budget = f"bytes:{a.bytes}"
    method = f"Latent[conv1d,c=2,k={a.codes}]"

    def cells(seeds, budget=budget, **axes):
        return product(**axes, size=(a.size,), seed=seeds, budget=(budget,))

    first = cells(SEEDS[:1], method=(method,), beta=BETAS, lm_gradient=GRADIENTS)

    def follow_up(records):
        best = min(records, key=lambda record: record["bits_per_byte"])
        cell = next(c for c, r in zip(first, records, strict=True) if r is best)
        beta, setting = (cell["beta"],), (cell["lm_gradient"],)
        others = [
            f"Latent[{kind},c={c},k={a.codes}]"
            for kind, c in (("ssm", 2), ("conv1d", 4), ("ssm", 4))
        ]
        baselines = ("Bytes", f"BPE[v={a.codes}]")
        more = cells(SEEDS[:1], method=others, beta=beta, lm_gradient=setting)
        more += cells(SEEDS[1:], method=(method,), beta=beta, lm_gradient=GRADIENTS)
        more += cells(SEEDS, method=baselines)
        again, flops = dict(group=("equal FLOPs",)), f"flops:{best['train_flops']:.3e}"
        more += cells(SEEDS, flops, **again, method=(method,), beta=beta, lm_gradient=setting)
        return more + cells(SEEDS, flops, **again, method=baselines)

    overrides = {"row_length": 256, "batch_size": 16}
    if a.files:
        overrides |= {"data.source": "files", "data.files": (a.files,)}
    return Sweep(cells=first, overrides=overrides, follow_up=follow_up)
