"""Probes find what is there, and nothing where nothing is."""

import numpy as np
import pytest

from latent_jax.analysis.thoughts.probes import probe_records, ridge_accuracy, stands_for
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thought_slots import fill_slots
from tests.small_reasoner import CONFIG, LAYOUT, THINKER, moved_variables, small_batch


def test_a_slot_stands_for_the_last_token_of_its_share():
    written_PJK = np.array([[[4, 5, 6]], [[7, 8, 0]], [[9, 0, 0]]])
    n_written_PJ = np.array([[3], [2], [1]])
    found, place, is_there = stands_for(written_PJK, n_written_PJ, np.array([[3], [3], [2]]))
    assert place[1, 0].tolist() == [0, 1, 1]
    assert found[0, 0].tolist() == [4, 5, 6] and is_there[0, 0].all()
    assert found[1, 0].tolist() == [7, 8, 8] and is_there[1, 0].all()
    assert found[2, 0, :2].tolist() == [9, 9] and is_there[2, 0].tolist() == [True, True, False]
    found, *_ = stands_for(written_PJK, n_written_PJ, np.array([[1], [1], [1]]))
    assert found[:, 0, 0].tolist() == [6, 8, 9]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_the_token_that_the_slot_replaces_in_training(k):
    problems = Problems.of(small_batch(), LAYOUT)
    trunks = Trunks(CONFIG, moved_variables(LatentReasoning(THINKER, 0.3))["params"])
    slots = fill_slots(trunks, problems, "latent", k, np.int32(k), 0)
    written, n_written = np.array(problems.written_BJK), np.array(problems.n_written_BJ)
    found = stands_for(written, n_written, np.array(slots.contents.n_BJ))
    is_thought = np.array(slots.is_thought_BJK)
    np.testing.assert_array_equal(found.is_there, is_thought)
    np.testing.assert_array_equal(found.token[is_thought], np.array(slots.named_BJK)[is_thought])


def test_a_class_that_is_a_direction_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    y_N = rng.integers(3, 6, 400)
    is_train_N = np.arange(400) % 2 == 0
    noise_ND = rng.normal(size=(400, 8))
    there_ND = noise_ND + 6 * np.eye(8)[y_N]
    right, majority = ridge_accuracy(there_ND, y_N, is_train_N)
    assert right > 0.95 and 0.25 < majority < 0.45
    right, _ = ridge_accuracy(noise_ND, y_N, is_train_N)
    assert right < 0.5


def test_what_is_the_same_everywhere_says_the_most_frequent_class():
    y_N = np.array([1, 1, 2, 1, 1, 2, 1, 1])
    # Equal but for rounding, as pauses are.
    x_ND = np.full((8, 4), 0.3) + 1e-9 * np.random.default_rng(0).normal(size=(8, 4))
    right, majority = ridge_accuracy(x_ND, y_N, np.arange(8) % 2 == 0)
    assert right == majority == 0.75


def test_records_need_enough_problems():
    rng = np.random.default_rng(0)
    y_PJK = rng.integers(0, 2, (40, 1, 2))
    inputs = {"what it holds": y_PJK[..., None] * np.ones(3)}
    is_there_PJK = np.ones((40, 1, 2), bool)
    is_there_PJK[15:, :, 1] = False  # eight problems of even number and seven of odd number
    (record,) = probe_records(inputs, {"written token": (y_PJK, is_there_PJK)})
    assert record["slot"] == 1 and record["accuracy"] == 1
    assert (record["n_train"], record["n_test"]) == (20, 20)
    assert record["majority_share"] == pytest.approx(
        max(np.mean(y_PJK[1::2, 0, 0] == c) for c in (0, 1)), abs=0.5
    )
