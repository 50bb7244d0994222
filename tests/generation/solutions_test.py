"""Last lines compared by hand, and the sums over solutions against the solutions themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation.rollout import Decoding
from latent_jax.generation.solutions import (
    is_right,
    last_lines_equal,
    solution_scores,
    write_greedily,
)
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import summarize
from tests.small_reasoner import LAYOUT, THINKER, moved_variables, small_batch

MARK = tuple(b"##")
END = 256


def row(text, before=b"?"):
    """Return ids and which are of the answer, padded to 16: "|" is the separator that ends it."""
    ids = [*before, *(END if byte == ord("|") else byte for byte in text)]
    padding = [END] * (16 - len(ids))
    is_answer = [False] * len(before) + [True] * len(text) + [False] * len(padding)
    return np.array([ids + padding]), np.array([is_answer])


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (b"=3\n## 8|", b"=3\n## 8|", True),
        (b"=5\n## 8|", b"=377\n## 8|", True),  # only the last line counts, wherever it begins
        (b"=3\n## 8|", b"=3\n## 7|", False),
        (b"=3\n## 8|", b"=3\n## 88|", False),
        (b"=3\n## 8|", b"=3\n## 8", False),  # the end is one of the tokens
        (b"=3\n## 8|", b"=3\n## 8.0|", False),  # the same number, but other tokens
        (b"=3\n8|", b"=3\n## 8|", False),
        (b"=3\n8|", b"=3\n8|", False),
        (b"## 8\n## 8|", b"=3\n## 8|", False),
        (b"## 8\n## 8|", b"## 8\n## 8|", False),
        (b"### 8|", b"## 8|", False),  # there are two marks, one a token behind the other
        (b"=3456789\n## 8|", b"## 8|", True),
        (b"=3\n##", b"=5\n##", True),
        (b"=3\n##", b"=5\n##|", False),
        (b"=3\n#", b"=5\n##", False),
        (b"=345678901234##", b"##", True),  # the mark ends the row
    ],
)
def test_last_lines_are_compared_from_their_one_mark_on(one, other, is_same):
    for left, right in ((one, other), (other, one)):
        found = last_lines_equal(*row(left), *row(right), MARK)
        assert found.shape == (1,) and bool(found[0]) == is_same


def test_a_mark_in_the_question_does_not_count():
    asked = row(b"## 8|", before=b"##5")
    assert bool(last_lines_equal(*asked, *row(b"## 8|"), MARK)[0])


@pytest.fixture(scope="module")
def written():
    """Greedy solutions of four rows, the last of which is no problem."""
    params = moved_variables(LatentReasoning(THINKER, 0.3))["params"]
    params["thought"]["start_head"]["bias"] += 0.5  # blocks are opened
    batch = {name: jnp.array(x) for name, x in small_batch().items()}
    batch["weights"] = batch["weights"].at[3].set(0)
    problems = Problems.of(batch, LAYOUT)
    decoding = Decoding(7)
    mark = tuple(b"####")
    scores = solution_scores(THINKER, params, problems, decoding, mark)
    found = jax.device_get(write_greedily(THINKER, params, problems, decoding))
    return jax.device_get(scores), found, problems


def test_sums_count_the_problems_alone(written):
    scores, found, _ = written
    assert scores["n_solutions"] == 3
    assert scores["n_cut"] == (~found.is_ended_B[:3]).sum() > 0
    assert scores["n_opened"] == (found.opens_BT[:3] > 0).sum() > 0
    assert scores["n_slots_written"] == found.n_BJ[:3].sum() == 3 * scores["n_opened"]


def test_a_right_solution_has_ended(written):
    _, found, problems = written
    own = found._replace(
        ids_BT=problems.ids_BT,
        segment_BT=problems.segment_BT,
        is_ended_B=jnp.array([True, False, True, True]),
    )
    right = is_right(own, problems, tuple(b"####"))
    np.testing.assert_array_equal(right, [True, False, True, True])


def test_metrics_are_shares_of_solutions():
    sums = dict.fromkeys(
        ("opening_nats", "result_nats_without", "rest_nats_without", "n_bytes", "n_results"), 1.0
    )
    sums |= dict.fromkeys(("n_rest", "start_right", "start_said", "start_true"), 1.0)
    solved = {"n_solutions": 8, "n_right": 2, "n_cut": 4, "n_opened": 12, "n_slots_written": 20}
    metrics = summarize(sums | solved)
    assert (metrics["right_share"], metrics["cut_share"]) == (0.25, 0.5)
    assert (metrics["blocks_per_solution"], metrics["slots_per_solution"]) == (1.5, 2.5)
    assert "cut_share" not in summarize(sums)
