"""Interpolated modified Kneser-Ney: n-grams of one text as a language model of another.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", section
3: from each count c a discount D(c) is taken, one each for 1, 2 and 3 or more, and what is taken in
a context goes to the model that knows one id less,

    p(w | h) = (c(hw) - D(c(hw))) / c(h) + gamma(h) p(w | h without its first id),

down to the uniform distribution. So every id has a probability above 0 after every context, and all
add up to 1. The longest n-grams are counted as they occur, all others by how many different ids
come before them, the beginning of a sequence being one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latent_jax.analysis.ngrams import NGramCounts, join

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the counts of counts give none, as in KenLM (Heafield et al. 2013): few distinct
n-grams, each of them seen often, such as single bytes. They hardly matter there."""


class _Smoothed(NamedTuple):
    """One kind of counts of one n, discounted.

    Attributes:
        kept: float64[n-grams], (c - D(c)) / c(h).
        passed_on: float64[contexts], gamma; 1 where nothing follows a context.
    """

    kept: np.ndarray
    passed_on: np.ndarray


class _Order(NamedTuple):
    """All that is known of one n.

    Attributes:
        keys: int64[n-grams], see `NGramCounts`.
        longest: from how often n-grams occur, for a model that ends with them.
        shorter: from how many ids come before them, for models of larger n.
    """

    keys: np.ndarray
    longest: _Smoothed
    shorter: _Smoothed


class KneserNey:
    """The models of n = 1, ..., max_n, which share their counts.

    Args:
        tables: of `count_ngrams`, n = 1, 2, ..., of the text to learn from.
    """

    def __init__(self, tables: Sequence[NGramCounts]):
        """Take the discounts."""
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
        """Return what each id costs after those before it, float64[max_n, all ids], end to end.

        Row n - 1 is the model of n; at the beginning of a sequence it is the one of the largest n
        that finds enough ids before.

        Raises:
            ValueError: there is no id, or one that is not in [0, n_ids).
        """
        ids, places = join(sequences, self.n_ids)
        nats = np.zeros((self.max_n, len(ids)))
        p_shorter = np.full(len(ids), 1 / self.n_ids)
        ranks = np.zeros(len(ids), np.int64)
        for row, order in enumerate(self._orders):
            # Where a context was never seen, or a sequence begins, its rank is -1.
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

    One that the counts of counts do not give, or put outside of (0, its count], is that of
    `FALLBACK`. Where all n-grams occur once, D(1) is 1: nothing was learned from them.
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
    """Take the discounts from the counts of all n-grams, given the rank of each one's context."""
    taken = np.concatenate([[0.0], discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(contexts, counts, n_contexts)
    passed_on = np.ones(n_contexts)
    np.divide(np.bincount(contexts, taken, n_contexts), total, out=passed_on, where=total > 0)
    return _Smoothed((counts - taken) / total[contexts], passed_on)
