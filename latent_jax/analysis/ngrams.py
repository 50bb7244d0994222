"""n-grams of ids, counted by sorting, and the entropies that their frequencies plug in.

An n-gram is known by its rank: the place of (rank of its first n - 1 ids, last id) among all such
pairs that occur. Ranks fit in 64 bits for any vocabulary, and there is one sort for each n.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Sequences(NamedTuple):
    """Many sequences of ids end to end.

    Attributes:
        ids: int64[T].
        places: int64[T], how many ids of the same sequence come before.
    """

    ids: np.ndarray
    places: np.ndarray


class NGrams(NamedTuple):
    """The n-grams of one n; none crosses from one sequence into the next.

    Attributes:
        n: how many ids.
        keys: int64[U], one for each distinct n-gram, rising: rank of its context * n_ids + last id.
        at: int64[N], where in the joined sequences they end.
        ranks: int64[N], which of the `keys` each is.
        contexts: int64[N], the rank of the first n - 1 ids of each.
    """

    n: int
    keys: np.ndarray
    at: np.ndarray
    ranks: np.ndarray
    contexts: np.ndarray


class ConditionalEntropy(NamedTuple):
    """What n-gram frequencies say about the entropy of an id after n - 1 others.

    Attributes:
        n: how many ids.
        n_samples: n-grams counted.
        n_contexts: distinct first n - 1 ids.
        n_grams: distinct n-grams.
        plug_in_nats: per id.
        miller_madow_nats: per id.
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


def count_ngrams(sequences: Sequences, n_ids: int, max_n: int) -> Iterator[NGrams]:
    """Yield the n-grams of n = 1, 2, ..., `max_n`.

    Raises:
        ValueError: `max_n` is not positive, or no sequence is so long.
    """
    if max_n < 1:
        raise ValueError(f"an n-gram has at least 1 id, not n = {max_n}")
    ranks_T = np.zeros(len(sequences.ids), np.int64)
    for n in range(1, max_n + 1):
        at = np.flatnonzero(sequences.places >= n - 1)
        if not len(at):
            raise ValueError(
                f"no sequence has {n} ids, so there is no {n}-gram: longer texts or a smaller n"
            )
        # The empty context of n = 1 has one rank, 0, everywhere.
        contexts = ranks_T[at - 1] if n > 1 else np.zeros(len(at), np.int64)
        keys, ranks = np.unique(contexts * n_ids + sequences.ids[at], return_inverse=True)
        yield NGrams(n, keys, at, ranks, contexts)
        ranks_T = np.full(len(sequences.ids), -1)
        ranks_T[at] = ranks


def conditional_entropies(
    sequences: Sequence[np.ndarray], n_ids: int, max_n: int
) -> list[ConditionalEntropy]:
    """Return the plug-in estimates of H(X_n | X_1 ... X_{n-1}) for n = 1, ..., `max_n`.

    Both are differences of block entropies, H(X_1 ... X_n) - H(X_1 ... X_{n-1}), over one sample of
    N n-grams and their contexts. The plug-in entropy, of the relative frequencies, is too small by
    about (K - 1) / 2N for K distinct blocks; Miller and Madow add that to each (Miller 1955, "Note
    on the bias of information estimates"), which is right as long as K is far below N. Where most
    n-grams occur once, both are too small by far: plug-in goes to 0 as contexts become unique.

    Args:
        sequences: integers in [0, n_ids), [n] each.
        n_ids: how many ids there are.
        max_n: the longest n-grams.

    Raises:
        ValueError: see `join` and `count_ngrams`.
    """
    estimates = []
    for grams in count_ngrams(join(sequences, n_ids), n_ids, max_n):
        n_samples, counts = len(grams.at), np.bincount(grams.ranks)
        context_counts = np.bincount(grams.contexts)
        context_counts = context_counts[context_counts > 0]
        plug_in = block_entropy(counts) - block_entropy(context_counts)
        correction = (len(counts) - len(context_counts)) / (2 * n_samples)
        estimates.append(
            ConditionalEntropy(
                grams.n,
                n_samples,
                len(context_counts),
                len(counts),
                plug_in,
                plug_in + correction,
            )
        )
    return estimates


def block_entropy(counts: np.ndarray) -> float:
    """Return the plug-in entropy in nats of positive counts."""
    n_samples = counts.sum()
    return float(np.log(n_samples) - (counts * np.log(counts)).sum() / n_samples)
