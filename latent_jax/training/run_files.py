"""What lies in the folder of one run, and who may write there.

config.json  overrides.json  environment.json  metrics.jsonl  lock.json
checkpoints/  samples/  tokenizer/  tensorboard/  profile/  wandb/  damaged/

It lies on a disk, or in a bucket (gs://), where folders are only names. Several processes share it.
"""

import contextlib
import dataclasses
import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from latent_jax.config_file import read_config, read_environment
from latent_jax.folder_lock import LockedError, check_held, hold
from latent_jax.json_files import Kind, write_sealed
from latent_jax.paths import is_remote, open_path
from latent_jax.training.mesh import is_primary


class RunFolderError(ValueError):
    """The folder belongs to another run, or to something else."""


_KIND = Kind(error=RunFolderError, way_out="restore the file from a copy, or use another folder")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder; `path` is of `latent_jax.paths.open_path`."""

    path: Path

    @property
    def metrics(self) -> Path:
        """The record of the run, see `training.metrics`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """See `training.checkpoints`."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Text that the model made."""
        return self.path / "samples"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, saved by itself."""
        return self.path / "tokenizer"

    @property
    def profile(self) -> Path:
        """Traces, see `training.profiler`."""
        return self.path / "profile"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was given.

        Raises:
            RunFolderError: the file cannot be read, or was changed since it was written.
        """
        return read_config(self.path, _KIND)

    @property
    def environment(self) -> dict[str, Any]:
        """See `environment`; and "starts", what each start took, see `training.startup`.

        Empty where the file was not kept.

        Raises:
            RunFolderError: the file cannot be read, or is damaged.
        """
        return read_environment(self.path, _KIND)

    def add_start(self, start: Mapping[str, Any]) -> None:
        """Add what a start took to environment.json."""
        found = self.environment
        starts = [*found.get("starts", []), dict(start)]
        write_sealed(self.path / "environment.json", {**found, "starts": starts})

    def hold(self) -> contextlib.AbstractContextManager:
        """Keep other processes from writing here during a `with` block; see `folder_lock.hold`.

        All processes of one run share one lock, which the primary one holds.

        Raises:
            RunFolderError: in every process of the run, where another run holds it.
        """
        return _hold(self)

    def check_held(self) -> None:
        """Raise LockedError where another process has taken the folder over meanwhile."""
        if is_primary():
            check_held(self.path)


def check_path(path: str | Path) -> None:
    """Refuse a path below which Orbax would save checkpoints that nothing can read.

    Orbax looks for the parts of a checkpoint by a glob of its whole path, so that `a[b]` stands
    for `ab` there, and `*` for other runs too.

    Raises:
        RunFolderError: the absolute path has a "[", "*" or "?".
    """
    text = str(open_path(path) if is_remote(path) else Path(path).absolute())
    if glob.escape(text) != text:
        raise RunFolderError(
            f"{text}: a '[', '*' or '?' in the path of a run is read as a pattern by Orbax, which "
            "would not find its checkpoints again: choose another workdir"
        )


@contextlib.contextmanager
def named_errors(path: Path, what: str = "the run folder") -> Iterator[None]:
    """Make errors of the file system and of the lock those of a run folder, in one line."""
    try:
        yield
    except (OSError, LockedError) as error:
        if isinstance(error, LockedError):
            raise RunFolderError(str(error)) from error
        raise RunFolderError(
            f"{what} {path} cannot be read or written: {error}. Check its name, who "
            "may write there and what is free, or choose another workdir"
        ) from error


@contextlib.contextmanager
def _hold(folder: RunFolder) -> Iterator[None]:
    with contextlib.ExitStack() as opened:
        error = None
        if is_primary():
            try:
                with named_errors(folder.path):
                    opened.enter_context(hold(folder.path, "one run"))
            except RunFolderError as refused:
                error = refused
        if jax.process_count() > 1:
            failed = multihost_utils.process_allgather(np.int32(error is not None))
            if error is None and np.any(failed):
                error = RunFolderError(f"process 0 does not hold {folder.path}; see there")
        if error is not None:
            raise error
        yield
