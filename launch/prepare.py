"""Make files that methods need before a language model is trained; list the methods.

    python launch/prepare.py methods
    python launch/train.py --config configs/m1.py --workdir runs/m1 \\
        --config.data.source=files --config.data.files="('enwiki/*.jsonl.xz',)"
    python launch/prepare.py m1 --workdir runs/m1 --out runs/m1.msgpack
    python launch/prepare.py quantize --data 'enwiki/*.jsonl.xz' --out runs/start.npz
    python launch/train.py --config configs/m1.py:quantized=true --workdir runs/m1_integer \\
        --config.training.init_from=runs/start.npz \\
        --config.data.source=files --config.data.files="('enwiki/*.jsonl.xz',)"
    python launch/prepare.py m1 --workdir runs/m1_integer --out runs/m1_integer.safetensors
    python launch/prepare.py compile --m1 runs/m1.msgpack --out runs/code
    python launch/prepare.py encode --tokenizer 'EqualInfoAC[b=32,v=256]' \\
        --data 'enwiki/*.jsonl.xz' --out runs/rows
    python launch/train.py --config "configs/language_model.py:method=EqualInfoAC[b=32,v=256]" \\
        --config.data.source=encoded --config.data.files="('runs/rows',)" --config.row_length=512

`methods` prints every family of methods and its options. `m1` writes the byte model of a run as one
file, and a record of its training beside it. `quantize` turns a float byte model into integers: a
.npz to train on from, or a .safetensors to code with. `compile` turns a byte model into the table
of EqualInfoAC[b=16,v=65k]. Without --out `m1` and `compile` replace the files in the package;
without --m1 the float byte model in the package is used. `encode` writes a corpus as rows of ids,
for tokenizers that are slower than training. The same command goes on where it stopped, and several
commands with --process=0..N-1 --n_processes=N share the work. `export` writes the compiled code as
a tokenizer.json of Hugging Face's tokenizers. Use it for short texts: the time of its longest match
grows with the square of the length.
"""

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.codec.encode import EncodeConfig, encode_corpus
from latent_jax.command_verbs import run_verbs
from latent_jax.commands.integer_m1 import quantize_m1
from latent_jax.commands.prepare import (
    COMPILED_METHOD,
    compile_code,
    export_hugging_face,
    export_m1,
    shipped_paths,
)
from latent_jax.data import DataConfig
from latent_jax.methods.registry import describe

WORKDIR = flags.DEFINE_string("workdir", "runs/m1", "Run folder of the byte model.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, latest, or a step.")
M1 = flags.DEFINE_string("m1", "", "File of the byte model; by default the shipped one.")
LANES = flags.DEFINE_integer(
    "lanes",
    0,
    "Texts that M1 reads side by side; 0 = as --out has, or the platform's choice.",
    lower_bound=0,
)
METHOD = flags.DEFINE_string("method", COMPILED_METHOD, "Literature name of the code to compile.")
OUT = flags.DEFINE_string(
    "out", None, "File (m1, quantize, export) or folder (compile, encode) to write."
)
CODE = flags.DEFINE_string("code", "", "Folder of a compiled code; by default the shipped one.")
TOKENIZER = flags.DEFINE_string("tokenizer", "", "Literature name; the verb methods lists them.")
DATA = flags.DEFINE_list("data", [], "Text: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "Field of .jsonl lines.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "Raw bytes to read; 0 = all.", lower_bound=0)
ROW_LENGTH = flags.DEFINE_integer(
    "row_length", EncodeConfig.row_length, "Ids in a row.", lower_bound=1
)
EXAMPLE_BYTES = flags.DEFINE_integer(
    "example_bytes",
    EncodeConfig.example_bytes,
    "A row is the beginning of so many bytes of text (Lester et al.: 10240); 0 packs whole "
    "documents.",
    lower_bound=0,
)
CUT_BYTES = flags.DEFINE_integer(
    "cut_bytes",
    EncodeConfig.cut_bytes,
    "Cut documents into texts of so many bytes; M1 codes many short ones side by side.",
    lower_bound=0,
)
PROCESS = flags.DEFINE_integer(
    "process", EncodeConfig.process, "Which process this is.", lower_bound=0
)
N_PROCESSES = flags.DEFINE_integer(
    "n_processes", EncodeConfig.n_processes, "Of how many.", lower_bound=1
)


def methods():
    """Print every family of methods."""
    print(describe())


def m1(out, **words):
    """Write the byte model of a run as one file."""
    export_m1(out=out or shipped_paths()[0], **words)


def quantize(out, data, **words):
    """A float byte model in integers."""
    if not (out and data):
        raise ValueError("quantize needs --data and --out")
    quantize_m1(out, files=tuple(data), **words)


def compile(out, **words):
    """Write the table of EqualInfoAC[b=16,v=65k]."""
    compile_code(out or shipped_paths()[1], **words)


def export(out, **words):
    """Write the table as a tokenizer.json."""
    export_hugging_face(out or "tokenizer.json", **words)


def encode(out, data, text_field, max_bytes, **words):
    """Write a corpus as rows of ids."""
    if not (words["tokenizer"] and out and data):
        raise ValueError("encode needs --tokenizer, --data and --out")
    text = dict(source="files", files=tuple(data), text_field=text_field, max_bytes=max_bytes)
    encode_corpus(EncodeConfig(**words), DataConfig(**text), out)


CASES = {
    "methods": (methods, {}),
    "m1": (m1, dict(workdir=WORKDIR, checkpoint=CHECKPOINT, out=OUT)),
    "quantize": (quantize, dict(m1=M1, data=DATA, text_field=TEXT_FIELD, out=OUT)),
    "compile": (compile, dict(m1=M1, method=METHOD, out=OUT)),
    "export": (export, dict(folder=CODE, out=OUT)),
    "encode": (
        encode,
        dict(
            tokenizer=TOKENIZER,
            m1=M1,
            lanes=LANES,
            data=DATA,
            text_field=TEXT_FIELD,
            max_bytes=MAX_BYTES,
            row_length=ROW_LENGTH,
            example_bytes=EXAMPLE_BYTES,
            cut_bytes=CUT_BYTES,
            process=PROCESS,
            n_processes=N_PROCESSES,
            out=OUT,
        ),
    ),
}

if __name__ == "__main__":
    run_verbs(CASES)
