"""Make what methods need before a language model is trained on them.

    python launch/train.py --config configs/m1.py --workdir runs/m1 \\
        --config.data.source=files --config.data.files="('enwiki/*.jsonl.xz',)"
    python launch/prepare.py m1 --workdir runs/m1 --out runs/m1.msgpack
    python launch/prepare.py compile --m1 runs/m1.msgpack --out runs/code
    python launch/prepare.py encode --tokenizer 'EqualInfoAC[b=32,v=256]' \\
        --data 'enwiki/*.jsonl.xz' --out runs/rows
    python launch/train.py --config "configs/language_model.py:method=EqualInfoAC[b=32,v=256]" \\
        --config.data.source=encoded --config.data.files="('runs/rows',)" --config.row_length=512

`m1` writes the byte model of a run as one file, beside it a record of how it was trained. `compile`
turns it into the table of EqualInfoAC[b=16,v=65k]. Without --out both replace what the package
carries; without --m1 the byte model that the package carries is used. `encode` writes a corpus as
rows of ids, for tokenizers that are slower than training; the same command goes on where it
stopped, and several with --process=0..N-1 --n_processes=N share the work. `export` writes the
compiled code as a tokenizer.json of Hugging Face's tokenizers (short texts: its longest match takes
time that grows with the square of the length).
"""

from absl import flags

from latent_jax.data import DataConfig
from latent_jax.experiments.command_line import run_command
from latent_jax.experiments.encode import EncodeConfig, encode_corpus
from latent_jax.experiments.prepare import (
    COMPILED_METHOD,
    compile_code,
    export_hugging_face,
    export_m1,
    shipped_paths,
)

WORKDIR = flags.DEFINE_string("workdir", "runs/m1", "m1: the run folder.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "m1: best, latest, or a step.")
M1 = flags.DEFINE_string("m1", "", "compile, encode: file of the byte model.")
LANES = flags.DEFINE_integer(
    "lanes", 0, "encode: texts that M1 reads side by side; 0 = as begun, or the platform's choice."
)
METHOD = flags.DEFINE_string("method", COMPILED_METHOD, "compile: what to compile.")
OUT = flags.DEFINE_string("out", None, "File (m1) or folder (compile, encode) to write.")
CODE = flags.DEFINE_string(
    "code", "", "export: folder of a compiled code; by default the shipped one."
)
TOKENIZER = flags.DEFINE_string("tokenizer", "", "encode: literature name.")
DATA = flags.DEFINE_list("data", [], "encode: text: paths, globs or folders.")
TEXT_FIELD = flags.DEFINE_string("text_field", "text", "encode: field of .jsonl lines.")
MAX_BYTES = flags.DEFINE_integer("max_bytes", 0, "encode: raw bytes to read; 0 = all.")
ROW_LENGTH = flags.DEFINE_integer("row_length", EncodeConfig.row_length, "encode: ids in a row.")
EXAMPLE_BYTES = flags.DEFINE_integer(
    "example_bytes",
    EncodeConfig.example_bytes,
    "encode: a row is the beginning of so many bytes of text (Lester et al.: 10240); 0 packs whole "
    "documents.",
)
CUT_BYTES = flags.DEFINE_integer(
    "cut_bytes",
    EncodeConfig.cut_bytes,
    "encode: cut documents into texts of so many bytes; M1 codes many short ones side by side.",
)
PROCESS = flags.DEFINE_integer("process", EncodeConfig.process, "encode: which process this is.")
N_PROCESSES = flags.DEFINE_integer("n_processes", EncodeConfig.n_processes, "encode: of how many.")


def main(verbs):
    """Prepare."""
    m1_file, code_folder = shipped_paths()
    if verbs == ["m1"]:
        export_m1(WORKDIR.value, OUT.value or m1_file, CHECKPOINT.value)
    elif verbs == ["compile"]:
        compile_code(OUT.value or code_folder, M1.value, METHOD.value)
    elif verbs == ["export"]:
        export_hugging_face(OUT.value or "tokenizer.json", CODE.value)
    elif verbs == ["encode"]:
        _encode()
    else:
        got = " ".join(verbs) or "nothing"
        raise ValueError(f"say what to make: m1, compile, encode or export; got {got}")


def _encode():
    if not (TOKENIZER.value and OUT.value and DATA.value):
        raise ValueError("encode needs --tokenizer, --data and --out")
    config = EncodeConfig(
        tokenizer=TOKENIZER.value,
        row_length=ROW_LENGTH.value,
        example_bytes=EXAMPLE_BYTES.value,
        cut_bytes=CUT_BYTES.value,
        m1=M1.value,
        lanes=LANES.value,
        process=PROCESS.value,
        n_processes=N_PROCESSES.value,
    )
    words = dict(source="files", files=tuple(DATA.value), text_field=TEXT_FIELD.value)
    encode_corpus(config, DataConfig(**words, max_bytes=MAX_BYTES.value), OUT.value)


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
