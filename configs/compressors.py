"""Five compressors at C = 2, 4, 8, compared with BPE and Bytes on equal raw bytes.

Source      the five ways to shorten a sequence in Fifty, "Language, Entropy, and Language Modeling"
            (2025), which reports that conv1d and ssm did best and prints no table.
Arguments   files      path or glob of text; empty = the embedded default
            megabytes  raw megabytes of text that each run reads in training
            long       raw megabytes of text of two more runs, conv1d and ssm at C = 2; 0 = none
            c          2, 4 or 8: compressors at this C alone; 0 = at all three
            freeze     share of a run after which encoder and codebook stay as they are; 1 = never
            seed       of all runs
Commands    python launch/train.py --config "configs/compressors.py:files=enwiki_part*.jsonl.xz" \\
                --workdir runs/compressors
            python launch/report.py runs/compressors --results configs/results/compressors.json
Hardware    2 CPU cores, no accelerator: about 70 minutes; the same command resumes a stopped one
Result      configs/results/compressors.md; conv1d and ssm at C = 2 restore text below 0.02 nats per
            byte after 7 MB
"""

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args

KINDS = ("conv1d", "ssm", "attention_pool", "linear_merge", "sequence_linear")
FACTORS = (2, 4, 8)
CODES = 2048
LONG_CODES = 4096  # for long runs, which have time to learn to predict so many codes


def get_config(arguments: str = "") -> ConfigDict:
    """Return all runs."""
    a = parse_args(arguments, files="", megabytes=2.0, long=7.0, c=0, freeze=1.0, seed=0)
    if a.c not in (0, *FACTORS):
        raise ValueError(f"c={a.c} is none of 0 (all), {', '.join(map(str, FACTORS))}")
    runs = {"bpe": baseline("BPE[v=2048]", row_length=128), "bytes": baseline("Bytes")}
    for kind in ("ssm", "conv1d") if a.long else ():
        run = latent(kind, 2, LONG_CODES)
        run.name = f"{run.method}, long"
        run.budget.bytes = a.long * 1e6
        runs[f"long_{kind}_c2"] = run
    for kind in KINDS:
        for c in (a.c,) if a.c else FACTORS:
            runs[f"{kind}_c{c}"] = latent(kind, c)
    for run in runs.values():
        run.seed = a.seed
        run.latent.freeze_after = a.freeze
        run.budget.bytes = run.budget.bytes or a.megabytes * 1e6
        run.optimizer.learning_rate = 2e-3
        run.optimizer.warmup_steps = 30
        run.training.eval_every = 250
        run.training.save_every = 250
        run.training.keep_latest = 1
        run.evaluation_bytes = 300_000
        if a.files:
            run.data.source = "files"
            run.data.files = (a.files,)
    return ConfigDict({"runs": runs})


def latent(kind: str, c: int, codes: int = CODES) -> ConfigDict:
    """Return a small latent language model."""
    config = common.default()
    common.set_size(config, "nano")
    config.method = f"Latent[{kind},c={c},k={codes}]"
    config.latent.beta = 0.1
    if kind == "sequence_linear":
        # One map per 16 features: as accurate as one map per feature, at an eighth of the cost.
        config.compressor.sequence_groups = 8
    return config


def baseline(method: str, row_length: int = 256) -> ConfigDict:
    """Return a language model of the size of the language models over codes."""
    config = common.default()
    common.set_size(config, "nano")
    config.method = method
    config.row_length = row_length
    return config
