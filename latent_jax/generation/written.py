"""What a language model wrote, and the contract of those that write."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import numpy as np

from latent_jax.generation.sampling import Sampling

END, FULL, LENGTH, INVALID = "end of text", "no ids left", "length", "invalid ids"
"""Why a text stops: the model ended it; its row is full; enough was written; the ids drawn last
stand for no text."""


@dataclasses.dataclass(frozen=True)
class Written:
    """One continuation.

    Attributes:
        prompt: as it was given.
        kept: what the model's own ids keep of the prompt: the prompt, without its last bytes where
            a stream cannot hold them yet, or as a latent language gives it back.
        text: what follows.
        n_ids: ids that were drawn for it.
        nats: -log p of these ids under the model as it is, without temperature or truncation.
        stop: one of the above.
    """

    prompt: bytes
    kept: bytes
    text: bytes
    n_ids: int
    nats: float
    stop: str


class Writer(Protocol):
    """A trained model that goes on from prompts."""

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """Return forward FLOPs of reading a prompt and drawing so many ids, text included."""
        ...

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """Go on from each prompt.

        Args:
            prompts: of any lengths.
            keys: typed keys, one for each prompt.
            sampling: how ids are drawn.
            n_bytes: of new text, where the model neither ends it nor has no more room.
            show: called with all texts so far, prompts included, whenever they have grown.

        Raises:
            ValueError: a prompt leaves no room for new text.
        """
        ...


def padded(rows: Sequence[np.ndarray], multiple: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as int32[B, T], zeros at the end, and their lengths, int32[B].

    T is a multiple, so that prompts of about the same length share a compiled program.
    """
    lengths = np.array([*map(len, rows)], np.int32)
    ids = np.zeros((len(rows), -(-max(1, lengths.max()) // multiple) * multiple), np.int32)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids, lengths
