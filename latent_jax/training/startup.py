"""Where the seconds go from the command to the end of the first step."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import jax

from latent_jax.kept_programs import programs_folder
from latent_jax.platform import Platform


class StartUp:
    """The seconds of a start: phases of the main thread, and work in other threads beside them.

    Attributes:
        phases: seconds by name, of the main thread; they add up to the time until the last mark.
        beside: seconds by name, of other threads during these phases.
    """

    def __init__(self, seconds_ago: float = 0.0):
        """Begin the first phase `seconds_ago` before now."""
        self._last = time.monotonic() - seconds_ago
        self.phases: dict[str, float] = {}
        self.beside: dict[str, float] = {}

    @classmethod
    def of_process(cls) -> Self:
        """Return a start that began with this process, or now on systems other than Linux."""
        return cls(_process_seconds() if sys.platform == "linux" else 0.0)

    def mark(self, phase: str) -> None:
        """Add the seconds since the last mark to a phase."""
        now = time.monotonic()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self._last
        self._last = now

    def compile(self, n_threads: int, **programs: Callable[[], Any]) -> dict[str, Future]:
        """Compile programs in threads; the first ones begin first.

        Args:
            n_threads: programs that are compiled at the same time.
            **programs: functions that compile a program each, by name.

        Returns:
            The futures by name; `result` raises what the compilation raised.
        """

        def timed(name: str, program: Callable[[], Any]) -> Any:
            with self._beside(f"compile {name}"):
                return program()

        pool = ThreadPoolExecutor(n_threads)
        futures = {name: pool.submit(timed, name, make) for name, make in programs.items()}
        pool.shutdown(wait=False)
        return futures

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.beside[name] = time.monotonic() - start

    def record(self) -> dict[str, Any]:
        """Return "seconds" in all, and seconds by phase and by what ran beside, as JSON data."""
        return {
            "seconds": sum(self.phases.values()),
            "phases": dict(self.phases),
            "beside": dict(self.beside),
        }

    def __str__(self) -> str:
        """Return one line for people."""
        phases, beside = (
            ", ".join(f"{name} {seconds:.1f}" for name, seconds in part.items())
            for part in (self.phases, self.beside)
        )
        text = f"first step after {sum(self.phases.values()):.1f} s: {phases}"
        return f"{text} (meanwhile in threads: {beside})" if beside else text


def keep_programs() -> Path | None:
    """Keep compiled programs in the user's cache for later processes, where that is safe.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false turns it off.
    Call it before anything is compiled; it starts JAX's backend.

    Returns:
        The folder; None where another was chosen or none is used.
    """
    if jax.config.jax_compilation_cache_dir is not None or not Platform.current().keeps_programs:
        return None
    folder = programs_folder("programs")
    if folder is None:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _process_seconds() -> float:
    """Return how long ago this process began, as Linux tells it (proc(5), starttime)."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        # The second field is the name of the program, in brackets, and may hold anything.
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[22 - 3])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
