"""The reasons why a text stops, and prompts as one array."""

from collections.abc import Sequence

import numpy as np

END, FULL, LENGTH, INVALID = "end of text", "no ids left", "length", "invalid ids"
"""Why a text stops, in this order: the model ended it; no more ids can be drawn; it has the bytes
that were asked for; the last ids do not decode."""


def padded(rows: Sequence[np.ndarray], multiple: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as int32[B, T], zeros at the end, and their lengths, int32[B].

    T is a multiple of `multiple`, so that prompts of similar lengths share a compiled program.
    """
    lengths = np.array([*map(len, rows)], np.int32)
    ids = np.zeros((len(rows), -(-max(1, lengths.max()) // multiple) * multiple), np.int32)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = values
    return ids, lengths
