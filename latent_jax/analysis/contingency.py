"""Contingency tables: counts of pairs of labels, and what one label says about the other.

Entropies of counts are plug-in estimates, which are too low where most pairs are rare; `agreement`
has no such bias. Entropies after one side is shuffled show the bias alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Contingency(NamedTuple):
    """Counts of pairs of a row label and a column label; P pairs occur.

    Attributes:
        rows: int64[P], ascending.
        columns: int64[P], ascending within a row.
        counts: int64[P], all above 0.
    """

    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray


def contingency(rows: ArrayLike, columns: ArrayLike) -> Contingency:
    """Count pairs.

    Args:
        rows: the row labels, integers of at least 0, [n].
        columns: the column labels, likewise, [n].
    """
    rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
    base = int(columns.max(initial=0)) + 1
    keys, counts = np.unique(rows * base + columns, return_counts=True)
    return Contingency(keys // base, keys % base, counts)


def row_sums(table: Contingency) -> tuple[np.ndarray, np.ndarray]:
    """Return the row labels that occur and how often each does, int64[R] both."""
    labels, inverse = np.unique(table.rows, return_inverse=True)
    return labels, np.bincount(inverse, table.counts).astype(np.int64)


def transposed(table: Contingency) -> Contingency:
    """Return the table with rows and columns exchanged."""
    order = np.lexsort((table.rows, table.columns))
    return Contingency(table.columns[order], table.rows[order], table.counts[order])


def entropy_bits(counts: ArrayLike) -> float:
    """Return the entropy, in bits, of the relative frequencies of counts."""
    counts = np.asarray(counts, np.float64)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum()) + 0.0  # no minus zero


def conditional_entropy_bits(table: Contingency) -> float:
    """Return H(column | row), in bits; H(row, column) - H(row)."""
    if not table.counts.size:
        return 0.0
    bits = entropy_bits(table.counts) - entropy_bits(row_sums(table)[1])
    return max(bits, 0.0)  # rounding


def agreement(table: Contingency) -> float | None:
    """Return the probability that two occurrences of a row label have the same column label.

    It is the mean over all occurrences of row labels that occur at least twice; each is compared
    with every other occurrence of its row label. The estimate is unbiased for any number of
    columns. It is None if no label occurs twice.
    """
    labels, inverse = np.unique(table.rows, return_inverse=True)
    n = np.bincount(inverse, table.counts, minlength=len(labels))
    equal_pairs = np.bincount(inverse, table.counts * (table.counts - 1), minlength=len(labels))
    twice = n > 1
    if not twice.any():
        return None
    return float((equal_pairs[twice] / (n[twice] - 1)).sum() / n[twice].sum())


def single_column_share(table: Contingency) -> float | None:
    """Return the share of row labels with one column label, among those that occur twice or more.

    It is None if no label occurs twice.
    """
    _, inverse = np.unique(table.rows, return_inverse=True)
    twice = np.bincount(inverse, table.counts) > 1
    if not twice.any():
        return None
    return float((np.bincount(inverse)[twice] == 1).mean())
