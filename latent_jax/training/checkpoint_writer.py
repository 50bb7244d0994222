"""Writes checkpoints while training goes on, and removes those that are not kept.

A damaged checkpoint is never deleted or overwritten: when its step is saved again, its folder is
moved to damaged/STEP of the run folder first.
"""

import functools
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from latent_jax.paths import is_remote
from latent_jax.training import checkpoint_files as files
from latent_jax.training.good_steps import GoodSteps
from latent_jax.training.identity import CheckpointError
from latent_jax.training.mesh import is_primary

PyTree = Any

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes into one folder, one checkpoint at a time."""

    def __init__(self, good: GoodSteps, keep_latest: int, keep_best: int, keep_step: int | None):
        """Write nothing yet; see `Checkpoints` for what is kept."""
        self._folder, self._good = good.folder, good
        self._keep = keep_latest, keep_best, keep_step
        self._saving: int | None = None
        self._metric: float | None = None
        self._response: Any = None
        self._removing: threading.Thread | None = None
        # Orbax logs one traceback per thread for a failed write; `wait` raises it once, in words.
        # An own object, because another open folder takes its filter away when it is closed.
        self._filter = functools.partial(_is_no_orbax_error)
        logging.getLogger("absl").addFilter(self._filter)

    def save(
        self,
        step: int,
        items: Mapping[str, PyTree],
        data_state: Any,
        metadata: Mapping[str, Any],
        metric: float | None,
        slice_bytes: int,
    ) -> None:
        """Begin to write a checkpoint; returns as soon as the arrays are copied to the host.

        Args:
            step: of the checkpoint.
            items: pytrees of arrays by name; they may be donated afterwards.
            data_state: JSON tree, of this process's iterator.
            metadata: JSON; "identity" holds the keys of `identity.WAYS_OUT`.
            metric: by which the best is kept, lower is better; None if not measured at this step.
            slice_bytes: see `checkpoint_files.begin_save`.

        Raises:
            CheckpointError: this save, or the one before it, could not be written.
        """
        self.wait()
        self._saving, self._metric = step, metric
        self._guard(lambda: self._begin(items, data_state, metadata, slice_bytes))

    def add_evaluation(self, step: int, changes: Mapping[str, Any], metric: float | None) -> None:
        """See `checkpoint_files.add_evaluation`; the save of this step has ended or is waited for.

        Raises:
            CheckpointError: it could not be written.
        """
        self.wait()
        if is_primary():
            path = self._folder / str(step)
            self._guard(lambda: files.add_evaluation(path, changes, metric))
        self._good.metrics[step] = metric

    def poll(self) -> None:
        """Raise CheckpointError if a save in the background has failed; never waits."""
        if self._response is not None:
            self._guard(lambda: self._finish(timeout=0.0))

    def wait(self) -> None:
        """Wait for the save in the background; raise CheckpointError if it failed."""
        if self._response is not None:
            self._guard(lambda: self._finish(timeout=None))

    def close(self) -> None:
        """Wait for the save in the background, and for what is being removed.

        Raises:
            CheckpointError: the save failed.
        """
        try:
            self.wait()
        finally:
            if self._removing is not None:
                self._removing.join()
            logging.getLogger("absl").removeFilter(self._filter)

    def _begin(self, items, data_state, metadata, slice_bytes: int) -> None:
        step = self._saving
        path = self._folder / str(step)
        if step in self._good.damaged:
            if is_primary():
                logger.warning(
                    "the damaged checkpoint of step %d is moved to %s, and step %d saved anew",
                    step,
                    files.move_aside(path),
                    step,
                )
            files.any_process(False)  # the others must not begin before it is gone
            del self._good.damaged[step]
        metadata = {**metadata, "step": step}
        self._response = files.begin_save(
            path, items, data_state, metadata, self._metric, slice_bytes
        )

    def _finish(self, timeout: float | None) -> None:
        try:
            self._response.result(timeout)
        except TimeoutError:
            if timeout is not None:
                return
            raise
        self._good.metrics[self._saving] = self._metric
        self._saving = self._response = None
        kept = self._good.kept(*self._keep)
        surplus = [step for step in self._good.steps if step not in kept]
        for step in surplus:
            del self._good.metrics[step]
        if surplus and is_primary():
            if self._removing is not None:
                self._removing.join()
            self._removing = threading.Thread(target=self._remove, args=(surplus,))
            self._removing.start()

    def _remove(self, steps: list[int]) -> None:
        for step in steps:
            try:
                files.delete(self._folder / str(step))
            except Exception as error:  # it lies there, and costs space only
                logger.warning("the checkpoint of step %d cannot be removed: %s", step, error)

    def _guard(self, action: Callable[[], Any]) -> None:
        """Run what may raise the error of a background write; leave nothing half-written behind."""
        try:
            action()
        except Exception as error:
            failed, self._saving, self._response = self._saving, None, None
            self._remove_unfinished()
            steps = self._good.steps
            good = (
                f"the checkpoint of step {steps[-1]} is intact"
                if steps
                else "there is no earlier one"
            )
            free, way_out = "", "Start"
            if not is_remote(self._folder):
                free = f" ({shutil.disk_usage(self._folder).free / 1e6:.1f} MB free)"
                way_out = "Free some space and start"
            raise CheckpointError(
                f"writing the checkpoint of step {failed} to {self._folder} failed{free}: "
                f"{_first_line(error)}; {good}. {way_out} the same "
                "command again"
            ) from error

    def _remove_unfinished(self) -> None:
        """Remove what a failed save left, until Orbax's other threads have given up on it too."""
        if is_remote(self._folder):
            return  # without its mark of success a folder counts for nothing; the next start cleans
        quiet = 0
        for _ in range(50):
            quiet = 0 if files.remove_unfinished(self._folder) else quiet + 1
            if quiet == 3:
                return
            time.sleep(0.1)


def _is_no_orbax_error(record: logging.LogRecord) -> bool:
    return not (record.levelno >= logging.ERROR and "orbax" in record.pathname)


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
