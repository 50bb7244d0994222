"""Train a table of methods and sizes at equal budgets, or go on where it stopped.

    python launch/sweep.py laptop --dry_run
    python launch/sweep.py "laptop:files=enwiki_part*.jsonl.xz"
    python launch/sweep.py lester_2024 --engine=ray --address=auto
    python launch/report.py runs/sweeps/laptop

A sweep is a file in configs/sweeps; its docstring lists the arguments that may follow the colon.
--dry_run prints every cell with its parameters, tokens, bytes, FLOPs, memory and expected time, and
trains nothing. Finished cells are skipped. Cells that fail are tried again, then reported. A sweep
that was killed resumes the cells that were running. The folder, runs/sweeps/NAME, holds
manifest.json, rows/ (text that M1 has encoded), cells/ (a run folder each) and logs/.
"""

from absl import flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on
from latent_jax.command_line import run_command
from latent_jax.experiments.sweep.command import sweep_and_print

WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the sweep; by default runs/sweeps/<name of the sweep>."
)
ENGINE = flags.DEFINE_string("engine", "local", "local: cores of this machine; ray: a cluster.")
WORKERS = flags.DEFINE_integer(
    "workers",
    0,
    "Cells side by side; 0 = one for each core. On an accelerator, its devices.",
    lower_bound=0,
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the plan and train nothing.")
RETRIES = flags.DEFINE_integer(
    "retries", 2, "How often a cell that failed is started again.", lower_bound=0
)
ADDRESS = flags.DEFINE_string(
    "address",
    "",
    "ray: a running cluster, as auto, HOST:6379 or ray://HOST:10001; empty starts one here. Its "
    "nodes must share the disk of --workdir, of the text and of this repository.",
)
JSON = flags.DEFINE_string("json", None, "Also write the unrounded records to this file.")


def main(words):
    """Sweep."""
    if len(words) != 1:
        raise ValueError(
            "name one sweep of configs/sweeps, such as laptop or laptop:files=text/*.txt; got "
            f"{' '.join(words) or 'nothing'}"
        )
    sweep_and_print(
        words[0],
        workdir=WORKDIR.value,
        engine=ENGINE.value,
        n_workers=WORKERS.value,
        dry_run=DRY_RUN.value,
        retries=RETRIES.value,
        address=ADDRESS.value,
        json_path=JSON.value,
    )


if __name__ == "__main__":
    run_command(main, takes_arguments=True)
