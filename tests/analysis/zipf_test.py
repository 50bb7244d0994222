"""Symbols by rank."""

import numpy as np
import pytest

from latent_jax.analysis.zipf import exponent, measure_ids, rank_frequencies, word_ids


def test_ranks_fall_and_their_exponent_is_recovered():
    ids = np.repeat(np.arange(4), [1, 5, 0, 4])
    np.testing.assert_allclose(rank_frequencies(ids, 10), [0.5, 0.4, 0.1])
    for s in (0.0, 0.7, 1.0, 1.5):
        shares = np.arange(1, 3000, dtype=np.float64) ** -s
        assert exponent(shares / shares.sum()) == pytest.approx(s, abs=1e-9)
    assert exponent(np.array([0.5, 0.5])) is None


def test_words_and_signs_are_symbols():
    ids, n = word_ids([b"The cat, the dog.", "été".encode(), b"\xff"])
    assert n == 8  # The cat , the dog . été U+FFFD
    assert len(ids) == 8
    ids, n = word_ids([b"a a", b"a b"])
    assert n == 2 and sorted(np.bincount(ids).tolist()) == [1, 3]


def test_what_is_drawn_are_the_first_the_last_and_at_most_a_thousand_ranks():
    ids = np.repeat(np.arange(5000), np.arange(5000, 0, -1))
    tables = measure_ids("ids", ids, 6000)
    (record,), ranks = tables["zipf"], tables["ranks"]
    assert ranks[0] == {"code": "ids", "rank": 1, "share": record["top_share"]}
    assert ranks[-1]["rank"] == 5000 == 6000 * record["used_ids_share"]
    assert len(ranks) <= 1000
