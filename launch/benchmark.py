"""Measure speed against peers, in turns, in one process.

    python launch/benchmark.py train
    python launch/benchmark.py train --vocab_size=4096 --json configs/results/train_speed.json
    python launch/benchmark.py tokenizers --data 'text/*.jsonl.xz' \\
        --vocab_file gpt2-vocab.json --merges_file gpt2-merges.txt
    python launch/benchmark.py m1 --data 'text/*.jsonl.xz' --lanes=64,1024,4096 --seconds=10
    python launch/benchmark.py generate --lanes=1,8,64,512
    python launch/benchmark.py generate --workdirs runs/latent,runs/bpe,runs/bytes

`train` trains the GPT of this project and the same model in PyTorch on the same random rows and
prints tokens per second. `tokenizers` encodes and decodes a text with the compiled code of the
package, with tiktoken and with Hugging Face's tokenizers, both with GPT-2's vocabulary. `m1`
encodes with M1 for every byte, beside what its FLOPs allow here and one forward pass per prefix;
one row for each number of lanes, each within --seconds and its start-up.
`generate` samples from a GPT and from the same weights in Hugging Face transformers on the same
device, two rows for each number of lanes, or ours alone where transformers is not installed; with
--workdirs from trained runs of any method, in raw bytes per second beside the first of them.
PyTorch, transformers and tiktoken come with: python -m pip install -e '.[benchmark]'
"""

from absl import flags

from latent_jax.experiments.benchmark import TrainBenchmark, benchmark_and_print
from latent_jax.experiments.benchmark_generation import (
    GenerationBenchmark,
    benchmark_generation_and_print,
)
from latent_jax.experiments.benchmark_m1 import benchmark_m1
from latent_jax.experiments.benchmark_tokenizers import benchmark_tokenizers
from latent_jax.experiments.benchmark_writing import benchmark_writing_and_print
from latent_jax.experiments.command_line import run_command

VOCAB_SIZE = flags.DEFINE_integer("vocab_size", TrainBenchmark.vocab_size, "Ids of the model.")
ROW_LENGTH = flags.DEFINE_integer("row_length", TrainBenchmark.row_length, "Ids per row.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", TrainBenchmark.batch_size, "train: rows per step.")
LANES = flags.DEFINE_list(
    "lanes",
    [],
    "generate, m1: texts at a time, several numbers between commas; by default 1 (generate) and "
    "what the platform takes (m1).",
)
SECONDS = flags.DEFINE_float("seconds", 10.0, "m1: for each number of lanes.")
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
DATA = flags.DEFINE_list("data", [], "tokenizers, m1: text: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "tokenizers, m1: field of .jsonl lines.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "tokenizers, m1: raw bytes; 0 = all (m1: 1 MiB).")
VOCAB_FILE = flags.DEFINE_string("vocab_file", "", "tokenizers: GPT-2's vocab.json.")
MERGES_FILE = flags.DEFINE_string("merges_file", "", "tokenizers: GPT-2's merges.txt.")
METHOD = flags.DEFINE_string("method", "EqualInfoAC[b=32,v=256]", "m1: literature name.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")


def main(verbs):
    """Measure."""
    if verbs not in (["train"], ["generate"], ["tokenizers"], ["m1"]):
        got = " ".join(verbs) or "nothing"
        raise ValueError(f"say what to measure: train, generate, tokenizers or m1; got {got}")
    if verbs[0] in ("tokenizers", "m1") and not DATA.value:
        raise ValueError(f"{verbs[0]} needs text: --data")
    words = dict(text_field=TEXT_FIELD.value, json_path=JSON.value)
    if verbs == ["tokenizers"]:
        if not (VOCAB_FILE.value and MERGES_FILE.value):
            raise ValueError("tokenizers needs GPT-2's vocabulary: --vocab_file and --merges_file")
        files = VOCAB_FILE.value, MERGES_FILE.value
        benchmark_tokenizers(DATA.value, *files, max_bytes=MAX_BYTES.value, **words)
        return
    if verbs == ["m1"]:
        n_bytes = MAX_BYTES.value or 1 << 20
        limits = dict(lanes=_lanes() or [0], seconds=SECONDS.value, max_bytes=n_bytes)
        benchmark_m1(DATA.value, method=METHOD.value, **limits, **words)
        return
    if verbs == ["generate"] and WORKDIRS.value:
        lengths = dict(lanes=_lanes() or [1], n_bytes=N_BYTES.value, n_steps=N_STEPS.value)
        benchmark_writing_and_print(WORKDIRS.value, **lengths, json_path=JSON.value)
        return
    shape = dict(
        vocab_size=VOCAB_SIZE.value,
        row_length=ROW_LENGTH.value,
        n_layers=N_LAYERS.value,
        d_model=D_MODEL.value,
        n_heads=N_HEADS.value,
        n_steps=N_STEPS.value,
    )
    if verbs == ["generate"]:
        lengths = dict(prompt_length=PROMPT_LENGTH.value, n_new=N_NEW.value)
        benchmark = GenerationBenchmark(lanes=tuple(_lanes() or [1]), **lengths, **shape)
        benchmark_generation_and_print(benchmark, JSON.value)
        return
    benchmark_and_print(TrainBenchmark(batch_size=BATCH_SIZE.value, **shape), JSON.value)


def _lanes() -> list[int]:
    try:
        return [int(number) for number in LANES.value]
    except ValueError as error:
        raise ValueError(f"--lanes={','.join(LANES.value)}: {error}; give --lanes=1,8") from error


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
