"""Measure speed against peers, in turns, in one process.

    python launch/benchmark.py train
    python launch/benchmark.py train --vocab_size=4096 --json configs/results/train_speed.json
    python launch/benchmark.py step --config configs/latent_lm.py:size=base --profile 10
    python launch/benchmark.py agreement
    python launch/benchmark.py data --data 'text/*.jsonl.xz' --row_length 1024 --workers 0,8
    python launch/benchmark.py tokenizers --data 'text/*.jsonl.xz' \\
        --vocab_file gpt2-vocab.json --merges_file gpt2-merges.txt
    python launch/benchmark.py m1 --data 'text/*.jsonl.xz' --lanes=64,1024,4096 --seconds=10
    python launch/benchmark.py generate --lanes=1,8,64,512
    python launch/benchmark.py generate --workdirs runs/latent,runs/bpe,runs/bytes

`train` trains the GPT of this project and the same model in PyTorch on the same random rows and
prints tokens per second. `step` times the train step of any config on random ids, without text, and
with --profile says what the device does in it; the trace opens in XProf and in ui.perfetto.dev.
`agreement` computes attention and heads by the kernels of this platform and by plain XLA in
float32, and says how far apart they are. `data` makes batches, with each number of worker
processes, beside Grain's own packing. `tokenizers` encodes and decodes a text with the compiled
code of the package, with tiktoken and with Hugging Face's tokenizers, both with GPT-2's vocabulary.
`m1` encodes with M1 for every byte, beside what its FLOPs allow here and one forward pass per
prefix; one row for each number of lanes, each within --seconds and its start-up. `generate` samples
from a GPT and from the same weights in Hugging Face transformers on the same kind of device, two
rows for each number of lanes, or ours alone where transformers is not installed; with --workdirs
from trained runs of any method, in raw bytes per second beside the first of them.
PyTorch, transformers and tiktoken come with: python -m pip install -e '.[benchmark]'
"""

from absl import flags
from ml_collections import config_flags

from latent_jax.data import DataConfig
from latent_jax.experiments.agreement import agreement_and_print
from latent_jax.experiments.benchmark import TrainBenchmark, benchmark_and_print
from latent_jax.experiments.benchmark_data import DataBenchmark, benchmark_data
from latent_jax.experiments.benchmark_generation import (
    GenerationBenchmark,
    benchmark_generation_and_print,
)
from latent_jax.experiments.benchmark_m1 import benchmark_m1
from latent_jax.experiments.benchmark_step import benchmark_step_and_print
from latent_jax.experiments.benchmark_tokenizers import benchmark_tokenizers
from latent_jax.experiments.benchmark_writing import benchmark_writing_and_print
from latent_jax.experiments.command_line import run_command
from latent_jax.nearest import check_word

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "step: config file, with its arguments after a colon.", lock_config=True
)
PROFILE = flags.DEFINE_integer("profile", 0, "step: also trace so many steps, and sum them up.")
PROFILE_DIR = flags.DEFINE_string("profile_dir", "runs/profile", "step: folder of the trace.")
VOCAB_SIZE = flags.DEFINE_integer("vocab_size", TrainBenchmark.vocab_size, "Ids of the model.")
ROW_LENGTH = flags.DEFINE_integer("row_length", TrainBenchmark.row_length, "Ids per row.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", TrainBenchmark.batch_size, "train, data: rows per step."
)
LANES = flags.DEFINE_list(
    "lanes",
    [],
    "generate, m1: texts at a time, several numbers between commas; by default 1 (generate) and "
    "what the platform takes (m1).",
)
PROMPT_LENGTH = flags.DEFINE_integer(
    "prompt_length", GenerationBenchmark.prompt_length, "generate: ids of a prompt."
)
N_NEW = flags.DEFINE_integer("n_new", GenerationBenchmark.n_new, "generate: ids that are drawn.")
WORKDIRS = flags.DEFINE_list("workdirs", [], "generate: trained runs, in place of a fresh GPT.")
N_BYTES = flags.DEFINE_integer("n_bytes", 200, "generate --workdirs: new bytes of a text.")
N_LAYERS = flags.DEFINE_integer("n_layers", TrainBenchmark.n_layers, "Blocks.")
D_MODEL = flags.DEFINE_integer("d_model", TrainBenchmark.d_model, "Width.")
N_HEADS = flags.DEFINE_integer("n_heads", TrainBenchmark.n_heads, "Attention heads.")
N_STEPS = flags.DEFINE_integer("n_steps", TrainBenchmark.n_steps, "How often, in turns.")
STEPS_PER_TURN = flags.DEFINE_integer(
    "steps_per_turn", TrainBenchmark.steps_per_turn, "train: steps between two looks at the clock."
)
DATA = flags.DEFINE_list("data", [], "tokenizers, m1, data: text: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Of --data: field of .jsonl lines.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "Of --data: raw bytes; 0 = all (m1: 1 MiB).")
VOCAB_FILE = flags.DEFINE_string("vocab_file", "", "tokenizers, data: GPT-2's vocab.json.")
MERGES_FILE = flags.DEFINE_string("merges_file", "", "tokenizers, data: GPT-2's merges.txt.")
WORKERS = flags.DEFINE_list("workers", [*map(str, DataBenchmark.workers)], "data: processes.")
SECONDS = flags.DEFINE_float(
    "seconds", 10.0, "data: of each measurement; m1: for each number of lanes."
)
CACHE_DIR = flags.DEFINE_string(
    "cache_dir", DataConfig.cache_dir, "data: where the corpus is built."
)
METHOD = flags.DEFINE_string("method", "EqualInfoAC[b=32,v=256]", "m1: literature name.")
M1 = flags.DEFINE_string("m1", "", "m1: file of the byte model; empty is the one shipped.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
APPEND = flags.DEFINE_bool("append", False, "step: add the record to those in --json.")


def main(verbs):
    """Measure."""
    if len(verbs) != 1:
        raise ValueError(f"say what to measure, one of {', '.join(MEASURE)}; got {verbs}")
    check_word("measurement", verbs[0], MEASURE)
    MEASURE[verbs[0]]()


def _train():
    rows = dict(batch_size=BATCH_SIZE.value, steps_per_turn=STEPS_PER_TURN.value)
    benchmark_and_print(TrainBenchmark(**rows, **_shape()), JSON.value)


def _step():
    if not flags.FLAGS["config"].config_filename:
        raise ValueError("step needs a config: --config configs/latent_lm.py:size=base")
    benchmark_step_and_print(
        CONFIG.value,
        name=flags.FLAGS["config"].config_filename,
        n_steps=N_STEPS.value,
        profile=PROFILE_DIR.value if PROFILE.value else None,
        n_traced=PROFILE.value,
        json_path=JSON.value,
        append=APPEND.value,
    )


def _data():
    benchmark_data(
        DataBenchmark(
            row_length=ROW_LENGTH.value,
            batch_size=BATCH_SIZE.value,
            workers=tuple(_numbers("workers", WORKERS.value)),
            seconds=SECONDS.value,
        ),
        _text(),
        max_bytes=MAX_BYTES.value,
        vocab_file=VOCAB_FILE.value,
        merges_file=MERGES_FILE.value,
        cache_dir=CACHE_DIR.value,
        **_words(),
    )


def _tokenizers():
    if not (VOCAB_FILE.value and MERGES_FILE.value):
        raise ValueError("tokenizers needs GPT-2's vocabulary: --vocab_file and --merges_file")
    files = VOCAB_FILE.value, MERGES_FILE.value
    benchmark_tokenizers(_text(), *files, max_bytes=MAX_BYTES.value, **_words())


def _m1():
    limits = dict(
        lanes=_numbers("lanes", LANES.value) or [0],
        seconds=SECONDS.value,
        max_bytes=MAX_BYTES.value or 1 << 20,
    )
    benchmark_m1(_text(), method=METHOD.value, m1=M1.value, **limits, **_words())


def _generate():
    lanes = _numbers("lanes", LANES.value) or [1]
    if WORKDIRS.value:
        lengths = dict(lanes=lanes, n_bytes=N_BYTES.value, n_steps=N_STEPS.value)
        benchmark_writing_and_print(WORKDIRS.value, **lengths, json_path=JSON.value)
        return
    lengths = dict(prompt_length=PROMPT_LENGTH.value, n_new=N_NEW.value)
    benchmark = GenerationBenchmark(lanes=tuple(lanes), **lengths, **_shape())
    benchmark_generation_and_print(benchmark, JSON.value)


MEASURE = {
    "train": _train,
    "step": _step,
    "agreement": lambda: agreement_and_print(JSON.value),
    "data": _data,
    "tokenizers": _tokenizers,
    "m1": _m1,
    "generate": _generate,
}


def _shape():
    return dict(
        vocab_size=VOCAB_SIZE.value,
        row_length=ROW_LENGTH.value,
        n_layers=N_LAYERS.value,
        d_model=D_MODEL.value,
        n_heads=N_HEADS.value,
        n_steps=N_STEPS.value,
    )


def _text():
    if not DATA.value:
        raise ValueError("this needs text: --data 'text/*.jsonl.xz'")
    return DATA.value


def _words():
    return dict(text_field=TEXT_FIELD.value, json_path=JSON.value)


def _numbers(flag, words):
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise ValueError(f"--{flag}={','.join(words)}: {error}; give --{flag}=1,8") from error


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
