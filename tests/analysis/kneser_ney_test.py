"""The smoothed n-gram model: a proper distribution, the book's formula, and known sources."""

import math
import pydoc_data.topics
from collections import Counter, defaultdict

import numpy as np
import pytest

from latent_jax.analysis.kneser_ney import FALLBACK, KneserNey, discounts
from latent_jax.analysis.ngrams import count_ngrams
from tests.analysis.ngrams_test import markov_chain

TEXT = [topic.encode() for _, topic in sorted(pydoc_data.topics.topics.items())[:12]]
WORDS = [
    np.array([hash_of(word) for word in text.split()])
    for text in TEXT
    for hash_of in (lambda word: sum(word) % 97,)
]
BYTES = [np.frombuffer(text, np.uint8) for text in TEXT]


def definition(sequences, n_ids, n, context, following):
    """Return p(following | context) from dictionaries, as Chen and Goodman write it."""

    def counts(k):
        """Of k-grams: how often, or, below n, how many ids (or the beginning) come before."""
        if k == n:
            return Counter(
                tuple(s[i : i + k].tolist()) for s in sequences for i in range(len(s) - k + 1)
            )
        before = defaultdict(set)
        for s in sequences:
            for i in range(len(s) - k + 1):
                before[tuple(s[i : i + k].tolist())].add(int(s[i - 1]) if i else None)
        return Counter({gram: len(ids) for gram, ids in before.items()})

    p = 1 / n_ids
    for k in range(1, n + 1):
        all_counts = counts(k)
        taken = discounts(np.array(list(all_counts.values())))
        h = tuple(context[len(context) - k + 1 :])
        after = {gram[-1]: c for gram, c in all_counts.items() if gram[:-1] == h}
        if not after:
            continue
        total = sum(after.values())
        gamma = sum(taken[min(c, 3) - 1] for c in after.values()) / total
        c = after.get(following, 0)
        p = (c - taken[min(c, 3) - 1] if c else 0) / total + gamma * p
    return p


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_definition(n):
    model = KneserNey(count_ngrams(WORDS[1:], 97, n))
    text = WORDS[0][:60]
    nats = model.nats([text])[n - 1]
    for i in range(n - 1, 60, 7):
        p = definition(WORDS[1:], 97, n, text[i - n + 1 : i].tolist(), int(text[i]))
        assert nats[i] == pytest.approx(-math.log(p), rel=1e-9)


@pytest.mark.parametrize("sequences, n_ids", [(WORDS, 97), (BYTES, 256), ([np.full(9, 3)], 5)])
def test_all_ids_together_have_probability_one_after_any_context(sequences, n_ids):
    model = KneserNey(count_ngrams(sequences, n_ids, 4))
    rng = np.random.default_rng(0)
    seen = sequences[0][:3]
    at_the_end = sequences[-1][-3:]
    for context in (seen, at_the_end, rng.integers(0, n_ids, 3), seen[:1], seen[:0]):
        candidates = [np.append(context, following) for following in range(n_ids)]
        nats = model.nats(candidates).reshape(4, n_ids, len(context) + 1)[:, :, -1]
        assert np.isfinite(nats).all()
        np.testing.assert_allclose(np.exp(-nats).sum(axis=1), 1.0, rtol=1e-12)


def test_a_markov_chain_costs_its_entropy_rate_from_bigrams_on():
    ids, rate, entropy = markov_chain(60_000)
    nats = KneserNey(count_ngrams([ids[:50_000]], 3, 4)).nats([ids[50_000:]]).mean(axis=1)
    assert nats[0] == pytest.approx(entropy, abs=0.015)
    np.testing.assert_allclose(nats[1:], rate, atol=0.015)


def test_uniform_ids_cost_the_logarithm_of_their_number():
    ids = np.random.default_rng(4).integers(0, 65_536, 60_000)
    nats = KneserNey(count_ngrams([ids[:50_000]], 65_536, 6)).nats([ids[50_000:]]).mean(axis=1)
    # Fewer samples than ids, so frequencies pretend to know something: 0.5 % of the bits, at most.
    assert (nats > math.log(65_536)).all()
    np.testing.assert_allclose(nats, math.log(65_536), rtol=0.005)


def test_a_constant_costs_nothing():
    nats = KneserNey(count_ngrams([np.full(10_000, 3)], 256, 6)).nats([np.full(1_000, 3)])
    assert nats.mean(axis=1).max() < 0.001


def test_held_out_text_costs_less_with_longer_contexts_and_more_than_itself():
    model = KneserNey(count_ngrams(BYTES[1:], 256, 4))
    held_out = model.nats(BYTES[:1]).mean(axis=1)
    assert (np.diff(held_out) < 0).all()
    # A text that was learned from looks cheaper than it is.
    assert (model.nats(BYTES[1:2]).mean(axis=1)[1:] < held_out[1:]).all()


def test_a_sequence_begins_with_the_model_that_its_context_allows():
    model = KneserNey(count_ngrams(WORDS[1:], 97, 4))
    nats = model.nats(WORDS[:1])
    assert nats[3, 0] == nats[0, 0]
    assert nats[3, 1] == nats[1, 1]
    assert nats[3, 2] == nats[2, 2]


def test_discounts_are_those_of_the_counts_of_counts_or_the_fallback():
    counts = np.repeat([1, 2, 3, 4, 9], [100, 40, 20, 12, 5])
    y = 100 / 180
    expected = [1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.6]
    np.testing.assert_allclose(discounts(counts), expected)
    assert tuple(discounts(np.array([50, 60, 70]))) == FALLBACK
    assert tuple(discounts(np.ones(50, int))) == (1.0, *FALLBACK[1:])
