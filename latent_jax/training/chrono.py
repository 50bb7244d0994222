"""Seconds of training: a clock that stands still during evaluation and checkpoints."""

import contextlib
import time
from collections.abc import Iterator


class Chrono:
    """A clock that runs from `start` on, except inside `pause`."""

    def __init__(self, seconds: float = 0.0):
        """Begin at the seconds of the run so far; the clock stands still until `start`."""
        self._total = seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._total + running

    def start(self) -> None:
        """Let the clock run."""
        if self._since is None:
            self._since = time.monotonic()

    def stop(self) -> None:
        """Let the clock stand."""
        self._total, self._since = self.seconds, None

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Let the clock stand inside a `with` block, and run after it if it ran before."""
        was_running = self._since is not None
        self.stop()
        try:
            yield
        finally:
            if was_running:
                self.start()
