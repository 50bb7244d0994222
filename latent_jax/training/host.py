"""The CPU as a device: all its cores at work, and memory that is kept from step to step.

XLA's CPU backend runs element-wise work on one core. It also allocates the buffers of a step anew
every time, and glibc maps and unmaps them page by page. configs/results/cpu_speed.md has what each
remedy gains.

glibc gives each thread a heap of its own, and maps what is larger than such a heap. So a large step
needs one heap for all threads; but a step of a thousand small operations on two devices then takes
twice as long, because each of them waits for the lock of that heap.
"""

import ctypes
import math
import os
import platform
from collections.abc import Iterable

import jax

MAX_CPU_DEVICES = 8
"""Cores beyond these get no device of their own: the threads of a device's matmuls use them."""

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

THREAD_HEAP = 64 << 20
"""Bytes that the heap of a thread can have; glibc's HEAP_MAX_SIZE on 64-bit machines."""

LARGE_BLOCK = 1 << 30
"""Blocks of so many bytes for which the heap has no room are mapped, and given back when they are
freed. XLA allocates all temporary arrays of a program as one block. Each program has another size,
and small blocks in use lie between freed ones of several GB; so few fit where another one was, and
a run of 135 M parameters took 22 GB in place of 8."""


def keep_memory() -> bool:
    """Tell glibc to keep freed memory for the next step; return whether it was told.

    Heaps are never given back, so that the process stays at its peak; only blocks of `LARGE_BLOCK`
    are. Another libc, or an environment that sets MALLOC_* itself, is left alone. Call it before
    large arrays exist.
    """
    # -1 turns trimming off. A pad above the size of a thread's heap keeps that heap; pages of it
    # that nobody has touched take no memory.
    kept = ((_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 4 * THREAD_HEAP))
    # glibc before 2.35 takes no threshold above 32 MB: there nothing is mapped at all.
    return _tell_malloc((_M_MMAP_THRESHOLD, LARGE_BLOCK), *kept) or _tell_malloc(
        (_M_MMAP_MAX, 0), *kept
    )


def share_heap(
    n_positions: float = math.inf,
    d_model: int = 1,
    n_layers: int = 1,
    *,
    n_heads: int = 0,
    row_length: int = 0,
    n_devices: int = 0,
) -> bool:
    """Give all threads one heap if a step is larger than the heap of a thread; return whether.

    Without arguments the step counts as large. With one device nobody waits for the heap's lock,
    and the heap is shared whatever the step. Call it before JAX's backends start: a thread keeps
    the heap that it began with.

    Args:
        n_positions: of a step on one device.
        d_model: width of the stream.
        n_layers: blocks, each of which keeps about 17 float32 numbers for each one of the stream.
        n_heads: of attention, each of which keeps a float32 weight per pair of positions.
        row_length: positions that a position may attend to.
        n_devices: devices of this process, where known.
    """
    per_position = 17 * d_model + n_heads * row_length
    is_large = 4 * per_position * n_positions * n_layers > THREAD_HEAP
    return (n_devices == 1 or is_large) and _tell_malloc((_M_ARENA_MAX, 1))


def _tell_malloc(*settings: tuple[int, int]) -> bool:
    """Set parameters of glibc's malloc, unless there is another or the user has; return whether."""
    if platform.libc_ver()[0] != "glibc" or any(key.startswith("MALLOC_") for key in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def spread_over_cores(batch_sizes: Iterable[int]) -> int:
    """Give the CPU backend a device per core, as far as every batch divides; return how many.

    A number that the user chose (JAX_NUM_CPU_DEVICES, XLA_FLAGS) stays, and so does the layout of a
    run of several processes; then 0 is returned. Call it before JAX's backends start.

    Args:
        batch_sizes: rows of a micro-batch of each program that this process will run.

    Raises:
        RuntimeError: JAX's backends have started.
    """
    chosen = jax.config.jax_num_cpu_devices > 0 or (
        "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    )
    if chosen or jax.distributed.is_initialized():
        return 0
    rows = math.gcd(*batch_sizes)
    most = min(n_cores(), MAX_CPU_DEVICES)
    n_devices = max(n for n in range(1, most + 1) if rows % n == 0)
    jax.config.update("jax_num_cpu_devices", n_devices)
    return n_devices


def n_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
