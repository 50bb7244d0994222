"""Compile the train and the evaluation step of a config for chips that this machine lacks.

    python launch/compile.py --config configs/latent_lm.py:size=nano --topology v5e:2x2
    python launch/compile.py --config configs/latent_lm.py:size=base --topology v5p:2x2x4 \\
        --config.training.strategy=fsdp --json costs.json
    python launch/compile.py --config configs/language_model.py:size=base --topology cuda \\
        --n_devices 8

Nothing is read, trained or run, and no chip is needed. For a TPU (v5e:4x4, v5p:2x2x1, v6e:2x4, ...)
the program is compiled by libtpu, which `python -m pip install -e ".[tpu]"` installs on Linux; this
takes one core half a minute to some minutes. The tables say whether the program fits into the
memory of a chip, whether XLA's FLOPs agree with our ledger, which collectives a device takes part
in, and the least time that a step can take. For NVIDIA GPUs there is no such compiler: the program
is only lowered, with the calls of cuDNN's attention, and its memory and collectives stay unknown.

No tokenizer is made either: its number of ids follows from the method's name, and the raw bytes per
id are assumed (--bytes_per_token). --config.KEY=VALUE sets any key, as in launch/train.py. All runs
of a config file are compiled, one after the other.
launch/compile_table.sh calls this for the models, slices and strategies of the results' table.
"""

from absl import flags
from ml_collections import config_flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.command_line import run_command
from latent_jax.commands.compile_runs import compile_runs_and_print
from latent_jax.costs.lowering import PROGRAMS
from latent_jax.costs.target import CUDA_CHIPS

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with its arguments after a colon.", lock_config=True
)
TOPOLOGY = flags.DEFINE_string(
    "topology", None, "v5e:LAYOUT, v5p:LAYOUT or v6e:LAYOUT, such as v5e:4x4; or cuda."
)
N_DEVICES = flags.DEFINE_integer("n_devices", 1, "cuda: number of GPUs.")
CHIP = flags.DEFINE_enum(
    "chip", None, CUDA_CHIPS, "cuda: the GPU, whose peaks and memory are used; by default H100."
)
BYTES_PER_TOKEN = flags.DEFINE_float(
    "bytes_per_token", 4.0, "Assumed raw bytes per id, for methods whose ids are not bytes."
)
PROGRAM = flags.DEFINE_multi_enum("program", PROGRAMS, PROGRAMS, "Steps to compile.")
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")
APPEND = flags.DEFINE_bool(
    "append", False, "Keep the records that --json has, and compile only programs that it lacks."
)
flags.mark_flags_as_required(["config", "topology"])


def main():
    """Compile."""
    compile_runs_and_print(
        CONFIG.value,
        flags.FLAGS["config"].config_filename,
        TOPOLOGY.value,
        n_devices=N_DEVICES.value,
        cuda_chip=CHIP.value,
        bytes_per_token=BYTES_PER_TOKEN.value,
        programs=PROGRAM.value,
        json_path=JSON.value,
        append=APPEND.value,
    )


if __name__ == "__main__":
    run_command(main)
