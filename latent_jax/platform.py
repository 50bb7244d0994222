"""The one file that depends on the backend: the meaning of "auto" on each, and peaks of chips.

A program is made for a platform that the caller names. So a laptop can trace, compile and cost the
program of a GPU or of a TPU slice, and tests do. Every choice below follows from a measurement
(configs/results/accelerators.md and cpu_speed.md) or from what the platform's compiler accepts.
"""

import dataclasses
from typing import Any, Self

import jax

from latent_jax.nearest import check_word

PLATFORMS = ("cpu", "cuda", "tpu")
"""Names as in `jax.export` and in `jax.jit(...).lower(lowering_platforms=...)`."""

MAX_UNROLLED = {"cpu": 8, "cuda": 16, "tpu": 0}
"""Depth, in layers, of the deepest stack of blocks that "auto" unrolls. A loop has to stack what
the backward pass needs and slice it again, which takes a fifth of a step on CPU and a quarter on an
H100. The price of unrolling is that every layer is compiled by itself."""

BLOCKS_FROM = 8192
"""Vocabulary size from which a CPU computes the cross-entropy in blocks of the vocabulary."""

OPTIMIZED_FROM = 40_000_000
"""Number of parameters from which the program that draws them is compiled with optimization on a
CPU. Seconds to compile and draw without and with optimization (2 cores): 28M parameters 6.5 and
7.0, 56M 12.4 and 12.0, 124M 12.3 and 4.8."""

BYTE_MODEL_LANES = {"cpu": 64, "cuda": 1024, "tpu": 1024}
"""Texts that one worker of a byte model reads side by side. On CPU: enough to keep a core busy. On
a chip: as many as a core codes (2 to 4 microseconds per byte) while the chip steps for the other
workers, and few enough that the caches of all workers fit."""

BYTE_MODEL_WORKERS = 16
"""Most workers of a byte model that share one chip; each has its own caches on it."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """The peaks of one device, from its vendor's data sheet.

    Attributes:
        name: its name in tables.
        flops: dense bfloat16 FLOP/s.
        memory_bytes: size of its high-bandwidth memory.
        memory_bandwidth: bytes/s between that memory and its cores.
        link_bandwidth: bytes/s that it can send to the other devices of its slice or node.
    """

    name: str
    flops: float
    memory_bytes: float
    memory_bandwidth: float
    link_bandwidth: float


_GIB = 2.0**30

CHIPS = (
    # (part of jax.Device.device_kind in lower case, the chip); the first match is taken.
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
    """Return the peaks of the device with this `jax.Device.device_kind`; None for unknown kinds."""
    kind = device_kind.lower()
    return next((known for name, known in CHIPS if name in kind), None)


def host_cpu() -> jax.Device | None:
    """Return a CPU device of this process; None if JAX_PLATFORMS leaves the CPU out."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


@dataclasses.dataclass(frozen=True)
class Platform:
    """A platform that programs are made for.

    Attributes:
        kind: one of `PLATFORMS`.

    Raises:
        ValueError: `kind` is not one of them.
    """

    kind: str

    def __post_init__(self):
        """Check `kind`."""
        check_word("platform", self.kind, PLATFORMS)

    @classmethod
    def current(cls) -> Self:
        """Return the platform of this process. The call starts JAX's backend."""
        backend = jax.default_backend()
        return cls("cuda" if backend == "gpu" else backend)

    @property
    def dtype(self) -> str:
        """The dtype of activations and matmuls: bfloat16 on accelerators, float32 on CPU."""
        return "float32" if self.kind == "cpu" else "bfloat16"

    @property
    def attention(self) -> str:
        """The attention of this platform, one of `layers.config.ATTENTION_IMPLEMENTATIONS`."""
        return {"cpu": "tiled", "cuda": "cudnn", "tpu": "splash"}[self.kind]

    def scan_unroll(self, n_layers: int) -> int:
        """Return how many blocks one iteration of the scan over depth holds."""
        return n_layers if n_layers <= MAX_UNROLLED[self.kind] else 1

    def head(self, vocab_size: int) -> str:
        """Return how the cross-entropy is computed, one of `tasks.heads.HEADS`."""
        if self.kind != "cpu":
            return "fused"
        return "blocks" if vocab_size >= BLOCKS_FROM else "whole"

    @property
    def byte_model_lanes(self) -> int:
        """The number of texts that one worker of a byte model reads side by side."""
        return BYTE_MODEL_LANES[self.kind]

    def byte_model_workers(self, n_devices: int, n_cores: int) -> int:
        """Return how many threads step a byte model at the same time, each with its own lanes.

        There is one thread per core, because coding, the other cost of a byte beside the step, is
        work of a core. On an accelerator, one core codes while the chip steps for the other
        threads.
        """
        if self.kind == "cpu":
            return n_cores
        return max(n_devices, min(n_cores, BYTE_MODEL_WORKERS * n_devices))

    @property
    def keeps_programs(self) -> bool:
        """Whether compiled programs are kept on disk for later processes.

        On some CPUs XLA's loader rejects programs that XLA itself has stored (JAX issue 38445).
        """
        return self.kind != "cpu"

    @property
    def works_beside_host(self) -> bool:
        """Whether the devices compute while the host does something else, such as compiling."""
        return self.kind != "cpu"

    @property
    def draws_on_host(self) -> bool:
        """Whether one device of the host's CPU draws the initial parameters.

        On an H100 the program that draws them compiled for 20 s (GPT-2 small) to 75 s. On a CPU
        with several devices, all would draw the same.
        """
        return self.kind != "tpu"

    def run_once_options(self, n_numbers: int) -> dict[str, Any] | None:
        """Return the compiler options of a program that runs once and makes `n_numbers` numbers.

        None stands for JAX's own options. On a CPU, optimizing a small program of this kind costs
        seconds and saves milliseconds.
        """
        if self.kind == "cpu" and n_numbers < OPTIMIZED_FROM:
            return {"xla_backend_optimization_level": 0}
        return None

    @property
    def same_order_options(self) -> dict[str, Any] | None:
        """The compiler options under which a program adds up in the same order at every call.

        None where none are needed. On a CPU, a matrix product that is split among threads may be
        summed in another order. On a GPU, each process tries several kernels for a product and
        takes the fastest, which may be another one in the next process.
        """
        return {
            "cpu": {"xla_cpu_multi_thread_eigen": False},
            "cuda": {"xla_gpu_deterministic_ops": True},
            "tpu": None,
        }[self.kind]
