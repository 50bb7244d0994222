"""The Ray engine: cells trained on a cluster whose nodes share a disk.

It needs `pip install -e .[ray]`. When a node dies, its jobs are started again on another node and
go on from their last checkpoint.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ray
from ray.exceptions import RayError

from latent_jax.experiments.sweep.worker import share_compiled, work_off

Job = dict[str, Any]

CONNECT_SECONDS = 10.0
"""How long the head node may take to answer."""


class RayEngine:
    """Runs jobs as tasks of a Ray cluster; the schedule, not Ray, starts failed ones again.

    Args:
        n_workers: jobs at the same time, where a cluster is started on this machine.
        address: of a running cluster: "auto" (one that this machine is part of), HOST:6379 (the
            same, by its head node) or ray://HOST:10001 (from a machine that is not part of it and
            shares its disk); empty starts one on this machine.
    """

    def __init__(self, n_workers: int, address: str):
        """Start nothing yet."""
        self._n_workers, self._address = n_workers, address
        self._pending: dict[ray.ObjectRef, Job] = {}

    def __enter__(self) -> "RayEngine":
        """Join the cluster or start one.

        Raises:
            ValueError: there is no cluster at the address.
        """
        words: dict[str, Any] = {"address": self._address or "local", "log_to_driver": False}
        if not self._address:
            words |= {"num_cpus": self._n_workers, "include_dashboard": False}
        try:
            _check_port(self._address)
            ray.init(**words)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"no Ray cluster answers at {self._address!r} ({reason}): start one with "
                "ray start --head, and give --address=auto, HOST:6379 or ray://HOST:10001, or none"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel running jobs, and leave the cluster."""
        for task in self._pending:
            ray.cancel(task, force=True)
        ray.shutdown()

    def run(
        self, next_job: Callable[[], Job | None], seconds: float
    ) -> Iterator[tuple[Job, str | None] | None]:
        """Yield each job that ended, with None or its error; see `LocalEngine.run`."""
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        needs = {"num_gpus": 1} if has_gpus else {"num_cpus": 1}
        task = ray.remote(max_retries=0, **needs)(_work_off)
        while True:
            # Nodes come and go, so the number of jobs that fit changes.
            slots = int(ray.cluster_resources().get("GPU" if has_gpus else "CPU", 0))
            while len(self._pending) < max(slots, 1) and (job := next_job()) is not None:
                self._pending[task.remote({**job, "cwd": os.getcwd()})] = job
            if not self._pending:
                return
            ended, _ = ray.wait([*self._pending], num_returns=1, timeout=seconds)
            for reference in ended:
                yield self._pending.pop(reference), _error_of(reference)
            if not ended:
                yield None


def _check_port(address: str) -> None:
    """Raise OSError where nothing listens; Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address)
    if found is not None:
        socket.create_connection((found[1], int(found[2])), CONNECT_SECONDS).close()


def _work_off(job: Job) -> str | None:
    """Do one job in a worker of the cluster; return None or the error."""
    os.chdir(job["cwd"])
    if not ray.get_gpu_ids() and jax.config.jax_num_cpu_devices < 1:
        jax.config.update("jax_num_cpu_devices", 1)
    share_compiled(job["folder"])
    try:
        work_off(job)
    except ValueError as error:
        return str(error)
    return None


def _error_of(reference: ray.ObjectRef) -> str | None:
    try:
        return ray.get(reference)
    except RayError as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
