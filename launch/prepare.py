"""Make what methods need before a language model is trained on them.

    python launch/train.py --config configs/m1.py --workdir runs/m1 \\
        --config.data.source=files --config.data.files="('enwiki/*.jsonl.xz',)"
    python launch/prepare.py m1 --workdir runs/m1 --out runs/m1.msgpack
    python launch/prepare.py compile --m1 runs/m1.msgpack --out runs/code

`m1` writes the byte model of a run as one file, beside it a record of how it was trained. `compile`
turns it into the table of EqualInfoAC[b=16,v=65k]. Without --out both replace what the package
carries; without --m1 the byte model that the package carries is compiled.
"""

from absl import flags

from latent_jax.experiments.command_line import run_command
from latent_jax.experiments.prepare import (
    COMPILED_METHOD,
    compile_code,
    export_m1,
    shipped_paths,
)

WORKDIR = flags.DEFINE_string("workdir", "runs/m1", "m1: the run folder.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "m1: best, latest, or a step.")
M1 = flags.DEFINE_string("m1", "", "compile: file of the byte model.")
METHOD = flags.DEFINE_string("method", COMPILED_METHOD, "compile: what to compile.")
OUT = flags.DEFINE_string("out", None, "File (m1) or folder (compile) to write.")


def main(verbs):
    """Prepare."""
    m1_file, code_folder = shipped_paths()
    if verbs == ["m1"]:
        export_m1(WORKDIR.value, OUT.value or m1_file, CHECKPOINT.value)
    elif verbs == ["compile"]:
        compile_code(OUT.value or code_folder, M1.value, METHOD.value)
    else:
        raise ValueError(f"say what to make: m1 or compile; got {' '.join(verbs) or 'nothing'}")


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
