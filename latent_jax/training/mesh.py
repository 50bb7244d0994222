"""Devices as a mesh with named axes, and the processes that own them.

"data" splits the batch. "model", only under the strategy "tensor", splits the work on one example.
"""

import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from latent_jax.training.config import STRATEGIES

HEARTBEAT_SECONDS = 30
"""A process is taken for dead after so long without a heartbeat. JAX's default is 100, for which
all other machines of a run would wait. The threads that send heartbeats do not need Python's lock,
so a long compilation or garbage collection delays none."""


def initialize_distributed(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> bool:
    """Join the other processes of a run through `jax.distributed`; return whether there are others.

    Arguments that are None come from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
    With none of the three this is a run of one process, unless JAX_DISTRIBUTED=1 asks JAX to find
    the cluster itself (Cloud TPU, Slurm, Open MPI). Call it before anything touches a device.

    A process that has not been heard of for LATENT_JAX_HEARTBEAT_SECONDS (by default 30) is taken
    for dead, and JAX ends the others, which would otherwise wait in a collective forever.

    Raises:
        ValueError: some of the three are given and others are missing, or one is no number.
    """
    environment = os.environ
    given = {
        "coordinator_address": coordinator_address or environment.get("JAX_COORDINATOR_ADDRESS"),
        "num_processes": _first(num_processes, environment.get("JAX_NUM_PROCESSES")),
        "process_id": _first(process_id, environment.get("JAX_PROCESS_ID")),
    }
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 3:
        if environment.get("JAX_DISTRIBUTED") != "1":
            return False
        given = {}
    elif missing:
        raise ValueError(
            f"a run of several processes needs {', '.join(missing)} too: pass it, or set "
            f"{', '.join('JAX_' + name.upper() for name in missing)}"
        )
    # XLA's CPU backend itself has no collectives between processes; Gloo brings them.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    heartbeat = _first(None, environment.get("LATENT_JAX_HEARTBEAT_SECONDS"))
    jax.distributed.initialize(**given, heartbeat_timeout_seconds=heartbeat or HEARTBEAT_SECONDS)
    return jax.process_count() > 1


def _first(argument: int | None, variable: str | None) -> int | None:
    if argument is not None:
        return argument
    return None if variable is None else int(variable)


def make_mesh(
    strategy: str, model_parallel: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Return the mesh over all devices: ("data",), or ("data", "model") under "tensor".

    The second axis exists only where it is used: XLA plans a scanned backward pass over an idle
    axis with needless rematerialization.

    Args:
        strategy: one of `STRATEGIES`.
        model_parallel: devices along "model", under "tensor".
        devices: of the mesh; None = all devices of all processes.

    Raises:
        ValueError: the strategy is unknown, or `model_parallel` does not divide the devices.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    devices = jax.devices() if devices is None else list(devices)
    if strategy != "tensor":
        shape, names = (len(devices),), ("data",)
    else:
        if len(devices) % model_parallel:
            raise ValueError(
                f"model_parallel={model_parallel} does not divide {len(devices)} devices; "
                f"it can be {_join(_divisors(len(devices)))}"
            )
        shape, names = (len(devices) // model_parallel, model_parallel), ("data", "model")
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(shape), devices=devices)


def check_batch(mesh: Mesh, batch_size: int, accumulation: int = 1) -> None:
    """Refuse a global batch whose micro-batches do not spread evenly over the data axis.

    Raises:
        ValueError: with the numbers, and the nearest batch sizes that work.
    """
    if batch_size < 1:
        raise ValueError(f"a batch needs at least 1 row; got batch_size={batch_size}")
    ways = mesh.shape["data"] * accumulation
    if batch_size % ways:
        below, above = batch_size // ways * ways, (batch_size // ways + 1) * ways
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"a global batch of {batch_size} rows does not divide among {mesh.shape['data']} "
            f"devices on the data axis x {accumulation} micro-batches = {ways}: use a batch of "
            f"{nearest}, fewer devices, or another accumulation"
        )


def check_rows_read(mesh: Mesh, batch_size: int, n_read: int) -> None:
    """Refuse a step whose source rows, such as problems that share solutions, do not spread evenly.

    Args:
        mesh: from `make_mesh`.
        batch_size: rows of the global batch.
        n_read: rows that are read for it; each makes batch_size / n_read rows of the batch.

    Raises:
        ValueError: with the numbers, and the nearest batch size that works.
    """
    n_devices = mesh.shape["data"]
    if n_read % n_devices:
        above = (n_read // n_devices + 1) * n_devices * (batch_size // n_read)
        raise ValueError(
            f"a global batch of batch_size={batch_size} rows is made of {n_read} problems, which "
            f"do not divide among {n_devices} devices on the data axis: use a batch of {above}, or "
            "fewer devices"
        )


def is_primary() -> bool:
    """Return whether this process writes files and prints; exactly one does."""
    return jax.process_index() == 0


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(str(n) for n in np.asarray(numbers))
