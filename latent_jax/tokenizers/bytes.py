"""Bytes as they are: ids 0 to 255, and one more id between documents.

The separator lies outside the bytes: a document may hold any byte (a gzip stream holds them all),
so no byte value can be taken for something else.
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
