"""The runs of one config file: trained one after the other, then compared."""

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from latent_jax.experiments.cores import use_cores
from latent_jax.experiments.run import prepare, run
from latent_jax.methods.blt import needs_entropies
from latent_jax.methods.entropy_network import describe_network
from latent_jax.methods.names import parse
from latent_jax.methods.settings import check_settings, state_rule
from latent_jax.methods.unused import of_run, unused_options
from latent_jax.paths import open_path
from latent_jax.reports.command import comparison_table
from latent_jax.reports.comparison import write_comparison
from latent_jax.training import RunFolder, StartUp
from latent_jax.training.mesh import is_primary

logger = logging.getLogger(__name__)


def run_config(
    config: ConfigDict, workdir: str | Path, overrides: Mapping[str, Any] | None = None
) -> list[Path]:
    """Train the runs of a config file: one, or each of `config.runs` in a folder of its own.

    Called again, it goes on where it stopped; finished runs are not trained again. At the end it
    prints a table of the runs, and several runs get one picture, `comparison.png`.

    Returns:
        The run folders.

    Raises:
        ValueError: see `experiments.run`. All runs are checked before the first one trains.
    """
    startup = StartUp.of_process()
    startup.mark("imports")
    workdir = open_path(workdir)
    settled = settled_runs(config, workdir)
    runs = {workdir / name if name else workdir: run for name, run in settled.items()}
    use_cores(list(runs.values()))
    if "runs" in config:
        for folder, run_config in runs.items():
            with _named(folder.name):
                prepare(run_config)
        startup.mark("checks")
    for number, (folder, run_config) in enumerate(runs.items(), start=1):
        logger.info("Run %d of %d in %s", number, len(runs), folder)
        changed = overrides or {}
        for line in unused_options(
            run_config, of_run(changed, folder.name) if "runs" in config else changed
        ):
            logger.warning("%s", line)
        run(run_config, folder, overrides, startup=startup)
        startup = StartUp()
        if is_primary() and number > 1:
            write_comparison(list(runs)[:number], workdir / "comparison.png")
    if is_primary():
        _print_table(list(runs), workdir)
    return list(runs)


def settled_runs(config: ConfigDict, workdir: str | Path) -> dict[str, ConfigDict]:
    """Check the runs of a config file, and settle in place what one takes from another.

    Args:
        config: of one run, or with `config.runs`.
        workdir: folder of the run or runs.

    Returns:
        Name -> config; the name of a single run is "".

    Raises:
        ValueError: a key is wrong, or a run takes something of a run that is not trained before it.
    """
    workdir = open_path(workdir)
    runs = dict(config.runs.items()) if "runs" in config else {"": config}
    for name, run_config in runs.items():
        with _named(name):
            state_rule(run_config)
            check_settings(run_config)
    for run_config in runs.values():
        _settle_init_from(run_config, config.get("runs", {}), workdir)
        _settle_entropy_model(run_config, config.get("runs", {}), workdir)
    return runs


def extend(config: ConfigDict, extension: str) -> dict[str, Any]:
    """Extend the budget of a config file's runs; return the changed config keys and their values.

    Args:
        config: of one run, or with `config.runs`, which all get the same extension.
        extension: "UNIT:AMOUNT", counted from the end of the run's own budget; "" changes nothing.
    """
    if not extension:
        return {}
    for run_config in config.runs.values() if "runs" in config else [config]:
        run_config.budget.extend = extension
    return {"budget.extend": extension}


def state_rules(config: ConfigDict) -> dict[str, Any]:
    """State `window_rule` in the names of a config file's runs; return the changed config keys.

    Args:
        config: of one run, or with `config.runs`.

    Raises:
        ValueError: see `state_rule`.
    """
    if "runs" not in config:
        return state_rule(config)
    return {
        f"runs.{name}.{key}": value
        for name, run_config in config.runs.items()
        for key, value in state_rule(run_config).items()
    }


def default_workdir(config_file: str) -> Path:
    """Return runs/<config file and arguments>, such as runs/latent_lm-compressor=ssm,c=4.

    An argument may be a path or a glob: its special characters become "_". So do brackets, because
    Orbax reads them as a glob: it saves checkpoints below them without an error and cannot find
    them again.
    """
    path, _, arguments = str(config_file).partition(":")
    stem = Path(path).stem
    arguments = re.sub(r"[^\w=,.\-]+", "_", arguments)
    return Path("runs") / (f"{stem}-{arguments}" if arguments else stem)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors of one run of several name it, and its keys as the command line takes them."""
    try:
        yield
    except ValueError as error:
        if not name:
            raise
        text = str(error).replace("--config.", f"--config.runs.{name}.")
        raise ValueError(f"runs.{name}: {text}") from error


RUN = "run:"
"""Begins the value of a key that names an earlier run of the same config file."""


def _settle_init_from(config: ConfigDict, runs: Mapping[str, Any], workdir: Path) -> None:
    """Replace "run:NAME" in `training.init_from` by the folder of that run.

    Raises:
        ValueError: the config file has no such run, or does not train it before this one.
    """
    config.training.init_from = _folder_of_run(
        config, runs, workdir, "training.init_from", config.training.init_from
    )


def _settle_entropy_model(config: ConfigDict, runs: Mapping[str, Any], workdir: Path) -> None:
    """Replace "run:NAME" in `hierarchy.entropy_model` likewise, and state the network of that run.

    So a run can be checked before the other one is trained.

    Raises:
        ValueError: as `_settle_init_from`; or it is no run of a byte model.
    """
    section, key = config.hierarchy, "hierarchy.entropy_model"
    source = section.entropy_model
    section.entropy_model = _folder_of_run(config, runs, workdir, key, source)
    if source.startswith(RUN) and needs_entropies(parse(config.method)):
        other = runs[source.removeprefix(RUN)]
        if other.context_bytes or other.inference_flops_per_byte:
            raise ValueError(
                f"{key}={source}: rows or width of that run are solved when its text is read: set "
                "its context_bytes and inference_flops_per_byte to 0, or train it first and name "
                "its folder"
            )
        try:
            section.entropy_network = describe_network(other)
        except ValueError as error:
            raise ValueError(f"{key}={source}: {error}") from error


def _folder_of_run(
    config: ConfigDict, runs: Mapping[str, Any], workdir: Path, key: str, source: str
) -> str:
    """Return the folder of the run that "run:NAME" names; every other value as it is."""
    if not source.startswith(RUN):
        return source
    earlier = list(itertools.takewhile(lambda name: runs[name] is not config, runs))
    name = source.removeprefix(RUN)
    if name not in earlier:
        raise ValueError(
            f"{key}={source} names a run of the same config file that is trained "
            f"before, and runs are trained in alphabetical order; before this one there "
            f"{'are' if len(earlier) > 1 else 'is'} {', '.join(earlier) or 'none'}"
        )
    own = next(own for own in runs if runs[own] is config)
    return _recorded_source(workdir / own, key, name) or str(workdir / name)


def _recorded_source(folder: Path, key: str, name: str) -> str:
    """Return where a run that has begun took weights of the run `name`; "" where it has not.

    Its folder may have been moved since, or be spelled in another way, and it is the same run.
    """
    if not (folder / "config.json").exists():
        return ""
    section, _, option = key.partition(".")
    recorded = RunFolder(folder).config.get(section)
    source = recorded.get(option) if isinstance(recorded, dict) else None
    return source if isinstance(source, str) and Path(source).name == name else ""


def _print_table(folders: Sequence[Path], workdir: Path) -> None:
    """Print the last validation record of each run, and where the pictures are."""
    print(f"\n{comparison_table(folders)}\n\nPictures:")
    for picture in (*(folder / "curves.png" for folder in folders), workdir / "comparison.png"):
        if picture.exists():
            print(f"  {picture}")
