"""What the coders ask of a language model: the probabilities of the next byte, in lockstep lanes.

Encoder and decoder must see the same numbers to the last bit. Floats depend on the shape of the
computation, so a model offers one step of one fixed shape: `lanes` texts, each one id further. What
a lane holds must not depend on the other lanes, nor on how often the step was called.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numba
import numpy as np

BEGIN = 256
"""The id that a lane reads at position 0, where it forgets what it held; as a prediction: the end
of the text."""
N_SYMBOLS = 257


class ByteModel(Protocol):
    """A language model over bytes.

    Attributes:
        kind: how saved files name the class; see `load_byte_model`.
        lanes: how many texts one step carries.
        workers: how many threads may step at once, each with a state of its own.
        flops_per_byte: forward floating-point operations for each byte read.
    """

    kind: str
    lanes: int
    workers: int
    flops_per_byte: float

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
            ids_B: int32[lanes], bytes or `BEGIN`.
            positions_B: int32[lanes], how many ids the lane has read since `BEGIN`, which itself
                is read at 0.

        Returns:
            float32[lanes, N_SYMBOLS], the probabilities of the next byte or of the end, and the
            state.
        """

    def to_bytes(self) -> bytes:
        """Return all that decides the probabilities, as one file."""


MAX_DEFECT = 1e-2
"""How far from 1 the float32 sum of a distribution may be: what a step in half precision gives."""


def checked_step(
    model: ByteModel, state: Any, ids_B: np.ndarray, positions_B: np.ndarray
) -> tuple[np.ndarray, Any]:
    """Do what `model.step` does.

    Raises:
        ValueError: what it gives is no distribution: counts made of it would code something, which
            nobody could read.
    """
    probabilities_BV, state = model.step(state, ids_B, positions_B)
    lane = first_defect(probabilities_BV)
    if lane >= 0:
        row_V = probabilities_BV[lane]
        raise ValueError(
            f"the byte model gives no distribution: after id {ids_B[lane]} the probabilities lie "
            f"from {row_V.min()} to {row_V.max()}, and their sum is {row_V.sum()}. Its file is "
            "damaged, or its training diverged: use another M1"
        )
    return probabilities_BV, state


@numba.njit(cache=True, nogil=True)
def first_defect(probabilities_BV: np.ndarray) -> int:
    """Return the first row that is no distribution; -1 if all are."""
    for lane in range(len(probabilities_BV)):
        total, least = 0.0, 0.0
        for probability in probabilities_BV[lane]:
            total += probability
            least = min(least, probability)
        # NaN and infinity fail every comparison with the sum.
        if not (abs(total - 1.0) <= MAX_DEFECT and least >= 0.0):
            return lane
    return -1


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
