"""The one place that knows a backend: what "auto" means on it, and what its chips can do.

A program is made for a platform that is given. So a laptop can trace, compile and cost the program
of a GPU or of a TPU slice, and tests do. Every choice below rests on a measurement, which
configs/results/accelerators.md or cpu_speed.md has, or on what the platform's compiler accepts.
"""

import dataclasses
from typing import Any, Self

import jax

from latent_jax.nearest import check_word

PLATFORMS = ("cpu", "cuda", "tpu")
"""Words of `jax.export` and of `jax.jit(...).lower(lowering_platforms=...)`."""

MAX_UNROLLED = {"cpu": 8, "cuda": 16, "tpu": 0}
"""Deepest stack of blocks that is unrolled where the config leaves the choice open. A loop stacks
what the backward pass needs and slices it again: a fifth of a step on CPU, a quarter on an H100.
Unrolled, every layer is compiled by itself."""

BLOCKS_FROM = 8192
"""Ids from which on a CPU computes the cross-entropy in blocks of the vocabulary."""

OPTIMIZED_FROM = 40_000_000
"""Parameters from which on drawing them once is worth optimizing on a CPU: at 28M it took 6.5 s and
optimized 7.0 s, at 56M 12.4 and 12.0 s, at 124M 12.3 and 4.8 s (2 cores)."""

BYTE_MODEL_LANES = {"cpu": 64, "cuda": 1024, "tpu": 1024}
"""Texts that one worker of a byte model reads side by side. On CPU: what keeps a core busy. On a
chip: as many as a core codes, at 2 to 4 microseconds a byte, while the chip steps for the other
workers; and few enough that the caches of all of them fit."""

BYTE_MODEL_WORKERS = 16
"""Most workers of a byte model that share one chip, each with caches of its own there."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peaks of one device, by its vendor's data sheet.

    Attributes:
        name: how tables call it.
        flops: dense bfloat16 FLOP/s.
        memory_bytes: of its fast memory.
        memory_bandwidth: bytes/s between that memory and its cores.
        link_bandwidth: bytes/s that one device sends to others of its slice or node.
    """

    name: str
    flops: float
    memory_bytes: float
    memory_bandwidth: float
    link_bandwidth: float


_GIB = 2.0**30

CHIPS = (
    # (part of jax.Device.device_kind in lower case, the chip); the first that matches counts.
    # NVIDIA: data sheets of A100 (SXM, 80 GB), H100 (SXM, PCIe, NVL) and H200; NVLink one way.
    # TPU: cloud.google.com/tpu/docs/v4, v5e, v5p, v6e; all links of a chip, one way.
    ("h100 pcie", Chip("H100 PCIe", 756e12, 80 * _GIB, 2.0e12, 300e9)),
    ("h100 nvl", Chip("H100 NVL", 835e12, 94 * _GIB, 3.9e12, 300e9)),
    ("h100", Chip("H100", 989e12, 80 * _GIB, 3.35e12, 450e9)),
    ("h200", Chip("H200", 989e12, 141 * _GIB, 4.8e12, 450e9)),
    ("a100", Chip("A100", 312e12, 80 * _GIB, 2.04e12, 300e9)),
    ("tpu v6 lite", Chip("TPU v6e", 918e12, 32 * _GIB, 1.64e12, 448e9)),
    ("tpu v6e", Chip("TPU v6e", 918e12, 32 * _GIB, 1.64e12, 448e9)),
    ("tpu v5 lite", Chip("TPU v5e", 197e12, 16 * _GIB, 0.819e12, 200e9)),
    ("tpu v5e", Chip("TPU v5e", 197e12, 16 * _GIB, 0.819e12, 200e9)),
    ("tpu v5", Chip("TPU v5p", 459e12, 95 * _GIB, 2.765e12, 600e9)),
    ("tpu v4", Chip("TPU v4", 275e12, 32 * _GIB, 1.2e12, 300e9)),
)


def chip(device_kind: str) -> Chip | None:
    """Return the peaks of a device by its `device_kind`; None where they are not known."""
    kind = device_kind.lower()
    return next((known for name, known in CHIPS if name in kind), None)


def host_cpu() -> jax.Device | None:
    """Return a CPU device of this process; None where JAX_PLATFORMS names others only."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


@dataclasses.dataclass(frozen=True)
class Platform:
    """What programs are made for.

    Attributes:
        kind: one of `PLATFORMS`.

    Raises:
        ValueError: the platform is not known.
    """

    kind: str

    def __post_init__(self):
        """Check the word."""
        check_word("platform", self.kind, PLATFORMS)

    @classmethod
    def current(cls) -> Self:
        """Return the platform of this process; it starts JAX's backend."""
        backend = jax.default_backend()
        return cls("cuda" if backend == "gpu" else backend)

    @property
    def dtype(self) -> str:
        """Of activations and matmuls: bfloat16 on accelerators, float32 on CPU."""
        return "float32" if self.kind == "cpu" else "bfloat16"

    @property
    def attention(self) -> str:
        """One of `layers.config.ATTENTION_IMPLEMENTATIONS`."""
        return {"cpu": "tiled", "cuda": "cudnn", "tpu": "splash"}[self.kind]

    def scan_unroll(self, n_layers: int) -> int:
        """Return the blocks per iteration of a scan over depth."""
        return n_layers if n_layers <= MAX_UNROLLED[self.kind] else 1

    def head(self, vocab_size: int) -> str:
        """Return one of `tasks.heads.HEADS`."""
        if self.kind != "cpu":
            return "fused"
        return "blocks" if vocab_size >= BLOCKS_FROM else "whole"

    @property
    def byte_model_lanes(self) -> int:
        """Texts that a byte model reads side by side."""
        return BYTE_MODEL_LANES[self.kind]

    def byte_model_workers(self, n_devices: int, n_cores: int) -> int:
        """Return how many threads step a byte model side by side, each with lanes of its own.

        One for each core: what a byte costs besides the step is coding, which a core does by
        itself. On an accelerator it does so while the chip steps for the others.
        """
        if self.kind == "cpu":
            return n_cores
        return max(n_devices, min(n_cores, BYTE_MODEL_WORKERS * n_devices))

    @property
    def keeps_programs(self) -> bool:
        """Whether compiled programs are kept for later processes.

        On some CPUs XLA's loader rejects what it has kept itself (JAX issue 38445).
        """
        return self.kind != "cpu"

    @property
    def works_beside_host(self) -> bool:
        """Whether the devices compute while the host does something else, such as compiling."""
        return self.kind != "cpu"

    @property
    def draws_on_host(self) -> bool:
        """Whether the first parameters are drawn by one device of the host's CPU.

        On an H100 the program that draws them compiled for 20 s (GPT-2 small) to 75 s. On a CPU
        with several devices, all would draw the same.
        """
        return self.kind != "tpu"

    def run_once_options(self, n_numbers: int) -> dict[str, Any] | None:
        """Return the compiler options of a program that runs once and makes so many numbers.

        On a CPU, optimizing it costs seconds and saves milliseconds, as long as it is small.
        """
        if self.kind == "cpu" and n_numbers < OPTIMIZED_FROM:
            return {"xla_backend_optimization_level": 0}
        return None

    @property
    def same_order_options(self) -> dict[str, Any] | None:
        """Compiler options of a program whose sums have the same order at every call.

        On CPU a product that is shared among threads may be summed in another order. On a GPU each
        process tries several kernels for a product and takes the fastest, which need not be the
        same one in the next process.
        """
        return {
            "cpu": {"xla_cpu_multi_thread_eigen": False},
            "cuda": {"xla_gpu_deterministic_ops": True},
            "tpu": None,
        }[self.kind]
