"""n-grams of ids, counted by sorting, and plug-in entropies of their frequencies.

An n-gram is identified by its rank: the place of the pair (rank of its first n - 1 ids, last id) in
the sorted list of all pairs that occur. Ranks fit in 64 bits for any vocabulary, and each n takes
one sort.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Sequences(NamedTuple):
    """Many sequences of ids end to end.

    Attributes:
        ids: int64[T].
        places: int64[T], how many ids of the same sequence come before each.
    """

    ids: np.ndarray
    places: np.ndarray


class NGramCounts(NamedTuple):
    """The distinct n-grams of one n, U of them; none crosses from one sequence into the next.

    Attributes:
        n: how many ids an n-gram has.
        n_ids: how many different ids there may be.
        keys: int64[U], ascending: the rank of the first n - 1 ids times n_ids, plus the last id.
        counts: int64[U], how often each occurs.
        n_before: int64[U], how many different ids come before each; the beginning of a sequence
            counts as an id. For the longest counted n-grams only the beginning is counted.
    """

    n: int
    n_ids: int
    keys: np.ndarray
    counts: np.ndarray
    n_before: np.ndarray

    @property
    def contexts(self) -> np.ndarray:
        """The rank of the first n - 1 ids of each, int64[U]; 0 for n = 1."""
        return self.keys // self.n_ids


class ConditionalEntropy(NamedTuple):
    """Estimates of the entropy of an id after n - 1 others, from n-gram frequencies.

    Attributes:
        n: ids in an n-gram.
        n_samples: n-grams counted.
        n_contexts: distinct contexts of n - 1 ids.
        n_grams: distinct n-grams.
        plug_in_nats: plug-in estimate, in nats per id.
        miller_madow_nats: the same with Miller and Madow's correction.
    """

    n: int
    n_samples: int
    n_contexts: int
    n_grams: int
    plug_in_nats: float
    miller_madow_nats: float


def join(sequences: Sequence[np.ndarray], n_ids: int) -> Sequences:
    """Return the sequences end to end.

    Args:
        sequences: integers in [0, n_ids), [n] each.
        n_ids: how many ids there are.

    Raises:
        ValueError: there is no id, or one that is not in [0, n_ids).
    """
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    if not lengths.sum():
        raise ValueError("there are no ids to count: the texts are empty")
    ids = np.concatenate(sequences).astype(np.int64)
    if ids.min() < 0 or ids.max() >= n_ids:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"the id {wrong} is outside of [0, {n_ids}): say how many ids there are")
    starts = np.cumsum(lengths) - lengths
    return Sequences(ids, np.arange(len(ids)) - np.repeat(starts, lengths))


def count_ngrams(sequences: Sequence[np.ndarray], n_ids: int, max_n: int) -> list[NGramCounts]:
    """Return the n-grams of n = 1, 2, ..., `max_n`.

    Args:
        sequences: integers in [0, n_ids), [n] each.
        n_ids: how many ids there are.
        max_n: the longest n-grams.

    Raises:
        ValueError: `max_n` is below 1, no sequence has `max_n` ids, or see `join`.
    """
    if max_n < 1:
        raise ValueError(f"an n-gram has at least 1 id, not n = {max_n}")
    ids, places = join(sequences, n_ids)
    tables: list[NGramCounts] = []
    shorter_T = np.zeros(len(ids), np.int64)
    for n in range(1, max_n + 1):
        at = np.flatnonzero(places >= n - 1)
        if not len(at):
            raise ValueError(
                f"no sequence has {n} ids, so there is no {n}-gram: use longer texts or a smaller n"
            )
        # The empty context of n = 1 has one rank, 0, everywhere.
        contexts = shorter_T[at - 1] if n > 1 else np.zeros(len(at), np.int64)
        keys, ranks, counts = np.unique(
            contexts * n_ids + ids[at], return_inverse=True, return_counts=True
        )
        n_before = np.zeros(len(keys), np.int64)
        n_before[ranks[places[at] == n - 1]] = 1
        if n > 1:
            # Each distinct n-gram is one more id before the (n - 1)-gram that it ends with.
            example = np.zeros(len(keys), np.int64)
            example[ranks] = at
            below = tables[-1].n_before
            below += np.bincount(shorter_T[example], minlength=len(below))
        tables.append(NGramCounts(n, n_ids, keys, counts, n_before))
        shorter_T = np.full(len(ids), -1)
        shorter_T[at] = ranks
    return tables


def conditional_entropy(table: NGramCounts) -> ConditionalEntropy:
    """Return the plug-in estimates of H(X_n | X_1 ... X_{n-1}).

    Both are differences of block entropies, H(X_1 ... X_n) - H(X_1 ... X_{n-1}), over one sample of
    N n-grams and their contexts. The plug-in entropy is that of the relative frequencies. For K
    distinct blocks it is too small by about (K - 1) / 2N. Miller and Madow add this to each block
    entropy (Miller 1955, "Note on the bias of information estimates"), which is right as long as K
    is far below N. Where most n-grams occur once, both estimates are much too small: the plug-in
    estimate goes to 0 as contexts become unique.
    """
    n_samples = int(table.counts.sum())
    context_counts = np.bincount(table.contexts, table.counts)
    context_counts = context_counts[context_counts > 0]
    plug_in = block_entropy(table.counts) - block_entropy(context_counts)
    correction = (len(table.counts) - len(context_counts)) / (2 * n_samples)
    return ConditionalEntropy(
        table.n,
        n_samples,
        len(context_counts),
        len(table.counts),
        plug_in,
        plug_in + correction,
    )


def block_entropy(counts: np.ndarray) -> float:
    """Return the plug-in entropy, in nats, of positive counts."""
    n_samples = counts.sum()
    return float(np.log(n_samples) - (counts * np.log(counts)).sum() / n_samples)
