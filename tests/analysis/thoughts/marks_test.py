"""Operands and operators of marks, read from text."""

import numpy as np
import pytest

from latent_jax.analysis.thoughts.marks import (
    OPERAND,
    OPERATOR,
    chain_of,
    first_operation,
    mark_targets,
)
from latent_jax.analysis.thoughts.probes import stands_for
from latent_jax.data.problem_rows import ProblemCode, ProblemLayout
from latent_jax.data.problems import problem_document
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tokenizers import Bytes


def test_a_chain_has_the_state_before_each_letter():
    assert chain_of("7cafbde", ["253", "418"]) == [
        ("7", "c"),
        ("2", "a"),
        ("5", "f"),
        ("3", "b"),
        ("4", "d"),
        ("1", "e"),
    ]
    assert chain_of("Question: 7ca\n", ["25"]) == [("7", "c"), ("2", "a")]
    assert chain_of("7cafbde", ["253"]) is None  # letters for more operations
    assert chain_of("7ca", ["2+5"]) is None


@pytest.mark.parametrize(
    ("mark", "found"),
    [
        ("(7+5)*3", ("7", "+")),
        ("48/2", ("4", "/")),
        ("-3+5", ("3", "+")),
        (".5 * 12", ("5", "*")),
        ("50%*8", ("5", "*")),
        ("12", None),
        ("", None),
    ],
)
def test_a_sum_has_its_first_digit_and_operator(mark, found):
    assert first_operation(mark) == found


def targets(question, answer, k, written="expression"):
    """Return the operands and operators of the slots of a problem, one text for each block."""
    layout = ProblemLayout(text=80, blocks_text=60, n_blocks=2, n_slots=12)
    row = ProblemCode(Bytes(), layout, written=written).encode_example(
        problem_document(question, answer)
    )
    batch = {name: x[None] for name, x in row.fields.items()}
    batch["weights"] = np.ones((1, layout.length), np.float32)
    problems = Problems.of(batch, layout)
    fields = {
        name: np.asarray(x)
        for name, x in (problems._asdict() | {"breakpoints_BJ": problems.breakpoints_BJ}).items()
    }
    n_BJ = np.where(fields["breakpoints_BJ"] > 0, k, 0)
    standing = stands_for(fields["written_BJK"], fields["n_written_BJ"], n_BJ)
    is_used = np.arange(12) < n_BJ[..., None]
    found = mark_targets(Bytes(), fields, standing, is_used)
    texts = []
    for name in (OPERAND, OPERATOR):
        class_PJK, is_there_PJK = found[name]
        for block in range(2):
            there = is_there_PJK[0, block]
            assert not there[k:].any()
            texts.append("".join(map(chr, class_PJK[0, block][there])))
    return texts


CHAIN = "7cafbde", "=<<253=3>>3=<<418=8>>8\n#### 8"


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (3, ["725", "341", "caf", "bde"]),
        (2, ["25", "41", "af", "de"]),
        (1, ["5", "1", "f", "e"]),
    ],
)
def test_slots_of_a_chain_stand_for_the_last_operation_of_their_share(k, expected):
    assert targets(*CHAIN, k) == expected


def test_behind_the_states_of_an_equation_there_is_no_operation():
    # Five slots for "253=3": the last two stand for "=3".
    assert targets(*CHAIN, 5, "equation") == ["725", "341", "caf", "bde"]


def test_all_slots_of_a_sum_stand_for_the_mark():
    answer = "It is <<(7+5)*3=36>>36.\nThen <<36=36>>36 again.\n#### 36"
    assert targets("Start with 7. Add 5.", answer, 2) == ["77", "", "++", ""]
