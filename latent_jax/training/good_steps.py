"""Which checkpoints of a run are good, which is taken, and which are kept.

A damaged one is named in one line and left as it is: the newest good one serves instead, unless the
damaged one is asked for by its step, which is an error. It never counts among those that are kept.
Damaged is what was read and found wrong. Where the system fails to read, nothing serves instead.
"""

import logging
from collections.abc import Callable
from typing import Any

from latent_jax.system_errors import away
from latent_jax.training import checkpoint_files as files
from latent_jax.training.checkpoint_files import DamagedError
from latent_jax.training.identity import CheckpointError
from latent_jax.training.mesh import is_primary

logger = logging.getLogger(__name__)


class GoodSteps:
    """The checkpoints of one folder, sorted by whether they are good.

    Attributes:
        folder: of all of them.
        metrics: of those that are not known to be damaged, by step; None where not measured.
        damaged: why, of the others by step.
    """

    def __init__(self, folder: Any):
        """Look at the small files of every checkpoint; arrays are checked when they are loaded."""
        self.folder = folder
        self.metrics: dict[int, float | None] = {}
        self.damaged: dict[int, str] = {}
        self._told: set[int] = set()
        for step in files.finished_steps(folder):
            self._look_at(step)

    @property
    def steps(self) -> list[int]:
        """Those that are not known to be damaged, ascending."""
        return sorted(self.metrics)

    def kept(self, n_latest: int, n_best: int, step: int | None) -> set[int]:
        """Return the good steps that are kept: the latest, the best, and one more."""
        latest = self.steps[max(len(self.steps) - n_latest, 0) :]
        return {*latest, *self._ranked()[:n_best], step}

    def _ranked(self) -> list[int]:
        """Return the steps that were measured, the best first and of equal ones the latest."""
        measured = [step for step in self.metrics if self.metrics[step] is not None]
        return sorted(measured, key=lambda step: (self.metrics[step], -step))

    def _look_at(self, step: int) -> None:
        """Sort a checkpoint by what its small files say; all processes agree on it.

        Raises:
            AwayError: the system failed to read them, in any process.
        """
        failed, metric, reason = None, None, ""
        try:
            metric = files.read_metadata(self.folder / str(step))["metric"]
        except DamagedError as error:
            reason = str(error)
        except OSError as error:
            failed = error
        if files.any_process(failed is not None):
            # It says nothing of the checkpoint: another one must not serve in its place.
            raise away(self.folder / str(step), failed or OSError("in another process")) from failed
        if files.any_process(bool(reason)):
            # A run that trains may have deleted it just now.
            if (self.folder / str(step)).exists():
                self.damaged[step] = reason or "see another process"
        else:
            self.metrics[step] = metric

    def candidates(self, step: int | str) -> list[int]:
        """Return the steps to try for what is asked, the first choice first."""
        if isinstance(step, int) and step != -1:
            if step in self.damaged:
                raise CheckpointError(
                    f"the checkpoint of step {step} is damaged: {self.damaged[step]}; "
                    f"{self._others(step)}"
                )
            if step not in self.metrics:
                there = f"in {self.folder}; there are {self.steps}"
                raise CheckpointError(f"there is no checkpoint of step {step} {there}")
            return [step]
        if not self.metrics and not self.damaged:
            raise CheckpointError(f"there is no checkpoint in {self.folder}: train first")
        newest = self.steps[::-1]
        if step == "best":
            ranked = self._ranked()
            newest = ranked + [s for s in newest if s not in ranked]
        if not newest:
            raise self._none_good()
        return newest

    def first_good(
        self, step: int | str, load: Callable[[int], Any], is_good: Callable[[int], bool]
    ) -> tuple[int, Any]:
        """Return the first step that loads, and what it gives; name those that do not.

        Args:
            step: which one is asked for.
            load: gives what a step holds, or raises DamagedError.
            is_good: whether another one loads, for the way out where one is asked for by its step.
        """
        candidates = self.candidates(step)
        for candidate in candidates:
            try:
                found = load(candidate)
            except DamagedError as error:
                self.metrics.pop(candidate)
                self.damaged[candidate] = str(error)
                if step not in (-1, "best"):
                    raise CheckpointError(
                        f"the checkpoint of step {step} is damaged: {error}; "
                        f"{self._way_back(candidate, is_good)}"
                    ) from error
                continue
            if step in (-1, "best"):
                self._tell_damaged(candidate)
            return candidate, found
        raise self._none_good()

    def _tell_damaged(self, used: int) -> None:
        for step in sorted(self.damaged.keys() - self._told):
            self._told.add(step)
            if is_primary():
                logger.warning(
                    "the checkpoint of step %d is damaged and left as it is: %s; that of step %d "
                    "is used",
                    step,
                    self.damaged[step],
                    used,
                )

    def _none_good(self) -> CheckpointError:
        reasons = "; ".join(
            f"step {step} is damaged: {self.damaged[step]}" for step in sorted(self.damaged)[::-1]
        )
        return CheckpointError(
            f"no checkpoint in {self.folder} is good: {reasons}; no earlier checkpoint is good: "
            "restore one from a copy, choose another workdir, or remove the folder to start anew"
        )

    def _others(self, step: int) -> str:
        others = [other for other in self.steps if other != step]
        if not others:
            return "there is no other checkpoint: remove the folder to start anew"
        return f"set restore_step, or --checkpoint, to another one: {others}"

    def _way_back(self, step: int, is_good: Callable[[int], bool]) -> str:
        """Name the latest earlier checkpoint that does load."""
        for other in reversed([s for s in self.steps if s < step]):
            if is_good(other):
                return (
                    f"the checkpoint of step {other} is good: set restore_step={other} to go on "
                    "from there (good checkpoints after it are then removed), or "
                    f"--checkpoint={other} to read it"
                )
        return f"no earlier checkpoint is good; {self._others(step)}"
