"""Token boundaries compared with the boundaries of words and word pieces.

A place is a range of positions between bytes, and a token boundary at any of them meets it. White
space is a place from the position before it to the one after it, because some codes put a space at
the start of a word and some at the end. The ends of a text, which all codes share, do not count.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom

from latent_jax.analysis.codes import Coded

_SPACE = re.compile(rb"\s+")


class Places(NamedTuple):
    """Places in a text: ranges of positions; position p lies before byte p.

    Attributes:
        first: int64[n], the first position of each, ascending.
        last: int64[n], the last position of each; no two places share a position.
    """

    first: np.ndarray
    last: np.ndarray


def space_places(text: bytes) -> Places:
    """Return a place for each white space between words, from its first edge to its last."""
    spans = [match.span() for match in _SPACE.finditer(text)]
    between = [(start, stop) for start, stop in spans if start > 0 and stop < len(text)]
    first, last = np.array(between, np.int64).reshape(-1, 2).T
    return Places(first, last)


def token_places(coded: Coded) -> Places:
    """Return the boundaries between tokens inside a text, each as a place of one position."""
    positions = boundaries(coded)
    return Places(positions, positions)


def boundaries(coded: Coded) -> np.ndarray:
    """Return the positions inside a text where the bytes of a token end, int64[n], ascending."""
    stops = np.cumsum(coded.byte_lengths, dtype=np.int64)
    return np.unique(stops[(stops > 0) & (stops < stops[-1:])])


def alignment(coded: Sequence[Coded], places: Sequence[Places]) -> dict[str, float | None]:
    """Return how well token boundaries and places meet, and what chance would give.

    Args:
        coded: texts in a code.
        places: the places of each text.

    Returns:
        "recall_share", the share of places that have a token boundary. "precision_share", the share
        of token boundaries that lie at a place. "random_recall_share" and
        "random_precision_share", the values expected if each text had as many boundaries at
        positions drawn without replacement. A value is None if there is no place, or no boundary.
    """
    n_places = n_boundaries = met_places = met_boundaries = 0
    random_places = random_boundaries = 0.0
    for code, (first, last) in zip(coded, places, strict=True):
        cuts = boundaries(code)
        n_positions = max(int(code.byte_lengths.sum(dtype=np.int64)) - 1, 0)
        inside = np.searchsorted(cuts, last, side="right") - np.searchsorted(cuts, first)
        sizes = last - first + 1
        n_places += len(first)
        n_boundaries += len(cuts)
        met_places += int((inside > 0).sum())
        met_boundaries += int(inside.sum())
        if n_positions:
            random_boundaries += len(cuts) * sizes.sum() / n_positions
            # The probability that none of the random boundaries lies at the place.
            missed = hypergeom.pmf(0, n_positions, len(cuts), sizes)
            random_places += (1 - missed).sum()
    return {
        "recall_share": met_places / n_places if n_places else None,
        "precision_share": met_boundaries / n_boundaries if n_boundaries else None,
        "random_recall_share": float(random_places / n_places) if n_places else None,
        "random_precision_share": (
            float(random_boundaries / n_boundaries) if n_boundaries else None
        ),
    }
