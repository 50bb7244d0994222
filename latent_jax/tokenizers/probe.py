"""A fingerprint of the probabilities that a byte model computes on this machine.

The same weights do not give the same floats everywhere: results of other libraries, devices and
shapes differ in the last bits, and one different count makes a decoder return another text. So a
tokenizer stores a probe, the hash of the model's integer counts on a fixed text. It refuses to code
where the model gives another hash.
"""

import hashlib
import weakref

import numba
import numpy as np

from latent_jax.tokenizers.base import FingerprintError
from latent_jax.tokenizers.byte_model import BEGIN, IDLE, N_SYMBOLS, ByteModel, checked_step
from latent_jax.tokenizers.counts import cumulative_counts

_TEXT = (
    b"The three currently living species are: African savanna elephants, African forest elephants, "
    b"and the Asian elephants. 0123456789 \x00\xff {}()[]<> \n\t"
)


_PROBED: weakref.WeakKeyDictionary[ByteModel, dict[int, str]] = weakref.WeakKeyDictionary()
"""model -> precision -> probe. Probes are kept because several tokenizers share a model."""


def probe(model: ByteModel, precision: int) -> str:
    """Return the SHA-256 hex digest of the counts after every prefix of a fixed text.

    Each lane starts at another place of the text, so that all lanes are probed. Of an exact model
    one lane is.
    """
    digest = hashlib.sha256()
    text = np.frombuffer(_TEXT, np.uint8).astype(np.int32)
    n_lanes = 1 if model.is_exact else model.lanes
    state, counts_BC = model.start(), np.zeros((n_lanes, N_SYMBOLS + 1), np.int32)
    for position in range(len(text)):
        ids_B = text[(np.arange(model.lanes) + position) % len(text)]
        if position == 0:
            ids_B = np.full(model.lanes, BEGIN, np.int32)
        ids_B[n_lanes:] = IDLE
        positions_B = np.full(model.lanes, position, np.int32)
        ids_B = ids_B.astype(np.int32)
        probabilities_BV, state = checked_step(model, state, ids_B, positions_B)
        _count_all(probabilities_BV[:n_lanes], precision, counts_BC)
        digest.update(counts_BC.tobytes())
    return digest.hexdigest()


@numba.njit(cache=True, nogil=True)
def _count_all(probabilities_BV, precision, out_BC):
    """Write the cumulative counts of every lane."""
    for lane in range(len(probabilities_BV)):
        cumulative_counts(probabilities_BV[lane], precision, out_BC[lane])


class Probed:
    """A byte model and the probe that it must reproduce."""

    def __init__(self, name: str, model: ByteModel, precision: int, expected: str = ""):
        """Store the arguments; nothing is computed before `digest` or `check`.

        Args:
            name: name of the tokenizer, for messages.
            model: M1.
            precision: bits of the counts.
            expected: the probe on the machine that made the tokenizer; "" if that is this one.
        """
        self._name, self._model, self._precision = name, model, precision
        self._expected = expected

    @property
    def _here(self) -> str:
        known = _PROBED.setdefault(self._model, {})
        if self._precision not in known:
            known[self._precision] = probe(self._model, self._precision)
        return known[self._precision]

    @property
    def digest(self) -> str:
        """The probe on the machine that made the tokenizer."""
        return self._expected or self._here

    def check(self) -> None:
        """Raise a FingerprintError unless the model gives the same counts here."""
        if self.digest != self._here:
            raise FingerprintError(
                f"{self._name}: its byte model gives other numbers here (probe {self._here[:12]}) "
                f"than where the tokenizer was made ({self.digest[:12]}): what was encoded there "
                "cannot be decoded here. Use the same device and the same versions of JAX and "
                "jaxlib, or build the tokenizer here and encode the text again."
            )
