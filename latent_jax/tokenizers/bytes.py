"""Bytes as ids 0 to 255, and one more id between documents.

The separator has an id of its own, because a document may hold every byte value (a gzip stream
does), so none is free for another meaning.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from latent_jax.tokenizers.base import Tokenizer


class Bytes(Tokenizer):
    """The identity code: the id of a byte is its value, 256 is the separator."""

    kind = "bytes"
    name = "Bytes"
    vocab_size = 257
    separator_id = 256

    def encode(self, text: bytes) -> np.ndarray:
        """See `Tokenizer.encode`."""
        return np.frombuffer(text, np.uint8).astype(np.int32)

    def decode(self, ids: ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        ids = self._checked(ids)
        return ids[ids != self.separator_id].astype(np.uint8).tobytes()

    def byte_lengths(self, ids: ArrayLike) -> np.ndarray:
        """See `Tokenizer.byte_lengths`."""
        return (self._checked(ids) != self.separator_id).astype(np.int32)

    def _files(self) -> dict[str, bytes]:
        return {}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        return cls()
