"""Checkpoints of a run: written while training goes on, chosen and checked when they are read.

What one is on disk says `training.checkpoint_files`, which is taken and kept `training.good_steps`,
and how it is written `training.checkpoint_writer`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latent_jax.paths import is_remote, open_path
from latent_jax.training import checkpoint_files as files
from latent_jax.training.checkpoint_files import DamagedError
from latent_jax.training.checkpoint_writer import CheckpointWriter
from latent_jax.training.good_steps import GoodSteps
from latent_jax.training.identity import check_identity, check_state, describe_shapes
from latent_jax.training.mesh import is_primary
from latent_jax.training.run_files import check_path
from latent_jax.training.signals import LostProcessError
from latent_jax.training.state import TrainState

PyTree = Any

logger = logging.getLogger(__name__)

SLICE_BYTES = 2**24
"""Devices that hold the same array share the writing of it if each slice has at least so many
bytes. Smaller slices do not pay, because each shape of a slice compiles a program of its own."""


class Restored(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        state: on the mesh.
        data_state: JSON tree, of this process's data iterator.
        metadata: JSON, as `Checkpoints.save` was given it, with "step", "metric" and "digests".
    """

    state: TrainState
    data_state: Any
    metadata: dict[str, Any]


class Checkpoints:
    """The checkpoints in one folder: the latest ones and the best ones."""

    def __init__(
        self,
        folder: Path,
        keep_latest: int = 2,
        keep_best: int = 1,
        keep_step: int | None = None,
        *,
        is_reader: bool = False,
    ):
        """Open the folder, and remove what a killed process left unfinished in it.

        Args:
            folder: of all checkpoints of a run.
            keep_latest: how many of the most recent checkpoints are kept.
            keep_best: how many with the lowest metric are kept besides.
            keep_step: a step whose checkpoint is kept besides, if it is saved; None = no such step.
            is_reader: remove nothing, because the run may still be training.

        Raises:
            RunFolderError: see `run_files.check_path`.
        """
        check_path(folder)
        self.folder = open_path(folder)
        if not is_remote(folder):
            self.folder = self.folder.absolute()
        if not is_reader and is_primary():
            files.remove_unfinished(self.folder)
        self._good = GoodSteps(self.folder)
        self._writer = CheckpointWriter(self._good, keep_latest, keep_best, keep_step)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # A save of several processes waits for all of them, so it would never end without one.
        if kind is not LostProcessError:
            self.close()

    @property
    def steps(self) -> list[int]:
        """Steps that have a finished checkpoint which is not known to be damaged, ascending."""
        return self._good.steps

    @property
    def is_empty(self) -> bool:
        """Whether there is no checkpoint at all, not even a damaged one."""
        return not self._good.metrics and not self._good.damaged

    def save(
        self,
        state: TrainState,
        data_state: Any,
        metadata: Mapping[str, Any],
        metric: float | None,
    ) -> None:
        """Begin to write a checkpoint; return as soon as the arrays are copied to the host.

        Args:
            state: on the mesh; it may be donated afterwards.
            data_state: JSON tree, the state of this process's data iterator.
            metadata: JSON; "identity" holds the keys of `identity.WAYS_OUT`.
            metric: decides which checkpoints are best, lower is better; None if it was not measured
                at this step.

        Raises:
            CheckpointError: this save, or the one before it, could not be written.
        """
        step, items = int(state.step), _items(state)
        self._writer.save(step, items, data_state, metadata, metric, SLICE_BYTES)

    def add_evaluation(self, step: int, changes: Mapping[str, Any], metric: float | None) -> None:
        """Add to the checkpoint of a step what was evaluated after it had been saved.

        Args:
            step: of a checkpoint that is good.
            changes: of its metadata.
            metric: see `save`.

        Raises:
            CheckpointError: it could not be written.
        """
        self._writer.add_evaluation(step, changes, metric)

    def poll(self) -> None:
        """Raise CheckpointError if a save in the background has failed; never waits."""
        self._writer.poll()

    def wait(self) -> None:
        """Wait for the save in the background; raise CheckpointError if it failed."""
        self._writer.wait()

    def close(self) -> None:
        """Wait for the save in the background, and free threads.

        Raises:
            CheckpointError: the save failed.
        """
        self._writer.close()

    def last_good(self) -> str:
        """Return a clause that names the last checkpoint, for a message; it waits for a save."""
        self.wait()
        if not self.steps:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is step {self.steps[-1]} in {self.folder}"

    def restore(
        self, abstract: TrainState, identity: Mapping[str, Any], step: int = -1
    ) -> Restored:
        """Load a checkpoint onto the mesh of `abstract`, whatever mesh it was saved on.

        Good checkpoints after `step` are removed: the run that goes on from here writes them anew.

        Args:
            abstract: TrainState of `ShapeDtypeStruct`s with shardings.
            identity: what must be the same, see `identity.WAYS_OUT`.
            step: which; -1 is the latest that is good.

        Raises:
            CheckpointError: there is none, the one asked for is damaged, or it belongs to another
                run.
        """

        def load(step: int) -> Restored:
            path = self.folder / str(step)
            metadata = files.read_metadata(path)
            check_identity(metadata["identity"], identity, path)
            items = _load(path, metadata, _items(abstract))
            return Restored(_state(items), files.read_data_state(path), metadata)

        def loads(step: int) -> bool:
            try:
                load(step)
            except DamagedError:
                return False
            return True

        step, restored = self._good.first_good(step, load, loads)
        for later in [s for s in self.steps if s > step]:
            del self._good.metrics[later]
            if is_primary():
                files.delete(self.folder / str(later))
        return restored

    def restore_variables(
        self, abstract: Mapping[str, PyTree], step: int | str = -1
    ) -> tuple[dict[str, PyTree], dict[str, Any]]:
        """Load the Flax collections alone, for evaluation; return them and the metadata.

        Args:
            abstract: collections of `ShapeDtypeStruct`s with shardings.
            step: which; -1 is the latest that is good, "best" the good one of the lowest metric.

        Raises:
            CheckpointError: there is none, the one asked for is damaged, or it belongs to another
                model.
        """
        shapes = {"parameters": describe_shapes(abstract["params"])}

        def load(step: int) -> tuple[dict[str, PyTree], dict[str, Any]]:
            path = self.folder / str(step)
            metadata = files.read_metadata(path)
            check_identity(metadata["identity"], shapes, path)
            items = _load(path, metadata, {"variables": dict(abstract)})
            return items["variables"], metadata

        return self._good.first_good(step, load, lambda other: True)[1]

    def variable_shapes(self, step: int = -1) -> tuple[int, dict[str, PyTree]]:
        """Return the step, and the Flax collections of its checkpoint as `ShapeDtypeStruct`s.

        Args:
            step: which; -1 is the latest that is good.

        Raises:
            CheckpointError: there is none, it is damaged, or another program wrote it.
        """
        return self._good.first_good(
            step, lambda step: files.shapes(self.folder / str(step)), lambda other: True
        )


def _load(path: Any, metadata: Mapping[str, Any], abstract: Mapping[str, PyTree]) -> dict[str, Any]:
    """Return items of a checkpoint; what another version wrote is told apart from what is damaged.

    Raises:
        CheckpointError: it keeps other state than `abstract`, see `identity.check_state`.
        DamagedError: see `checkpoint_files.load`.
    """
    try:
        return files.load(path, metadata, abstract)
    except DamagedError:
        check_state(files.shapes(path), abstract["variables"], path)
        raise


def _items(state: TrainState) -> dict[str, PyTree]:
    optimizer = {"step": state.step, "opt_state": state.opt_state, "key": state.key}
    return {"variables": state.variables, "optimizer": optimizer}


def _state(items: Mapping[str, PyTree]) -> TrainState:
    variables = dict(items["variables"])
    return TrainState(params=variables.pop("params"), state=variables, **items["optimizer"])
