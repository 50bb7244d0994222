"""The byte models that drive coders: they predict the next byte of many texts in lockstep.

Encoder and decoder must see the same probabilities to the last bit. Floats depend on the shape of a
computation, so a model has one step of one fixed shape, which reads one id in each of its `lanes`
texts. The result of a lane must not depend on the other lanes, nor on the number of calls. A model
in integers gives the same result for any shape on every device, and reads a known text in one go;
on a processor it steps only lanes that are not idle.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import numba
import numpy as np

BEGIN = 256
"""As an input: the id that a lane reads at position 0, where it forgets its text. As a prediction:
the end of the text."""
N_SYMBOLS = 257
IDLE = -1
"""The id of a lane that has nothing to read; its row of the table means nothing."""


class ByteModel(Protocol):
    """A language model over bytes.

    Attributes:
        kind: the name of the class in saved files; see `load_byte_model`.
        lanes: number of texts of one step.
        workers: number of threads that may step at the same time, each with its own state.
        flops_per_byte: forward FLOPs per byte read.
        is_exact: whether its tables are integers that depend on the model's file alone; then it has
            `tables`, which reads a known text on the processor.
        skips_idle: whether a step costs nothing for a lane that is idle.
    """

    kind: str
    lanes: int
    workers: int
    flops_per_byte: float
    is_exact: bool
    skips_idle: bool

    def start(self, worker: int = 0) -> Any:
        """Return the initial state. The first step must read `BEGIN` at position 0 in every lane.

        Args:
            worker: 0 to `workers` - 1; it selects the device where there are several.
        """

    def step(
        self, state: Any, ids_B: np.ndarray, positions_B: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """Read one id in every lane.

        Args:
            state: from `start` or the previous step; it must not be used again.
            ids_B: int32[lanes], bytes, `BEGIN` or `IDLE`.
            positions_B: int32[lanes], the position of each id: 0 for `BEGIN`, then 1, 2, ...

        Returns:
            The probabilities of the next byte or of the end, float32[lanes, N_SYMBOLS], or integers
            in proportion to them (see `counts.cumulative_counts`); and the new state.
        """

    def to_bytes(self) -> bytes:
        """Return the content of one file that holds all that decides the probabilities."""


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
    # The tables of an exact model are proven when its file is read.
    lane = -1 if model.is_exact else first_defect(probabilities_BV)
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
"""Name of the file with `ByteModel.to_bytes` in the folder of a saved tokenizer."""

_LOADERS: dict[str, Callable[[bytes], ByteModel]] = {}


def register(kind: str, loader: Callable[[bytes], ByteModel]) -> None:
    """Register the function that builds models of a kind from `ByteModel.to_bytes`.

    Models register themselves, because tokenizers may not import networks.
    """
    _LOADERS[kind] = loader


def load_byte_model(kind: str, content: bytes) -> ByteModel:
    """Return the byte model of this kind whose `to_bytes` gave `content`.

    Raises:
        ValueError: no imported module has registered the kind.
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
