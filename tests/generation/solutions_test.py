"""Last lines compared by hand, and the sums over solutions against the solutions themselves."""

import numpy as np
import pytest

from latent_jax.generation.rollout import Decoding
from latent_jax.generation.solutions import is_right, last_lines_equal, solution_scores
from latent_jax.tasks.reasoning_scores import summarize
from tests.made_solutions import answers, made_problems, made_rollout
from tests.small_reasoner import THINKER

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


def test_sums_count_the_problems_alone(monkeypatch):
    right, wrong = (b"=1=2\n#### " + answers()[0] + end for end in (b"|", b"0|"))
    found = made_rollout([right, wrong, right[:-1], right], n_slots=(3, 1))
    monkeypatch.setattr("latent_jax.generation.solutions.write_greedily", lambda *_: found)
    scores = solution_scores(THINKER, {}, made_problems(), Decoding(7), tuple(b"####"))
    assert {name: float(x) for name, x in scores.items()} == {
        "n_solutions": 3.0,
        "n_right": 1.0,
        "n_cut": 1.0,
        "n_opened": 6.0,
        "n_slots_written": 12.0,
    }


def test_a_right_solution_has_ended():
    texts = [b"#### " + digit for digit in answers()]
    found = made_rollout([texts[0] + b"|", texts[1], texts[2] + b"|", texts[3] + b"|"])
    right = is_right(found, made_problems(), tuple(b"####"))
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
