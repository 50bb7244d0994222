"""Norms, cosines and ranks against numbers by hand."""

import numpy as np
import pytest

from latent_jax.analysis.thoughts.geometry import effective_rank, geometry_records, mean_cosine


def test_effective_rank_counts_directions():
    assert effective_rank(np.eye(3)) == pytest.approx(3)
    assert effective_rank(np.ones((4, 3))) == pytest.approx(1)
    # Singular values 3 and 1: exp of the entropy of (3/4, 1/4).
    by_hand = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(np.diag([3.0, 1.0, 0.0])) == pytest.approx(by_hand)
    assert effective_rank(np.zeros((2, 2))) == 0


def test_mean_cosine_is_that_of_all_pairs():
    x = np.array([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    assert mean_cosine(x) == pytest.approx((0 + 2 * np.sqrt(0.5)) / 3)
    assert mean_cosine(np.array([[1.0, 0.0], [-3.0, 0.0]])) == pytest.approx(-1)
    # A vector of zeros has cosine 0 with every other.
    assert mean_cosine(np.array([[1.0, 0.0], [4.0, 0.0], [0.0, 0.0]])) == pytest.approx(1 / 3)


def test_records_are_of_slots_in_use():
    # Two problems, one block, two slots; the second problem uses one slot.
    v_PJKD = np.array([[[[3.0, 0.0], [0.0, 4.0]]], [[[0.0, 1.0], [9.0, 9.0]]]])
    is_used_PJK = np.array([[[True, True]], [[True, False]]])
    whole, first, second = geometry_records(v_PJKD, is_used_PJK, 2.0)
    assert (whole["slot"], first["slot"], second["slot"]) == (0, 1, 2)
    assert whole["n_thoughts"] == 3 and whole["norm_ratio"] == pytest.approx((3 + 4 + 1) / 3 / 2)
    assert whole["slots_cosine"] == pytest.approx(0)  # of the one block with two
    assert first["problems_cosine"] == pytest.approx(0)
    assert first["norm_ratio"] == pytest.approx(1) and first["effective_rank"] < 2
    assert second["n_thoughts"] == 1 and "problems_cosine" not in second
