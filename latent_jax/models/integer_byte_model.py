"""The integer model as the `ByteModel` that coders ask for, on the processor.

Its tables are decided by its file alone. So lanes that are idle cost nothing, a text that is known
is read 16 positions at a time, and how many lanes or threads there are is nobody's business but the
clock's. No JAX: `models.integer_device` steps the same file on accelerators.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from latent_jax.exact import kernels, model_file
from latent_jax.exact.kernel_data import make_rings, make_scratch, make_weights
from latent_jax.exact.matmul import ROWS
from latent_jax.exact.model_file import IntegerConfig
from latent_jax.tokenizers.byte_model import BEGIN, IDLE, N_SYMBOLS, register

LANES = 64
"""Of a model that is not told otherwise."""


class IntegerByteModel:
    """A byte GPT in integers.

    Args:
        config: its shape; `context` is part of what decides the tables.
        arrays: its weights, by the names of `model_file`.
        lanes: B.

    Raises:
        ValueError: the arithmetic would not be exact, or there is no lane.
    """

    kind = "integer"
    is_exact, skips_idle = True, True

    def __init__(self, config: IntegerConfig, arrays: Mapping[str, np.ndarray], lanes: int = LANES):
        """Check every bound."""
        if lanes < 1:
            raise ValueError(f"a byte model has at least 1 lane; got {lanes}")
        self._content = model_file.to_bytes(config, arrays)
        self.config, self.lanes = config, lanes
        self._arrays = dict(arrays)
        self._weights = make_weights(config, arrays)
        self.flops_per_byte = flops_per_byte(config)
        self.workers = os.cpu_count() or 1

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The weights, by the names of `model_file`."""
        return self._arrays

    def start(self, worker: int = 0) -> Any:
        """See `ByteModel.start`."""
        del worker  # a state is all that a thread needs
        return make_rings(self.config, self.lanes), make_scratch(self.config)

    def step(
        self, state: Any, ids_B: np.ndarray, positions_B: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """See `ByteModel.step`."""
        table_BV = np.empty((self.lanes, N_SYMBOLS), np.int32)
        kernels.step(self._weights, *state, ids_B, positions_B, IDLE, table_BV)
        return table_BV, state

    def tables(self, text: bytes) -> Iterator[np.ndarray]:
        """Yield the tables of a known text, int32[n, N_SYMBOLS], of all its prefixes in order.

        The first is that of the empty text; together they are len(text) + 1.
        """
        ids = np.concatenate([[BEGIN], np.frombuffer(text, np.uint8)]).astype(np.int32)
        rings, scratch = make_rings(self.config, 1), make_scratch(self.config)
        positions, lanes = np.arange(len(ids), dtype=np.int32), np.zeros(ROWS, np.int64)
        for first in range(0, len(ids), ROWS):
            part = ids[first : first + ROWS]
            table = np.empty((len(part), N_SYMBOLS), np.int32)
            kernels.advance(
                self._weights, rings, scratch, lanes, part, positions[first:], len(part), table
            )
            yield table

    def to_bytes(self) -> bytes:
        """See `ByteModel.to_bytes`."""
        return self._content

    @classmethod
    def from_bytes(cls, content: bytes, context: int = 0, lanes: int = 0) -> "IntegerByteModel":
        """Build the model that `to_bytes` described.

        Args:
            content: the file.
            context: another than 0 replaces the model's own.
            lanes: another than 0 replaces `LANES`.

        Raises:
            ValueError: it is no such file.
        """
        config, arrays = model_file.from_bytes(content)
        if context:
            config = dataclasses.replace(config, context=context)
        return cls(config, arrays, lanes or LANES)


def flops_per_byte(config: IntegerConfig) -> float:
    """Return the multiplications and additions of all products for one byte, halves counted twice.

    Weights of attention, and what the head reads, are two halves of 7 bits.
    """
    d, f, s = config.d_model, config.d_ff, config.context
    layer = 4 * d * d + 3 * d * f + s * d + 2 * s * d
    return 2.0 * (config.n_layers * layer + 2 * d * N_SYMBOLS)


register(IntegerByteModel.kind, IntegerByteModel.from_bytes)
