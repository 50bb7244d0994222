"""n-gram estimates on sources whose entropy is known."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from latent_jax.analysis.ngrams import conditional_entropy, count_ngrams

TRANSITIONS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])


def markov_chain(length, seed=0):
    """Return ids of a chain of order 1, its entropy rate and the entropy of one id, in nats."""
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eig(TRANSITIONS.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    steps = np.cumsum(TRANSITIONS, axis=1)
    ids = [0]
    for u in rng.random(length - 1):
        ids.append(int(np.searchsorted(steps[ids[-1]], u)))
    rate = -(stationary[:, None] * TRANSITIONS * np.log(TRANSITIONS)).sum()
    return np.array(ids), rate, -(stationary * np.log(stationary)).sum()


def conditional_entropies(sequences, n_ids, max_n):
    return [conditional_entropy(table) for table in count_ngrams(sequences, n_ids, max_n)]


def test_a_markov_chain_has_the_entropy_rate_from_bigrams_on():
    ids, rate, entropy = markov_chain(50_000)
    estimates = conditional_entropies([ids], 3, 4)
    assert estimates[0].plug_in_nats == pytest.approx(entropy, abs=0.01)
    for estimate in estimates[1:]:
        assert estimate.plug_in_nats == pytest.approx(rate, abs=0.01)
        assert estimate.miller_madow_nats == pytest.approx(rate, abs=0.01)


def test_miller_madow_removes_most_of_the_bias_on_uniform_ids():
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 32, 20_000)
    _, bigrams = conditional_entropies([ids], 32, 2)
    bias = math.log(32) - bigrams.plug_in_nats
    # About (1024 - 32) / (2 * 20,000) = 0.025 nats.
    assert bias == pytest.approx(0.025, abs=0.003)
    assert abs(math.log(32) - bigrams.miller_madow_nats) < 0.1 * bias


def test_plug_in_goes_to_zero_where_contexts_are_unique():
    ids = np.random.default_rng(2).integers(0, 60_000, 3_000)
    longest = conditional_entropies([ids], 65_537, 4)[-1]
    assert longest.n_grams == longest.n_samples
    assert longest.plug_in_nats == 0.0


def test_a_constant_has_no_entropy():
    for estimate in conditional_entropies([np.full(100, 7)], 65_537, 6):
        assert (estimate.n_grams, estimate.n_contexts) == (1, 1)
        assert estimate.plug_in_nats == estimate.miller_madow_nats == 0.0


def test_ngrams_are_those_of_each_sequence_and_none_crosses():
    rng = np.random.default_rng(3)
    sequences = [rng.integers(0, 4, length) for length in (0, 1, 2, 7, 30)]
    below = [()]
    for table in count_ngrams(sequences, 4, 5):
        counts, before = Counter(), defaultdict(set)
        for sequence in (each.tolist() for each in sequences):
            for start in range(len(sequence) - table.n + 1):
                gram = tuple(sequence[start : start + table.n])
                counts[gram] += 1
                before[gram].add(sequence[start - 1] if start else None)
        grams = [(*below[key // 4], int(key % 4)) for key in table.keys]
        assert dict(zip(grams, table.counts.tolist(), strict=True)) == counts
        if table.n < 5:
            found = dict(zip(grams, table.n_before.tolist(), strict=True))
            assert found == {gram: len(ids) for gram, ids in before.items()}
        below = grams


@pytest.mark.parametrize(
    ("sequences", "n_ids", "max_n", "message"),
    [
        ([np.zeros(0, np.int32)], 4, 1, "there are no ids"),
        ([np.array([1, 4])], 4, 1, r"the id 4 is outside of \[0, 4\)"),
        ([np.array([1, 2])], 4, 3, "no sequence has 3 ids"),
        ([np.array([1, 2])], 4, 0, "at least 1 id"),
    ],
)
def test_what_cannot_be_counted_is_named(sequences, n_ids, max_n, message):
    with pytest.raises(ValueError, match=message):
        conditional_entropies(sequences, n_ids, max_n)
