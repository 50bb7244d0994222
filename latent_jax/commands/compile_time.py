"""How much of a stretch of time JAX has traced, lowered and compiled programs."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from jax import monitoring

COMPILING = "/jax/core/compile/"
"""Begins the names of JAX's events of tracing, lowering and compiling."""


class CompileTime:
    """The seconds of compilation so far.

    Attributes:
        spans: when each event of it began and ended.
    """

    def __init__(self):
        """Begin without events."""
        self.spans: list[tuple[float, float]] = []

    @property
    def seconds(self) -> float:
        """Seconds within events; those within another event, or of two threads, count once."""
        return covered(self.spans)

    def __call__(self, event: str, seconds: float, **_: Any) -> None:
        """Take an event that ends now."""
        if event.startswith(COMPILING):
            now = time.perf_counter()
            self.spans.append((now - seconds, now))


@contextlib.contextmanager
def compile_time() -> Iterator[CompileTime]:
    """Measure what is compiled within this context."""
    measured = CompileTime()
    monitoring.register_event_duration_secs_listener(measured)
    try:
        yield measured
    finally:
        monitoring.unregister_event_duration_listener(measured)


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Return the length of the union of spans."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
