"""The local engine: several workers on the cores of this machine."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from latent_jax.experiments.sweep.worker import serve

Job = dict[str, Any]


@dataclasses.dataclass
class _Worker:
    """A process, the connection to it, and the job that it is doing."""

    process: multiprocessing.Process
    connection: Connection
    slot: int
    job: Job | None = None


class LocalEngine:
    """Runs jobs in worker processes; a worker that dies is replaced.

    Args:
        folder: of the sweep.
        n_workers: jobs at the same time; the cores are shared out evenly.
    """

    def __init__(self, folder: Path, n_workers: int):
        """Start nothing yet."""
        self._folder, self.n_slots = folder, n_workers
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def __enter__(self) -> "LocalEngine":
        """Start the workers."""
        self._workers = [self._start(slot) for slot in range(self.n_slots)]
        return self

    def __exit__(self, *_: object) -> None:
        """End idle workers, ask busy ones to save and end, and wait for all."""
        for worker in self._workers:
            if worker.job is None:
                _send(worker, None)
            elif worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGTERM)
        for worker in self._workers:
            worker.process.join()

    def run(
        self, next_job: Callable[[], Job | None], seconds: float
    ) -> Iterator[tuple[Job, str | None] | None]:
        """Yield each job that ended, with None or its error; and None whenever none has ended.

        Args:
            next_job: returns a job that may begin now, or None if there is none.
            seconds: how long to wait for a job to end before None is yielded.
        """
        while True:
            for worker in self._workers:
                if worker.job is None and (job := next_job()) is not None:
                    worker.job = job
                    _send(worker, job)
            busy = [worker for worker in self._workers if worker.job is not None]
            if not busy:
                return
            signs = {w.connection: w for w in busy} | {w.process.sentinel: w for w in busy}
            ended = {id(w): w for w in (signs[sign] for sign in wait([*signs], seconds))}
            for worker in ended.values():
                job, worker.job = worker.job, None
                yield job, self._answer(worker)
            if not ended:
                yield None

    def _answer(self, worker: _Worker) -> str | None:
        with contextlib.suppress(EOFError, OSError):
            if worker.connection.poll():
                return worker.connection.recv()
        worker.process.join()
        code = worker.process.exitcode
        self._workers[worker.slot] = self._start(worker.slot)
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the worker process ended ({reason}); see {self._log(worker.slot)}"

    def _start(self, slot: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve,
            args=(theirs, str(self._folder), self._cores(slot), str(self._log(slot))),
            daemon=False,
        )
        process.start()
        theirs.close()
        return _Worker(process, ours, slot)

    def _cores(self, slot: int) -> list[int]:
        if not hasattr(os, "sched_getaffinity"):
            return []
        cores = sorted(os.sched_getaffinity(0))
        return cores[slot :: self.n_slots] if self.n_slots <= len(cores) else []

    def _log(self, slot: int) -> Path:
        return self._folder / "logs" / f"worker_{slot}.txt"


def _send(worker: _Worker, message: Any) -> None:
    """Send a message; if the worker is gone, its sentinel says so later."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        worker.connection.send(message)
