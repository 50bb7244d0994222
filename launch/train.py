"""Train the run or runs of a config file, or go on where they stopped.

    python launch/train.py --config configs/quickstart.py
    python launch/train.py --config configs/latent_lm.py:compressor=ssm,c=4 --workdir runs/ssm4
    python launch/train.py --config configs/language_model.py --config.data.source=files \\
        --config.data.files="('text/*.jsonl.xz',)" --config.optimizer.learning_rate=1e-3

The arguments of the config file follow the colon (its docstring lists them); --config.KEY=VALUE
sets any key of configs/common.py. The run folder --workdir receives config.json, metrics.jsonl,
checkpoints, samples and curves.png; it may be gs://BUCKET/FOLDER. Ctrl-C or SIGTERM saves and ends
the run; the same command resumes it. --config.training.profile=10 traces ten steps into the run
folder and prints at the end what the device did in them.

--extend bytes:2e6 trains that much longer than the config's budget, also after the run has ended.
The same command again adds nothing; to extend once more, give the larger total. A cosine goes on at
its last rate. The other schedules go on as if the run had been planned for the larger budget: wsd
goes back to its peak, or, with --config.training.restore_step=N, resumes from the checkpoint before
its decay, which is kept.

--config.window_rule=paper gives the windows of EqualInfoAC the rule of Lester et al. 2024, and the
method's name says so: EqualInfoAC[b=16,v=65536,rule=paper].

Several machines: use launch/tpu_vm.sh on a TPU slice, launch/slurm.sbatch under Slurm; or set
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID on each. They share the run folder.
"""

from absl import flags
from ml_collections import config_flags

from latent_jax import interrupts  # noqa: F401  Ctrl-C is one word from here on

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with its arguments after a colon.", lock_config=True
)
EXTEND = flags.DEFINE_string(
    "extend",
    "",
    "Budget to add to the config's own, as UNIT:AMOUNT, such as bytes:2e6; in the same run folder.",
)
PRINT_CONFIG = flags.DEFINE_bool(
    "print_config", False, "Print every key, its value, where it was set and its comment; no run."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder; by default runs/<name of the config>.")
flags.mark_flag_as_required("config")


def main():
    """Train."""
    from configs.print_config import print_config
    from latent_jax.command_line import changed_words
    from latent_jax.experiments.study import default_workdir, extend, run_config, state_rules

    changed = changed_words("config") | extend(CONFIG.value, EXTEND.value)
    changed |= state_rules(CONFIG.value)
    if PRINT_CONFIG.value:
        print_config(CONFIG.value, changed)
        return
    workdir = WORKDIR.value or default_workdir(flags.FLAGS["config"].config_filename)
    run_config(CONFIG.value, workdir, changed)


# Every data worker imports this file anew, and needs none of the imports of training.
if __name__ == "__main__":
    from latent_jax.command_line import run_command

    run_command(main, may_be_remote=("workdir",))
