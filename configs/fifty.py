"""Both models of Fifty 2025 at its own settings: a latent language model and a GPT over subwords.

Source      "Language, Entropy, and Language Modeling", cfifty.github.io/writings/latent_lm.html. It
            states: learning rate 5e-5, dropout 0.05, rows of 512 characters for both models, C = 2
            (C = 4 was tried), GPT-2 small over the codes, BERT as encoder and decoder, subwords of
            4.1 characters, OpenWebText, a record every 3,000 steps, and 75 such epochs of the
            latent model beside 100 of the other.
            It does not state: batch size, codebook, beta, optimizer, warm-up, the depth of the
            BERTs and which BPE. They are ours here: configs/common.py and this file.
Arguments   size        nano, micro, mini, small or base (configs/common.py); base is the blog's.
                        Other sizes keep all of the above but the learning rate and the steps, which
                        are those of configs/latent_lm.py: at 5e-5 minutes would teach nothing
            c           bytes per code
            codes       size of the codebook; 65536 at C = 2 has a code for every pair of bytes
            compressor  conv1d, ssm, attention_pool, linear_merge or sequence_linear
            beta        weight of the language model's loss
            v           ids of the BPE; the 4.1 characters of the blog take about 50257
            files       path or glob of text; configs/results/fifty.md says how to get OpenWebText
            tfds        name of a TFDS dataset in place of files; both empty = the embedded default
            megabytes   raw megabytes of text that each run reads; 0 = as the blog or the size says
Commands    python launch/train.py --config "configs/fifty.py:files=enwiki_part1.jsonl.xz" \\
                --workdir runs/fifty
            python launch/train.py --workdir runs/fifty_base --config \\
                "configs/fifty.py:size=base,codes=65536,v=50257,files=openwebtext/*.jsonl"
            python launch/report.py runs/fifty --per_character configs/results/fifty_curves.json
Hardware    nano: 2 CPU cores; base has not been run
Result      configs/results/fifty.md
"""

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args
from configs.latent_lm import BATCH_SIZE, BUDGET_BYTES, LEARNING_RATE

CHARACTERS = 512
"""Raw bytes of a row, for both models."""

EPOCH_STEPS = {"nano": 20, "micro": 50, "mini": 200, "small": 1000, "base": 3000}
"""Steps between two records, which the blog calls an epoch; those of small sizes are ours."""

EPOCHS = {"latent": 75, "bpe": 100}
"""Epochs of 3,000 steps that the blog trained each model for."""


def get_config(arguments: str = "") -> ConfigDict:
    """Return two runs, `latent` and `bpe`, trained on the same text."""
    a = parse_args(
        arguments,
        size="nano",
        c=2,
        codes=1024,
        compressor="conv1d",
        beta=0.1,
        v=4096,
        files="",
        tfds="",
        megabytes=0.0,
    )
    if a.files and a.tfds:
        raise ValueError(f"files={a.files} and tfds={a.tfds} are two texts: name one of them")
    runs = {"latent": latent(a), "bpe": bpe(a)}
    for name, run in runs.items():
        _train_as_the_blog(run, a, EPOCHS[name] * EPOCH_STEPS["base"])
    return ConfigDict({"runs": runs})


def latent(a: ConfigDict) -> ConfigDict:
    """Return the latent language model."""
    config = common.default()
    common.set_size(config, a.size)
    config.name = f"latent language model, C = {a.c}"
    config.method = f"Latent[{a.compressor},c={a.c},k={a.codes}]"
    config.row_length = CHARACTERS
    config.latent.beta = a.beta
    return config


def bpe(a: ConfigDict) -> ConfigDict:
    """Return a GPT over subwords, of the size of the GPT over codes."""
    config = common.default()
    common.set_size(config, a.size)
    config.name = "BPE language model"
    config.method = f"BPE[v={a.v}]"
    config.context_bytes = CHARACTERS  # its rows are as many ids as stand for so many bytes
    return config


def _train_as_the_blog(config: ConfigDict, a: ConfigDict, steps: int) -> None:
    """Set what both runs share; `steps` is how long the blog trained this one."""
    is_blog = a.size == "base"
    config.autoencoder.dropout = config.model.dropout = 0.05
    config.batch_size = BATCH_SIZE[a.size]
    config.optimizer.schedule = "constant"
    config.optimizer.learning_rate = 5e-5 if is_blog else LEARNING_RATE[a.size]
    config.optimizer.warmup_steps = 50
    if a.megabytes:
        config.budget.bytes = a.megabytes * 1e6
    elif is_blog:
        config.budget.steps = float(steps)
    else:
        config.budget.bytes = BUDGET_BYTES[a.size]
    config.training.eval_every = config.training.save_every = EPOCH_STEPS[a.size]
    config.evaluation_bytes = 4_000_000 if is_blog else 200_000
    if is_blog:
        config.data.num_workers = 4
    if a.files:
        config.data.update(source="files", files=(a.files,))
    elif a.tfds:
        config.data.update(source="tfds", tfds_name=a.tfds)
