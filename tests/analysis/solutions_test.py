"""Solutions of a small reasoner, scored by hand."""

import dataclasses
import types

import numpy as np
import pytest

from latent_jax.analysis.solutions.measure import (
    Scores,
    SolutionsOptions,
    record_of,
    score,
    task_of,
    ways,
)
from latent_jax.analysis.solutions.shown import show_solutions
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.thought_slots import Curriculum
from tests.made_solutions import answers, made_batch, made_problems, made_rollout
from tests.small_reasoner import THINKER, TOKENIZER

TASK = LatentReasoning(THINKER, 0.3)


def run_of(task, method="Thoughts[latent,k=3]"):
    return types.SimpleNamespace(task=task, config=types.SimpleNamespace(method=method))


def scored():
    """Scores of a right solution, one that is right by its last number alone, and a cut one."""
    first, second, third = answers()[:3]
    solutions = [
        b"1+2=3 2*2=5\n#### " + first + b"|",
        b"#### 5\n#### " + second + b"|",
        b"3+3=6 #### " + third + b"7",
        b"#### 1|",
    ]
    return score(TOKENIZER, made_batch(), (made_rollout(solutions), made_problems()))


def test_rows_that_are_problems_are_scored_by_the_verifier():
    found = scored()
    np.testing.assert_array_equal(found.is_right_P, [True, False, False])
    np.testing.assert_array_equal(found.is_lenient_P, [True, True, False])
    np.testing.assert_array_equal(found.n_steps_P, [2, 0, 1])
    np.testing.assert_array_equal(found.n_steps_right_P, [1, 0, 1])
    np.testing.assert_array_equal(found.is_cut_P, [False, False, True])
    np.testing.assert_array_equal(found.n_blocks_P, [2, 2, 2])
    np.testing.assert_array_equal(found.n_slots_P, [2, 2, 2])
    np.testing.assert_array_equal(found.n_tokens_P, [19, 14, 13])


def test_shares_and_means_have_intervals_over_problems():
    record = record_of(scored())
    assert record["n_problems"] == 3 and record["n_steps"] == 3
    assert record["right_share"] == record["cut_share"] == pytest.approx(1 / 3)
    assert record["lenient_right_share"] == pytest.approx(2 / 3)
    assert record["steps_right_share"] == pytest.approx(2 / 3)
    # Of two problems with 1 of 2 and 1 of 1: residuals of 1/3, twice 2/9, and 3 equations.
    half = 1.959964 * (2 * (2 / 9) / 1 * 1 / 2) ** 0.5 / 3 * 2**0.5
    assert record["steps_right_share_low"] == pytest.approx(2 / 3 - half)
    assert record["steps_right_share_high"] == 1.0
    half = 1.959964 * np.std([19, 14, 13], ddof=1) / 3**0.5
    assert record["tokens_per_solution_low"] == pytest.approx(46 / 3 - half)
    assert record["tokens_per_solution_high"] == pytest.approx(46 / 3 + half)
    assert record["slots_per_solution_low"] == record["slots_per_solution"] == 2


def test_one_solution_without_an_equation():
    one = Scores(*(x[1:2] for x in scored()))
    record = record_of(one)
    assert record["steps_right_share"] is record["steps_right_share_low"] is None
    assert record["blocks_per_solution"] == 2 and record["blocks_per_solution_high"] is None
    origin = {"run": "a", "name": "a", "way": "as trained"}
    shown = show_solutions([origin | record])
    assert "a: 1 held-out problems" in shown and "equations" not in shown
    both = show_solutions([origin | record_of(scored()), origin | {"run": "b"} | record])
    assert "equations" in both and "run" in both


def test_a_run_writes_as_trained_without_blocks_and_with_fewer_slots():
    found = ways(run_of(TASK), (0, 2, 3))
    assert [(way.name, way.k) for way in found] == [
        ("as trained", 3),
        ("no thoughts", 0),
        ("k=0, marks only", 0),
        ("k=2", 2),
    ]
    assert [way.decoding.thinks for way in found] == [True, False, True, True]
    assert [way.decoding.limit for way in found] == [-1, -1, 0, 2]
    none = dataclasses.replace(THINKER, slots="none", curriculum=Curriculum(0))
    (way,) = ways(run_of(LatentReasoning(none, 0.3)), (1,))
    assert way.name == "no thoughts"


def test_what_cannot_be_written_is_refused():
    message = r"--k=4 is more than the 3 slots in use of Thoughts\[latent,k=3\] at the end of"
    with pytest.raises(ValueError, match=message):
        ways(run_of(TASK), (1, 4))
    # A curriculum computes all three slots of a row, and one holds a thought in the end.
    staged = dataclasses.replace(THINKER, curriculum=Curriculum(1, steps=9))
    assert staged.n_slots == 3
    with pytest.raises(ValueError, match="--k=2 is more than the 1 slots in use"):
        ways(run_of(LatentReasoning(staged, 0.3)), (2,))
    with pytest.raises(ValueError, match="Bytes writes no solutions: name a run of Thoughts"):
        task_of(run_of(object(), "Bytes"))
    for word in ("-1", "two", "1.5", ""):
        with pytest.raises(ValueError, match=f"--k is a number of slots, 0 or more; got '{word}'"):
            SolutionsOptions(k=(word,))
    assert SolutionsOptions(k=("2", "0", "2")).limits == (0, 2)


def test_written_thoughts_need_something_that_ends_them():
    written = dataclasses.replace(THINKER, slots="written", curriculum=Curriculum(0))
    task = LatentReasoning(written, 0.3)
    message = r"thoughts.slots=3, and thoughts.end_weight=0 trains nothing that ends one"
    for refused in (task, types.SimpleNamespace(supervised=task)):
        with pytest.raises(ValueError, match=message):
            refused = Policy(refused.supervised) if refused is not task else refused
            task_of(run_of(refused))
    assert task_of(run_of(dataclasses.replace(task, fills_slots=True))).fills_slots
    ends = dataclasses.replace(task, thinker=dataclasses.replace(written, ends=True))
    assert [way.k for way in ways(run_of(ends), (1,))] == [3, 0, 1]
    assert task_of(run_of(Policy(TASK))) is TASK
