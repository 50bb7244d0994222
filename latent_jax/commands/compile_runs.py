"""The work of `launch/compile.py`: programs of every run of a config file, for absent chips."""

from typing import Any

from ml_collections import ConfigDict

from latent_jax.costs.table import compile_and_print
from latent_jax.experiments.study import default_workdir, settled_runs


def compile_runs_and_print(
    config: ConfigDict,
    config_file: str,
    topology: str,
    *,
    json_path: str | None = None,
    append: bool = False,
    **words: Any,
) -> None:
    """Call `compile_and_print` for the run of a config file, or for each of its runs.

    Args:
        config: of one run, or with `config.runs`.
        config_file: its file with arguments, from which run folders are named; none is made.
        topology: see `compile_and_print`.
        json_path: file for the records of all runs.
        append: keep the records that the file has.
        **words: the other arguments of `compile_and_print`.

    Raises:
        ValueError: see `settled_runs` and `compile_and_print`.
    """
    runs = settled_runs(config, default_workdir(config_file))
    for number, (name, run_config) in enumerate(runs.items()):
        if name:
            print(f"{chr(10) if number else ''}Run {name}\n")
        keeps = append or bool(number and json_path)
        compile_and_print(run_config, topology, json_path=json_path, append=keeps, **words)
