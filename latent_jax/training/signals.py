"""SIGTERM and the first Ctrl-C as a wish to stop, which the loop grants between two steps."""

import signal
import threading

import jax
from jax.experimental import multihost_utils


class TrainingInterrupted(SystemExit):
    """The run was asked to stop and has saved; its exit code is 128 + the signal's number."""


class StopSignal:
    """A `with` block inside which SIGTERM and SIGINT set `requested` instead of ending the process.

    The second signal of a kind does what it always did. Among several processes JAX's preemption
    service takes SIGTERM, and they all agree on one step.
    """

    def __init__(self):
        """Install nothing yet."""
        self.signal: int | None = None
        self._previous = {}

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

    def agreed(self, step: int) -> bool:
        """Return whether all processes stop after `step`; all must ask after every step."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.requested
