"""Measure speed, compared with peers where there are any, in turns in one process.

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
    python launch/benchmark.py chunking --n_steps=10
    python launch/benchmark.py chunking --data 'text/*.jsonl.xz' --entropy_model runs/blt/entropy
    python launch/benchmark.py chunking --methods 'HNet[n=4],HNet[n=8]' --flops_per_byte=4e6
    python launch/benchmark.py rollout --config configs/latent_reasoning.py
    python launch/benchmark.py rollout --workdir runs/thoughts/phase2 --json rollout.json

`train` trains the GPT of this project and the same model in PyTorch on the same random rows and
prints tokens per second. `step` times the train step of any config on random ids, without text.
With --profile=N both also trace N steps and print what the device did in them; the traces open in
XProf and in ui.perfetto.dev. `agreement` computes attention and heads by the kernels of this
platform and by plain XLA in float32, and prints the errors. `data` makes batches with each number
of worker processes, compared with Grain's own packing. `tokenizers` encodes and decodes a text with
the compiled code of the package, with tiktoken and with Hugging Face's tokenizers, the last two
with GPT-2's vocabulary. `m1` encodes with M1 for every byte, and compares the speed with what its
FLOPs allow on this machine and with one forward pass per prefix; each number of lanes is a row, and
takes --seconds and its start-up. `generate` samples from a GPT and from the same weights in Hugging
Face transformers on the same kind of device, two rows for each number of lanes, or from the GPT
alone if transformers is not installed. With --workdirs it samples from trained runs of any method,
in raw bytes per second, compared with the first run; of runs that cut bytes into chunks it states
what they cut, and the FLOPs per byte at that rate. For a shape that nobody has trained here,
--bytes_per_id, measured on text, turns ids per second into bytes. `chunking` trains methods that
cut bytes into chunks, in turns with the GPT over bytes of equal FLOPs per byte, as
configs/chunking_arms.py makes them, on random bytes or on --data. It prints FLOPs per second,
compared with that GPT and, where h-net-dynamic-chunking is installed, with the H-Net of that
package. How fast such models write is measured on trained runs, by `generate --workdirs`. `rollout`
makes roll-outs and updates of the second phase of latent reasoning, of a config with drawn weights
or of a trained run, and prints the seconds of both, tokens per second, and the FLOPs of each
component. PyTorch, transformers, tiktoken and h-net-dynamic-chunking come with:

    python -m pip install -e '.[benchmark]'
"""

from absl import flags
from ml_collections import config_flags

from configs import chunking_arms
from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.bench.agreement import agreement_and_print
from latent_jax.bench.chunking import (
    METHODS,
    TWIN_METHOD,
    ChunkingBenchmark,
    benchmark_chunking_and_print,
    names_of,
    twin_config,
)
from latent_jax.bench.data import DataBenchmark, benchmark_data
from latent_jax.bench.generation import (
    GenerationBenchmark,
    benchmark_generation_and_print,
)
from latent_jax.bench.m1 import benchmark_m1
from latent_jax.bench.rollout import benchmark_rollout_and_print
from latent_jax.bench.step import benchmark_step_and_print
from latent_jax.bench.tokenizers import benchmark_tokenizers
from latent_jax.bench.train import TrainBenchmark, benchmark_and_print
from latent_jax.bench.writing import benchmark_writing_and_print
from latent_jax.command_verbs import run_verbs
from latent_jax.data import DataConfig
from latent_jax.methods.blt import needs_entropies
from latent_jax.methods.names import parse

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with its arguments after a colon.", lock_config=True
)
PROFILE = flags.DEFINE_integer(
    "profile", 0, "Also trace so many steps, and sum them up.", lower_bound=0
)
PROFILE_DIR = flags.DEFINE_string("profile_dir", "runs/profile", "Folder of the traces.")
VOCAB_SIZE = flags.DEFINE_integer(
    "vocab_size", TrainBenchmark.vocab_size, "Ids of the model.", lower_bound=1
)
ROW_LENGTH = flags.DEFINE_integer(
    "row_length",
    TrainBenchmark.row_length,
    "Ids per row; of chunking, if it is not given, those of configs/chunking_arms.py.",
    lower_bound=1,
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    TrainBenchmark.batch_size,
    "Rows per step; of chunking, if it is not given, those of configs/chunking_arms.py.",
    lower_bound=1,
)
LANES = flags.DEFINE_list(
    "lanes",
    [],
    "Texts at a time, numbers between commas; by default 1 (generate) or the platform's choice "
    "(m1).",
)
PROMPT_LENGTH = flags.DEFINE_integer(
    "prompt_length", GenerationBenchmark.prompt_length, "Ids of a prompt.", lower_bound=0
)
N_NEW = flags.DEFINE_integer(
    "n_new", GenerationBenchmark.n_new, "Ids that are drawn.", lower_bound=1
)
BYTES_PER_ID = flags.DEFINE_float(
    "bytes_per_id", 0.0, "Raw bytes of an id in real text, to say bytes per second.", lower_bound=0
)
WORKDIRS = flags.DEFINE_list("workdirs", [], "Trained runs, in place of a fresh GPT.")
WORKDIR = flags.DEFINE_string("workdir", "", "A trained second phase, in place of a config.")
N_BYTES = flags.DEFINE_integer("n_bytes", 200, "New bytes of a text.", lower_bound=1)
N_LAYERS = flags.DEFINE_integer("n_layers", TrainBenchmark.n_layers, "Blocks.", lower_bound=1)
D_MODEL = flags.DEFINE_integer("d_model", TrainBenchmark.d_model, "Width.", lower_bound=1)
N_HEADS = flags.DEFINE_integer("n_heads", TrainBenchmark.n_heads, "Attention heads.", lower_bound=1)
N_STEPS = flags.DEFINE_integer(
    "n_steps", TrainBenchmark.n_steps, "How often, in turns.", lower_bound=1
)
STEPS_PER_TURN = flags.DEFINE_integer(
    "steps_per_turn",
    TrainBenchmark.steps_per_turn,
    "Steps between two looks at the clock.",
    lower_bound=1,
)
DATA = flags.DEFINE_list("data", [], "Text: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Of --data: field of .jsonl lines.")
MAX_BYTES = flags.DEFINE_integer(
    "max_bytes", 0, "Of --data: raw bytes; 0 = all (m1: 1 MiB).", lower_bound=0
)
VOCAB_FILE = flags.DEFINE_string("vocab_file", "", "GPT-2's vocab.json.")
MERGES_FILE = flags.DEFINE_string("merges_file", "", "GPT-2's merges.txt.")
WORKERS = flags.DEFINE_list(
    "workers", [*map(str, DataBenchmark.workers)], "Numbers of worker processes."
)
SECONDS = flags.DEFINE_float(
    "seconds",
    3.0,
    "data: length of each of the 4 measurements of a row (ours and Grain's, in two turns), each "
    "after a warm-up a quarter as long. m1: time for each number of lanes.",
)
CACHE_DIR = flags.DEFINE_string("cache_dir", DataConfig.cache_dir, "Folder for the built corpus.")
METHOD = flags.DEFINE_string(
    "method", "EqualInfoAC[b=32,v=256]", "Literature name; launch/prepare.py methods lists them."
)
METHOD_LIST = flags.DEFINE_string(
    "methods",
    ",".join(METHODS),
    "Methods that read bytes, commas between them; Bytes is always the first row.",
)
ENTROPY_MODEL = flags.DEFINE_string(
    "entropy_model",
    "",
    "Run folder of a byte model, whose network BLT gets, with drawn weights; it adds BLT[n=4] to "
    "the methods.",
)
FLOPS_PER_BYTE = flags.DEFINE_float(
    "flops_per_byte",
    0.0,
    "Forward FLOPs per byte of all methods; 0 = those of configs/chunking_arms.py.",
    lower_bound=0,
)
M1 = flags.DEFINE_string("m1", "", "File of the byte model; by default the shipped one.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
APPEND = flags.DEFINE_bool("append", False, "Add the record to those in --json.")


def train(json_path, profile=None, n_traced=0, **words):
    """Measure training, compared with PyTorch."""
    benchmark_and_print(TrainBenchmark(**words), json_path, profile, n_traced)


def step(config, **words):
    """Measure the train step of a config."""
    if config is None:
        raise ValueError("step needs a config: --config configs/latent_lm.py:size=base")
    name = flags.FLAGS["config"].config_filename
    benchmark_step_and_print(config, name=name, **words)


def data(files, row_length, batch_size, workers, seconds, **words):
    """Measure the data pipeline, compared with Grain."""
    shape = dict(row_length=row_length, batch_size=batch_size)
    workers = tuple(_numbers("workers", workers))
    benchmark = DataBenchmark(**shape, workers=workers, seconds=seconds)
    benchmark_data(benchmark, _given(files), **words)


def tokenizers(files, vocab_file, merges_file, **words):
    """Measure tokenizers, compared with tiktoken and Hugging Face."""
    if not (vocab_file and merges_file):
        raise ValueError("tokenizers needs GPT-2's vocabulary: --vocab_file and --merges_file")
    benchmark_tokenizers(_given(files), vocab_file, merges_file, **words)


def m1(files, lanes, max_bytes, **words):
    """Measure encoding with M1, compared with what its FLOPs allow."""
    lanes = _numbers("lanes", lanes) or [0]
    benchmark_m1(_given(files), lanes=lanes, max_bytes=max_bytes or 1 << 20, **words)


def chunking(
    files, text_field, max_bytes, methods, entropy_model, flops_per_byte, json_path, **words
):
    """Measure the training of models that cut bytes, compared with the GPT over bytes."""
    shape = {name: words.pop(name) for name in ("row_length", "batch_size")}
    shape = {name: value for name, value in shape.items() if flags.FLAGS[name].present}

    def config(method):
        found = chunking_arms.get_config(f"method={method}")
        if needs_entropies(parse(method)):
            found.hierarchy.entropy_model = entropy_model
        if "row_length" in shape:
            found.context_bytes = shape["row_length"]
        found.batch_size = shape.get("batch_size", found.batch_size)
        if flops_per_byte:
            chunking_arms.set_flops(found, flops_per_byte)
        return found

    text = dict(files=files, text_field=text_field, max_bytes=max_bytes)
    benchmark_chunking_and_print(
        {name: config(name) for name in names_of(methods, bool(entropy_model))},
        twin_config(config(TWIN_METHOD)),
        ChunkingBenchmark(**text, **words),
        json_path,
    )


def generate(lanes, json_path, append, **words):
    """Measure sampling, compared with transformers."""
    lanes = tuple(_numbers("lanes", lanes) or [1])
    benchmark_generation_and_print(GenerationBenchmark(lanes=lanes, **words), json_path, append)


def generate_from_runs(workdirs, lanes, **words):
    """Measure the writing of trained runs, compared with the first."""
    benchmark_writing_and_print(workdirs, lanes=_numbers("lanes", lanes) or [1], **words)


def _given(files):
    if not files:
        raise ValueError("this needs text: --data 'text/*.jsonl.xz'")
    return files


def _numbers(flag, words):
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise ValueError(f"--{flag}={','.join(words)}: {error}; give --{flag}=1,8") from error


GPT = dict(
    vocab_size=VOCAB_SIZE,
    row_length=ROW_LENGTH,
    n_layers=N_LAYERS,
    d_model=D_MODEL,
    n_heads=N_HEADS,
    n_steps=N_STEPS,
)
TEXT = dict(files=DATA, text_field=TEXT_FIELD, max_bytes=MAX_BYTES)
GPT2 = dict(vocab_file=VOCAB_FILE, merges_file=MERGES_FILE)
RECORDS = dict(json_path=JSON)
STEP = dict(config=CONFIG, n_steps=N_STEPS, append=APPEND, **RECORDS)
ROLLOUT = dict(n_steps=N_STEPS, append=APPEND, **RECORDS)

TRACE = dict(profile=PROFILE_DIR, n_traced=PROFILE)
TRAIN = dict(**GPT, batch_size=BATCH_SIZE, steps_per_turn=STEPS_PER_TURN, **RECORDS)

CASES = {
    "train": (train, TRAIN),
    "train --profile": (train, dict(**TRAIN, **TRACE)),
    "step": (step, STEP),
    "step --profile": (step, dict(**STEP, **TRACE)),
    "agreement": (agreement_and_print, RECORDS),
    "data": (
        data,
        dict(
            **TEXT,
            **GPT2,
            row_length=ROW_LENGTH,
            batch_size=BATCH_SIZE,
            workers=WORKERS,
            seconds=SECONDS,
            cache_dir=CACHE_DIR,
            **RECORDS,
        ),
    ),
    "tokenizers": (tokenizers, dict(**TEXT, **GPT2, **RECORDS)),
    "m1": (m1, dict(**TEXT, method=METHOD, m1=M1, lanes=LANES, seconds=SECONDS, **RECORDS)),
    "chunking": (
        chunking,
        dict(
            **TEXT,
            methods=METHOD_LIST,
            entropy_model=ENTROPY_MODEL,
            flops_per_byte=FLOPS_PER_BYTE,
            row_length=ROW_LENGTH,
            batch_size=BATCH_SIZE,
            n_steps=N_STEPS,
            steps_per_turn=STEPS_PER_TURN,
            **RECORDS,
        ),
    ),
    "generate": (
        generate,
        dict(
            **GPT,
            lanes=LANES,
            prompt_length=PROMPT_LENGTH,
            n_new=N_NEW,
            bytes_per_id=BYTES_PER_ID,
            append=APPEND,
            **RECORDS,
        ),
    ),
    "generate --workdirs": (
        generate_from_runs,
        dict(workdirs=WORKDIRS, lanes=LANES, n_bytes=N_BYTES, n_steps=N_STEPS, **RECORDS),
    ),
    "rollout": (benchmark_rollout_and_print, dict(**ROLLOUT, config=CONFIG)),
    "rollout --workdir": (benchmark_rollout_and_print, dict(**ROLLOUT, workdir=WORKDIR)),
}

if __name__ == "__main__":
    run_verbs(CASES)
