"""Checkpoints of a run (Orbax): written while training goes on, checked when they are read.

One checkpoint is three items:

    variables   Flax collections
    optimizer   step, optimizer state, random key
    run         metadata.json, and the state of every process's data iterator

Orbax renames a finished folder into place; in a bucket it writes a last file that marks the folder
as complete. So a killed process leaves no half checkpoint. Orbax does not notice a flipped bit
inside an array; a digest of the bits, kept in the metadata, shows it.
"""

import functools
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from orbax.checkpoint import v1 as ocp

from latent_jax.paths import is_remote, open_path
from latent_jax.training.identity import CheckpointError, check_identity, describe_shapes, digests
from latent_jax.training.mesh import is_primary
from latent_jax.training.run_folder import check_path
from latent_jax.training.signals import LostProcessError
from latent_jax.training.state import TrainState

PyTree = Any

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
            RunFolderError: see `run_folder.check_path`.
        """
        check_path(folder)
        self.folder = open_path(folder)
        if not is_remote(folder):
            self.folder = self.folder.absolute()
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            self.folder,
            # The loop decides when to save; this says yes to every step.
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep_latest),
                    policies.CustomSteps([] if keep_step is None else [keep_step]),
                    policies.BestN(
                        get_metric_fn=lambda metrics: metrics["metric"],
                        reverse=True,
                        n=keep_best,
                        keep_checkpoints_without_metrics=False,
                    ),
                ]
            ),
            cleanup_tmp_directories=not is_reader,
        )
        self._saving: int | None = None
        self._has_failed = False
        # Orbax logs one traceback per thread for a failed write; `wait` raises it once, in words.
        # Each folder needs its own filter object, because closing one folder removes its filter.
        self._filter = functools.partial(_is_no_orbax_error)
        logging.getLogger("absl").addFilter(self._filter)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # A save of several processes waits for all of them, so it would never end without one.
        if kind is not LostProcessError:
            self.close()

    @property
    def steps(self) -> list[int]:
        """Steps that have a finished checkpoint, ascending."""
        return [c.step for c in self._checkpointer.checkpoints if c.step != self._saving]

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
        self.wait()
        step = int(state.step)
        items = _items(state)
        metadata = {
            **metadata,
            "step": step,
            "metric": metric,
            "digests": digests(items),
        }
        files = {f"data_{jax.process_index()}.json": data_state}
        if is_primary():
            files["metadata.json"] = metadata
        self._saving = step
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = SLICE_BYTES
        with context:
            self._guard(
                lambda: self._checkpointer.save_checkpointables_async(
                    step,
                    {**items, "run": _JsonFiles(files)},
                    metrics=None if metric is None else {"metric": metric},
                )
            )

    def poll(self) -> None:
        """Raise CheckpointError if a save in the background has failed; never waits."""
        if self._saving is not None and not self._checkpointer.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Wait for the save in the background; raise CheckpointError if it failed."""
        self._guard(self._checkpointer.wait)
        self._saving = None

    def close(self) -> None:
        """Wait for the save in the background, and free threads.

        Raises:
            CheckpointError: the save failed.
        """
        self.wait()
        try:
            self._checkpointer.close()
        except Exception:
            # Orbax raises a failed write once more here; it was reported when it was found.
            if not self._has_failed:
                raise
        finally:
            logging.getLogger("absl").removeFilter(self._filter)

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

        Checkpoints after `step` are removed: the run that goes on from here writes them anew.

        Args:
            abstract: TrainState of `ShapeDtypeStruct`s with shardings.
            identity: what must be the same, see `identity.WAYS_OUT`.
            step: which; -1 is the latest.

        Raises:
            CheckpointError: there is none, it is damaged, or it belongs to another run.
        """
        step = self._resolve(step)
        metadata = self._read_metadata(step)
        check_identity(metadata["identity"], identity, self.folder / str(step))
        try:
            items = self._load(step, metadata, _items(abstract))
            data_state = self._read_json(step, f"data_{jax.process_index()}.json")
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {self._way_back(step, abstract)}") from error
        for later in [s for s in self.steps if s > step]:
            self._checkpointer.delete(later)
        return Restored(_state(items), data_state, metadata)

    def restore_variables(
        self, abstract: Mapping[str, PyTree], step: int | str = -1
    ) -> tuple[dict[str, PyTree], dict[str, Any]]:
        """Load the Flax collections alone, for evaluation; return them and the metadata.

        Args:
            abstract: collections of `ShapeDtypeStruct`s with shardings.
            step: which; -1 is the latest, "best" the one with the lowest metric.

        Raises:
            CheckpointError: there is none, it is damaged, or it belongs to another model.
        """
        step = self.best_step() if step == "best" else self._resolve(step)
        metadata = self._read_metadata(step)
        shapes = {"parameters": describe_shapes(abstract["params"])}
        check_identity(metadata["identity"], shapes, self.folder / str(step))
        return self._load(step, metadata, {"variables": dict(abstract)})["variables"], metadata

    def variable_shapes(self, step: int = -1) -> tuple[int, dict[str, PyTree]]:
        """Return the step, and the Flax collections of its checkpoint as `ShapeDtypeStruct`s.

        Args:
            step: which; -1 is the latest.

        Raises:
            CheckpointError: there is none, or another program wrote it.
        """
        step = self._resolve(step)
        self._read_metadata(step)
        tree = ocp.metadata(self.folder / str(step), "variables").metadata
        return step, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)

    def best_step(self) -> int:
        """Return the step with the lowest metric; the latest if none was measured."""
        self._resolve(-1)
        metrics = {step: self._read_metadata(step)["metric"] for step in self.steps}
        measured = [step for step in self.steps if metrics[step] is not None]
        return min(measured, key=lambda step: metrics[step]) if measured else self.steps[-1]

    def _resolve(self, step: int) -> int:
        if not self.steps:
            raise CheckpointError(f"there is no checkpoint in {self.folder}: train first")
        if step == -1:
            return self.steps[-1]
        if step not in self.steps:
            raise CheckpointError(
                f"there is no checkpoint of step {step} in {self.folder}; there are {self.steps}"
            )
        return step

    def _read_metadata(self, step: int) -> dict[str, Any]:
        if not (self.folder / str(step) / "run").is_dir():
            raise CheckpointError(
                f"{self.folder / str(step)} was not written by latent_jax (it has no item 'run'): "
                "choose another workdir"
            )
        return self._read_json(step, "metadata.json")

    def _read_json(self, step: int, name: str) -> Any:
        path = self.folder / str(step) / "run" / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint of step {step} is damaged: {path}: {error}; {self._others(step)}"
            ) from error

    def _load(self, step: int, metadata: Mapping[str, Any], abstract: dict) -> dict[str, PyTree]:
        folder = self.folder / str(step)
        try:
            items = self._checkpointer.load_checkpointables(step, abstract)
        except Exception as error:
            # Orbax wraps the cause several times; the innermost exception says what is wrong.
            while error.__cause__ is not None:
                error = error.__cause__
            raise CheckpointError(
                f"the checkpoint of step {step} is truncated or damaged: {folder}: "
                f"{type(error).__name__}: {str(error)[:300]}"
            ) from error
        for name, digest in digests(items).items():
            if digest != metadata["digests"][name]:
                raise CheckpointError(
                    f"the checkpoint of step {step} is damaged: the bits of {folder / name} have "
                    f"digest {digest}, and were saved with {metadata['digests'][name]}"
                )
        # A typed key comes back with its sharding spelt P(None), which does not fit a scalar.
        return jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), items, abstract)

    def _others(self, step: int) -> str:
        others = [other for other in self.steps if other != step]
        if not others:
            return "there is no other checkpoint: remove the folder to start anew"
        return f"set restore_step to another one to go on from there: {others}"

    def _way_back(self, step: int, abstract: TrainState) -> str:
        """Name the latest earlier checkpoint that does load."""
        for other in reversed([s for s in self.steps if s < step]):
            try:
                self._load(other, self._read_metadata(other), _items(abstract))
            except CheckpointError:
                continue
            return (
                f"the checkpoint of step {other} is good: set restore_step={other} to go on from "
                "there (checkpoints after it are then removed)"
            )
        return "no earlier checkpoint is good: remove the folder to start anew"

    def _remove_unfinished(self) -> None:
        """Remove what a failed save left, until Orbax's other threads have given up on it too."""
        if is_remote(self.folder):
            return  # readers ignore a folder without its last file, and the next start removes it
        quiet = 0
        for _ in range(50):
            unfinished = list(self.folder.glob("*orbax-checkpoint-tmp*"))
            for path in unfinished:
                shutil.rmtree(path, ignore_errors=True)
            quiet = 0 if unfinished else quiet + 1
            if quiet == 3:
                return
            time.sleep(0.1)

    def _guard(self, action: Callable[[], Any]) -> None:
        """Run an action of Orbax; if a write has failed, remove what it left and say so."""
        try:
            action()
        except Exception as error:
            failed, self._saving = self._saving, None
            self._has_failed = True
            self._remove_unfinished()
            self._checkpointer.reload()
            good = "there is no earlier checkpoint"
            if self.steps:
                good = f"the checkpoint of step {self.steps[-1]} is intact"
            free, way_out = "", "Start"
            if not is_remote(self.folder):
                free = f" ({shutil.disk_usage(self.folder).free / 1e6:.1f} MB free)"
                way_out = "Free some space and start"
            raise CheckpointError(
                f"writing the checkpoint of step {failed} to {self.folder} failed{free}: "
                f"{_first_line(error)}; {good}. {way_out} the same command again"
            ) from error


class _JsonFiles:
    """Small JSON files, serialized when the save begins (Orbax's `StatefulCheckpointable`)."""

    def __init__(self, files: Mapping[str, Any]):
        self._files = {name: json.dumps(value) for name, value in files.items()}

    async def save(self, directory):
        async def write():
            path = await directory.await_creation()
            for name, text in self._files.items():
                (path / name).write_text(text)

        return write()

    async def load(self, directory):
        raise NotImplementedError(f"{directory} is read by Checkpoints itself")


def _is_no_orbax_error(record: logging.LogRecord) -> bool:
    return not (record.levelno >= logging.ERROR and "orbax" in record.pathname)


def _items(state: TrainState) -> dict[str, PyTree]:
    optimizer = {"step": state.step, "opt_state": state.opt_state, "key": state.key}
    return {"variables": state.variables, "optimizer": optimizer}


def _state(items: Mapping[str, PyTree]) -> TrainState:
    variables = dict(items["variables"])
    return TrainState(params=variables.pop("params"), state=variables, **items["optimizer"])


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
