"""The texts of a code whose every id stands for one: how long they are, and which are used."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from latent_jax.analysis.codes import Coded


def length_records(
    pieces: Sequence[bytes], coded: Sequence[Coded]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return how many ids and how many tokens of a text have each length in bytes.

    Args:
        pieces: the text of each id.
        coded: a text in that code.

    Returns:
        Records of piece_bytes, n_ids, n_used_ids, n_tokens, and how often each id is used, int64.
    """
    ids = np.concatenate([np.zeros(0, np.int64), *(code.ids for code in coded)]).astype(np.int64)
    uses = np.bincount(ids, minlength=len(pieces))
    lengths = np.array([*map(len, pieces)])
    longest = int(lengths.max())
    n_ids = np.bincount(lengths, minlength=longest + 1)
    n_used = np.bincount(lengths[uses > 0], minlength=longest + 1)
    n_tokens = np.bincount(lengths, uses, minlength=longest + 1).astype(np.int64)
    records = [
        {
            "piece_bytes": length,
            "n_ids": int(n_ids[length]),
            "n_used_ids": int(n_used[length]),
            "n_tokens": int(n_tokens[length]),
        }
        for length in range(longest + 1)
        if n_ids[length]
    ]
    return records, uses


def longest_pieces(pieces: Sequence[bytes], n: int) -> list[int]:
    """Return the ids of the `n` longest texts, the lower id first among equals."""
    return sorted(range(len(pieces)), key=lambda id_: (-len(pieces[id_]), id_))[:n]


def most_used_pieces(uses: np.ndarray, n: int) -> list[int]:
    """Return the ids of the `n` most used texts, the lower id first among equals."""
    return np.argsort(-uses, kind="stable")[:n].tolist()
