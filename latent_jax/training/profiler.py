"""A trace of some steps of a run: what the devices did, and what they waited for."""

from pathlib import Path
from typing import Any

import jax

from latent_jax.paths import is_remote

SKIPPED = 5
"""Steps that are not traced: the first ones fill caches and queues."""

STEP = "train step"
"""Name of the event that `mark_step` writes into a trace."""


def mark_step(step: int) -> jax.profiler.StepTraceAnnotation:
    """Return a context that marks a step in the trace, if one runs."""
    return jax.profiler.StepTraceAnnotation(STEP, step_num=step)


class Profiler:
    """Traces `n_steps` steps of a run into a folder, once.

    A trace opens in XProf (`pip install xprof; xprof FOLDER`), and its .trace.json.gz in
    ui.perfetto.dev.
    """

    def __init__(self, folder: Path, n_steps: int, step: int, total_steps: int):
        """Begin at `step` of `total_steps`; with `n_steps` = 0 nothing is traced.

        Raises:
            ValueError: the folder is in a bucket, where a trace cannot be written.
        """
        if n_steps and is_remote(folder):
            raise ValueError(
                f"training.profile={n_steps} writes to a disk only, and the run folder is {folder}"
            )
        self._folder, self._running = folder, False
        self._first = max(step, min(step + SKIPPED, total_steps - n_steps))
        self._last = min(self._first + n_steps, total_steps)

    def before(self, step: int, state: Any) -> None:
        """Start the trace if the step after `step` is the first of it.

        It first waits for `state`, the result of `step`, so that the trace holds nothing of it.
        """
        if step == self._first < self._last:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, state: Any) -> None:
        """End the trace if `step` was its last, once `state`, the result of `step`, is there."""
        if self._running and step == self._last:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Write a trace that still runs."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
