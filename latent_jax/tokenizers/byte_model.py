"""What the coders ask of a language model: the probabilities of the next byte, in lockstep lanes.

Encoder and decoder must see the same numbers to the last bit. Floats depend on the shape of the
computation, so a model offers one step of one fixed shape: `lanes` texts, each one id further. What
a lane holds must not depend on the other lanes, nor on how often the step was called. A model in
integers gives one result whatever the shape, on every device: it steps lanes that are not idle
only, and reads a text that is known in one go.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

BEGIN = 256
"""The id that a lane reads at position 0, where it forgets what it held; as a prediction: the end
of the text."""
N_SYMBOLS = 257
IDLE = -1
"""The id of a lane that has nothing to read; its row of the table means nothing."""


class ByteModel(Protocol):
    """A language model over bytes.

    Attributes:
        kind: how saved files name the class; see `load_byte_model`.
        lanes: how many texts one step carries.
        workers: how many threads may step at once, each with a state of its own.
        flops_per_byte: forward floating-point operations for each byte read.
        is_exact: whether tables are integers that depend on the model's file alone.
    """

    kind: str
    lanes: int
    workers: int
    flops_per_byte: float
    is_exact: bool

    def start(self, worker: int = 0) -> Any:
        """Return the state before any step. Every lane must then read `BEGIN` at position 0.

        Args:
            worker: below `workers`; where there are several devices, it says which one steps.
        """

    def step(
        self, state: Any, ids_B: np.ndarray, positions_B: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """Read one id in every lane.

        Args:
            state: from `start` or the step before; not to be used again.
            ids_B: int32[lanes], bytes, `BEGIN` or `IDLE`.
            positions_B: int32[lanes], how many ids the lane has read since `BEGIN`, which itself
                is read at 0.

        Returns:
            Probabilities of the next byte or of the end, float32[lanes, N_SYMBOLS], or integers
            that they are proportional to (see `counts.cumulative_counts`); and the state.
        """

    def to_bytes(self) -> bytes:
        """Return all that decides the probabilities, as one file."""


FILE = "byte_model.bin"
"""What `ByteModel.to_bytes` returns, in the folder of a saved tokenizer."""

_LOADERS: dict[str, Callable[[bytes], ByteModel]] = {}


def register(kind: str, loader: Callable[[bytes], ByteModel]) -> None:
    """Say how models of a kind are built from their file: this floor knows no network."""
    _LOADERS[kind] = loader


def load_byte_model(kind: str, content: bytes) -> ByteModel:
    """Build the model that `to_bytes` described.

    Raises:
        ValueError: no room above has registered the kind.
    """
    if kind not in _LOADERS:
        raise ValueError(
            f"a byte model of the kind {kind!r} is needed to read this tokenizer, and only "
            f"{', '.join(_LOADERS) or 'none'} can be built: import latent_jax.methods.artefacts"
        )
    return _LOADERS[kind](content)


def digest_of(model: ByteModel) -> str:
    """Return the SHA-256 hex digest of the file of an exact model, which decides all that it says;
    "" of one whose tables depend on more.
    """
    return hashlib.sha256(model.to_bytes()).hexdigest() if model.is_exact else ""
