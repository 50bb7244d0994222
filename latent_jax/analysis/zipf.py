"""How often each symbol of a code is used, by rank (Zipf 1949)."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np


def rank_frequencies(ids: np.ndarray, n_ids: int) -> np.ndarray:
    """Return the shares of the ids that occur, largest first, float64[used]; they add up to 1."""
    counts = np.sort(np.bincount(ids, minlength=n_ids))[::-1]
    return counts[counts > 0] / max(1, len(ids))


def word_ids(texts: Sequence[bytes]) -> tuple[np.ndarray, int]:
    """Return words as ids, int32[n], and how many different ones there are.

    A word is a run of letters and digits, or one sign that is neither these nor space.
    """
    found = Counter(re.findall(r"\w+|[^\w\s]", b"\n".join(texts).decode("utf-8", "replace")))
    counts = np.array([*found.values()], np.int64)
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts), len(counts)


def exponent(shares: np.ndarray, first: int = 10, last: int = 1000) -> float | None:
    """Return s of share ~ rank^-s: least squares in logarithms over ranks `first` to `last`.

    Ranks are weighted by 1 / rank, so that each octave counts the same. None where fewer than two
    of these ranks are used.
    """
    ranks = np.arange(first, min(last, len(shares)) + 1)
    if len(ranks) < 2:
        return None
    x, y, w = np.log(ranks), np.log(shares[ranks - 1]), 1 / ranks
    x_mean, y_mean = np.average(x, weights=w), np.average(y, weights=w)
    return float(-np.sum(w * (x - x_mean) * (y - y_mean)) / np.sum(w * (x - x_mean) ** 2))
