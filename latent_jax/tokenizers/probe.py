"""A fingerprint of the numbers that a byte model really gives on this machine.

The same weights need not give the same floats everywhere: libraries, devices and shapes differ in
the last bits, and a single count that differs makes a decoder read something else. So a tokenizer
keeps the hash of its integer counts on a probe, and refuses to code where they do not come out.
"""

import hashlib
import weakref

import numba
import numpy as np

from latent_jax.tokenizers.base import FingerprintError
from latent_jax.tokenizers.byte_model import BEGIN, IDLE, N_SYMBOLS, ByteModel
from latent_jax.tokenizers.counts import cumulative_counts

_TEXT = (
    b"The three currently living species are: African savanna elephants, African forest elephants, "
    b"and the Asian elephants. 0123456789 \x00\xff {}()[]<> \n\t"
)


_PROBED: weakref.WeakKeyDictionary[ByteModel, dict[int, str]] = weakref.WeakKeyDictionary()
"""What models have given already, by precision: several tokenizers share a model."""


def probe(model: ByteModel, precision: int) -> str:
    """Return the SHA-256 hex digest of the counts after every prefix of a text.

    Each lane reads the text from another place on, so that all of them are probed. Of an exact
    model one lane does.
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
        probabilities_BV, state = model.step(state, ids_B.astype(np.int32), positions_B)
        _count_all(probabilities_BV[:n_lanes], precision, counts_BC)
        digest.update(counts_BC.tobytes())
    return digest.hexdigest()


@numba.njit(cache=True, nogil=True)
def _count_all(probabilities_BV, precision, out_BC):
    """Write the cumulative counts of every lane."""
    for lane in range(len(probabilities_BV)):
        cumulative_counts(probabilities_BV[lane], precision, out_BC[lane])


class Probed:
    """A byte model and the probe that it must give."""

    def __init__(self, name: str, model: ByteModel, precision: int, expected: str = ""):
        """Keep what is to be checked.

        Args:
            name: of the tokenizer, for messages.
            model: M1.
            precision: of the counts.
            expected: the probe where the tokenizer was made; empty if that is here.
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
        """The probe where the tokenizer was made."""
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
