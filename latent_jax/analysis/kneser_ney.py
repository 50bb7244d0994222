"""Interpolated modified Kneser-Ney smoothing: n-grams of one text as a language model of another.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", section
3: a discount D(c) is subtracted from each count c; there is one for c = 1, one for 2, and one for 3
or more. The discounted probability of a context goes to the model of the next shorter context,

    p(w | h) = (c(hw) - D(c(hw))) / c(h) + gamma(h) p(w | h without its first id),

down to the uniform distribution. So every id has a probability above 0 after every context, and the
probabilities add up to 1. The count of one of the longest n-grams is the number of its occurrences.
The count of a shorter one is the number of different ids before it, where the beginning of a
sequence counts as an id.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latent_jax.analysis.ngrams import NGramCounts, join

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts to use if the counts of counts give none, as in KenLM (Heafield et al. 2013). This
happens for few distinct n-grams that all occur often, such as single bytes, where discounts hardly
matter."""


class _Smoothed(NamedTuple):
    """Discounted counts of the n-grams of one n.

    Attributes:
        kept: float64[n-grams], (c - D(c)) / c(h).
        passed_on: float64[contexts], gamma(h); 1 for a context that no id follows.
    """

    kept: np.ndarray
    passed_on: np.ndarray


class _Order(NamedTuple):
    """The n-grams of one n.

    Attributes:
        keys: int64[n-grams], see `NGramCounts`.
        longest: discounted numbers of occurrences, for the model whose longest n-grams these are.
        shorter: discounted numbers of different ids before them, for models of larger n.
    """

    keys: np.ndarray
    longest: _Smoothed
    shorter: _Smoothed


class KneserNey:
    """The models of n = 1, ..., max_n, which share their counts.

    Args:
        tables: from `count_ngrams` on the training text, for n = 1, 2, ..., max_n.
    """

    def __init__(self, tables: Sequence[NGramCounts]):
        """Discount the counts."""
        self.n_ids, self.max_n = tables[0].n_ids, len(tables)
        self._orders: list[_Order] = []
        n_contexts = 1
        for table in tables:
            longest = _discount(table.counts, table.contexts, n_contexts)
            shorter = longest
            if table.n < self.max_n:
                shorter = _discount(table.n_before, table.contexts, n_contexts)
            self._orders.append(_Order(table.keys, longest, shorter))
            n_contexts = len(table.keys)

    def nats(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Return -log p of each id given the ids before it, in nats.

        Args:
            sequences: of ids, int[n] each.

        Returns:
            float64[max_n, N] for the N ids of all sequences, end to end. Row n - 1 is the model of
            n. At the beginning of a sequence, where there are not enough ids before, it is the
            model of the largest n for which there are.

        Raises:
            ValueError: there is no id, or one that is not in [0, n_ids).
        """
        ids, places = join(sequences, self.n_ids)
        nats = np.zeros((self.max_n, len(ids)))
        p_shorter = np.full(len(ids), 1 / self.n_ids)
        ranks = np.zeros(len(ids), np.int64)
        for row, order in enumerate(self._orders):
            # The rank is -1 for a context that was never seen, and where a sequence begins.
            contexts = ranks if row == 0 else np.where(places >= row, np.roll(ranks, 1), -1)
            keys = np.where(contexts >= 0, contexts * self.n_ids + ids, -1)
            ranks = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            is_known = order.keys[ranks] == keys
            p_longest, p_shorter = (
                np.where(is_known, smoothed.kept[ranks], 0.0)
                + np.where(contexts >= 0, smoothed.passed_on[contexts], 1.0) * p_shorter
                for smoothed in (order.longest, order.shorter)
            )
            ranks = np.where(is_known, ranks, -1)
            nats[row] = -np.log(p_longest)
            if row:
                nats[row] = np.where(places >= row, nats[row], nats[row - 1])
        return nats


def discounts(counts: np.ndarray) -> np.ndarray:
    """Return D(1), D(2) and D(3 or more), float64[3] (Chen and Goodman 1998, section 3).

    A discount is that of `FALLBACK` if the counts of counts do not give it, or give one outside of
    (0, count]. If all n-grams occur once, D(1) is 1: nothing was learned from them.

    Args:
        counts: int64[n-grams], above 0.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    found = np.array(FALLBACK)
    y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
    for count in (1, 2, 3):
        if n[count]:
            discount = count - (count + 1) * y * n[count + 1] / n[count]
            if y and 0 < discount <= count:
                found[count - 1] = discount
    return found


def _discount(counts: np.ndarray, contexts: np.ndarray, n_contexts: int) -> _Smoothed:
    """Return the discounted counts of all n-grams, given the rank of each one's context."""
    taken = np.concatenate([[0.0], discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(contexts, counts, n_contexts)
    passed_on = np.ones(n_contexts)
    np.divide(np.bincount(contexts, taken, n_contexts), total, out=passed_on, where=total > 0)
    return _Smoothed((counts - taken) / total[contexts], passed_on)
