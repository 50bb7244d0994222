"""Targets that programs are compiled for: chips that this machine need not have."""

import contextlib
import dataclasses
import os
import re

import jax
from jax.experimental import topologies

from latent_jax.costs.libtpu import find_libtpu
from latent_jax.nearest import check_word
from latent_jax.platform import Chip, Platform, chip

TPU_GENERATIONS = {"v5e": 2, "v5p": 3, "v6e": 2}
"""TPU generation -> number of axes of its torus."""

MAX_DEVICES = 4096
"""Most CPU devices that may stand for GPUs: each takes memory and threads."""

CUDA_CHIPS = ("A100", "H100", "H100 PCIe", "H100 NVL", "H200")

_LIBTPU = {
    # There is no metadata server to ask about this machine.
    "TPU_SKIP_MDS_QUERY": "1",
    # Only the compiler is used, so several processes may load the library at a time.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Without these three the library warns that it cannot find a TPU.
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """The hardware that a program is compiled for.

    Attributes:
        topology: as the user wrote it.
        platform: decides every "auto" of a config.
        devices: of the mesh. Those of a TPU topology can be compiled for but hold no arrays. For
            cuda they are CPU devices, of which only the number matters.
        chip: peaks of one device.
        compiles: whether the compiler is available; if not, programs are lowered only.
    """

    topology: str
    platform: Platform
    devices: tuple[jax.Device, ...]
    chip: Chip
    compiles: bool


def make_target(topology: str, n_devices: int = 1, cuda_chip: str | None = None) -> Target:
    """Return the target of a topology.

    Args:
        topology: a TPU generation and its layout, such as "v5e:4x4" or "v5p:2x2x1"; or "cuda".
        n_devices: number of devices of cuda.
        cuda_chip: one of `CUDA_CHIPS`, the chip of cuda; None = H100.

    Raises:
        ValueError: the topology is unknown, libtpu is missing, an argument for cuda is given with a
            TPU topology, or there are too few CPU devices.
    """
    if topology == "cuda":
        cuda_chip = cuda_chip or "H100"
        check_word("chip", cuda_chip, CUDA_CHIPS)
        return Target(topology, Platform("cuda"), _cpu_devices(n_devices), chip(cuda_chip), False)
    if cuda_chip is not None:
        raise ValueError(f"chip={cuda_chip} is for cuda; {topology} says which chips it has")
    if n_devices != 1:
        raise ValueError(f"n_devices={n_devices} is for cuda; {topology} says it in its layout")
    devices = _tpu_devices(topology)
    return Target(topology, Platform("tpu"), devices, chip(devices[0].device_kind), True)


def stay_on_cpu() -> None:
    """Keep JAX from starting a GPU or TPU that this machine may have; call it before JAX starts."""
    jax.config.update("jax_platforms", "cpu")


def _tpu_devices(topology: str) -> tuple[jax.Device, ...]:
    generation, _, layout = topology.partition(":")
    known = ", ".join(f"{name}:LAYOUT" for name in TPU_GENERATIONS)
    n_more = TPU_GENERATIONS.get(generation, 0) - 1
    if n_more < 0 or not re.fullmatch(rf"[1-9]\d*(x[1-9]\d*){{{n_more}}}", layout):
        raise ValueError(
            f"unknown topology {topology!r}; write {known} with a layout such as 4x4 (v5e, v6e) or "
            "2x2x1 (v5p), or cuda"
        )
    for name, value in _LIBTPU.items():
        os.environ.setdefault(name, value)
    if not find_libtpu():
        raise ValueError(
            f"{topology} needs the compiler of TPUs, libtpu, which is not installed: "
            'python -m pip install -e ".[tpu]" (Linux on x86-64)'
        )
    try:
        return tuple(topologies.get_topology_desc(topology, platform="tpu").devices)
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(f"{topology} is no layout of TPU {generation}: {error}") from error


def _cpu_devices(n_devices: int) -> tuple[jax.Device, ...]:
    if not 1 <= n_devices <= MAX_DEVICES:
        raise ValueError(f"n_devices must be 1 to {MAX_DEVICES}; got {n_devices}")
    if n_devices > 1:
        # JAX may have started, and then their number cannot be changed; it is checked below.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", n_devices)
    devices = jax.devices("cpu")
    if len(devices) < n_devices:
        raise ValueError(
            f"n_devices={n_devices}, but JAX has started with {len(devices)} CPU devices: set "
            f"JAX_NUM_CPU_DEVICES={n_devices}"
        )
    return tuple(devices[:n_devices])
