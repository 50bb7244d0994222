"""Early ends of a run: it is asked to stop, or another of its processes is gone.

SIGTERM and the first Ctrl-C ask a run to stop. The loop saves and stops between two batches; before
and after the loop nothing is saved, but everything that is open is closed.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils


class TrainingInterrupted(SystemExit):
    """The run was asked to stop and has saved; its exit code is 128 + the signal's number."""


class LostProcessError(ValueError):
    """A run of several processes lost one; the others must not wait for it."""


@contextlib.contextmanager
def name_lost_process(finished_steps: Callable[[], int | None]) -> Iterator[None]:
    """Turn an error of JAX's runtime in a `with` block into a LostProcessError.

    In a run of one process, and where a device has no memory left, the error stays as it is.

    Args:
        finished_steps: returns the number of finished steps; None before the run has a state.

    Raises:
        LostProcessError: most likely because another process is gone.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        step = finished_steps()
        where = "the start" if step is None else f"step {step + 1}"
        raise LostProcessError(
            f"{where} failed in process {jax.process_index()} of {jax.process_count()}, most "
            f"likely because another process is gone (see its log): "
            f"{str(error).splitlines()[0][:300]}. The same command on all machines resumes from "
            "the last checkpoint"
        ) from error


class StopSignal:
    """A `with` block inside which SIGTERM and SIGINT set `requested` instead of ending the process.

    The second signal of a kind does what it did before. In a run of several processes, JAX's
    preemption service receives the SIGTERM of any of them, and all stop at the same point of their
    common work.
    """

    def __init__(self):
        """Begin without a signal; `__enter__` installs the handlers."""
        self.signal: int | None = None
        self._previous = {}
        self._times_asked = 0

    def __enter__(self):
        """Take over the signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            # With several processes, SIGTERM belongs to the preemption service.
            kinds = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
            self._previous = {kind: signal.signal(kind, self._on_signal) for kind in kinds}
        return self

    def __exit__(self, *_):
        """Give the signals back."""
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)

    def _on_signal(self, kind, frame):
        del frame
        self.signal = kind
        signal.signal(kind, self._previous[kind])

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self.signal is not None

    def agreed(self) -> bool:
        """Return whether all processes stop here; all must call it at the same points."""
        # The service stops all processes one call after the last one that any of them has made.
        self._times_asked += 1
        if (
            jax.process_count() > 1
            and not self.requested
            and multihost_utils.reached_preemption_sync_point(self._times_asked)
        ):
            self.signal = signal.SIGTERM
        return self.requested
