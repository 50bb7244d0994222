"""Made problems: right, different, the same every time, and held out for good."""

import dataclasses

import numpy as np
import pytest

from latent_jax.data import CorpusError, DataConfig, make_source, open_corpus
from latent_jax.data.chains import KINDS, LETTERS, Chains, ChainsConfig, permutations
from latent_jax.data.problems import parse_problem, problem_document
from latent_jax.data.verifier import count_steps, is_right

SHAPES = [(1, 1), (2, 3), (3, 2), (1, 4)]


def problems(**words):
    documents = list(Chains(ChainsConfig(**{"n_problems": 200, **words})).documents())
    return [parse_problem(document.text) for document in documents]


@pytest.mark.parametrize(("n_marks", "n_operations"), SHAPES)
def test_permutations_are_applied_one_after_the_other(n_marks, n_operations):
    n = 80 if n_marks == n_operations == 1 else 200
    table = permutations(3)
    assert (np.sort(table, axis=1) == np.arange(10)).all() and len({*map(bytes, table)}) == 8
    for problem in problems(n_marks=n_marks, n_operations=n_operations, n_problems=n, seed=3):
        start, letters = problem.question[0], problem.question[1:]
        states, state = [], int(start)
        for letter in letters:
            state = int(table[LETTERS.index(letter), state])
            states.append(str(state))
        firsts = range(0, len(states), n_operations)
        marks = ["".join(states[first : first + n_operations]) for first in firsts]
        assert problem.expressions == tuple(marks)
        assert problem.results == tuple(mark[-1] for mark in marks)
        shown = "".join(f"={mark[-1]}" for mark in marks)
        assert "".join(problem.segments) == f"{shown}\n#### {states[-1]}"
        assert problem.answer == states[-1] and problem.segments[0] == "="


@pytest.mark.parametrize(("n_marks", "n_operations"), SHAPES)
def test_arithmetic_is_right_and_says_what_its_question_asks(n_marks, n_operations):
    words = dict(kind="arithmetic", n_marks=n_marks, n_operations=n_operations, largest=7)
    for problem in problems(**words, n_problems=60):
        first, *rest = problem.question.removesuffix(".").split(". ")
        value = int(first.removeprefix("Start with "))
        for said in rest:
            verb, number = said.rsplit(" ", 1)
            assert 1 <= int(number) <= 7
            value = {
                "Add": value + int(number),
                "Subtract": value - int(number),
                "Multiply by": value * int(number),
            }[verb]
        assert len(rest) == n_marks * n_operations and problem.answer == str(value)
        assert is_right("".join(problem.segments), problem.answer)
        marks = zip(problem.expressions, problem.results, strict=True)
        equations = " ".join(f"{left}={right}" for left, right in marks)
        assert count_steps(equations) == (n_marks, n_marks)
        assert all(
            segment.startswith(result)
            for segment, result in zip(problem.segments[1:], problem.results, strict=True)
        )


def test_the_examples_of_the_documentation():
    (problem,) = problems(kind="arithmetic", n_marks=1, n_operations=2, n_problems=1)
    assert problem.segments[0] == "The value is " and problem.segments[1].count("\n#### ") == 1
    assert problem.expressions[0].startswith("(") and ")" in problem.expressions[0]


def test_kinds_of_operations_are_equally_frequent():
    said = " ".join(p.question for p in problems(kind="arithmetic", n_problems=2000))
    counts = [said.count(verb) for verb in ("Add", "Subtract", "Multiply")]
    assert sum(counts) == 12_000 and max(counts) < 1.1 * min(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_questions_differ_and_are_the_same_every_time(kind):
    config = ChainsConfig(kind=kind, n_problems=3000, n_operations=2)
    made = list(Chains(config).documents())
    assert len({document.key for document in made}) == 3000 == len(made)
    assert made == list(Chains(config).documents())
    assert made == [problem_document(p.question, _answer(p)) for p in map(_parsed, made)]
    other = list(Chains(dataclasses.replace(config, seed=1)).documents())
    assert other[:50] != made[:50]


def _parsed(document):
    return parse_problem(document.text)


def _answer(problem):
    """Return the answer with its marks."""
    first, *rest = problem.segments
    marks = zip(problem.expressions, problem.results, rest, strict=True)
    return first + "".join(f"<<{left}={right}>>{text}" for left, right, text in marks)


@pytest.mark.parametrize(
    ("words", "n"),
    [
        (dict(n_marks=1, n_operations=1), 10 * 8),
        (dict(n_marks=1, n_operations=2), 10 * 8**2),
        (dict(kind="arithmetic", n_marks=1, n_operations=1, largest=4), 4 * (2 * 4 + 2)),
    ],
)
def test_there_are_so_many_and_no_more(words, n):
    assert len({p.question for p in problems(**words, n_problems=n)}) == n
    with pytest.raises(CorpusError, match=rf"n_problems={n + 1}, and there are {n} different"):
        ChainsConfig(**words, n_problems=n + 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"kind": "words"}, r"unknown chains\.kind 'words'; known: permutations, arithmetic"),
        ({"n_marks": 0}, r"chains\.n_marks must be at least 1"),
        ({"n_marks": 5, "n_operations": 5}, "are 25 operations, and a problem has at most 24"),
        ({"largest": 1000}, r"chains\.largest must be"),
    ],
)
def test_what_cannot_be_made_is_refused(words, message):
    with pytest.raises(CorpusError, match=message):
        ChainsConfig(**words)


def test_the_longest_chains_have_exact_numbers():
    words = dict(kind="arithmetic", n_marks=1, n_operations=24, largest=999)
    for problem in problems(**words, n_problems=300):
        ((left, right),) = zip(problem.expressions, problem.results, strict=True)
        assert count_steps(f"{left}={right}") == (1, 1)


def test_a_held_out_problem_is_never_trained_on(tmp_path):
    chains = ChainsConfig(n_problems=500, n_marks=1, n_operations=2)
    config = DataConfig(
        source="chains", chains=chains, cache_dir=str(tmp_path), validation_percent=30
    )
    corpus = open_corpus(config)
    splits = [{d.key for d in corpus.documents(split)} for split in corpus.n_documents]
    assert sum(map(len, splits)) == len(set().union(*splits)) == 500
    assert corpus.n_documents["validation"] > 100

    again = open_corpus(dataclasses.replace(config, chains=dataclasses.replace(chains, seed=1)))
    assert again.fingerprint != corpus.fingerprint
    stamps = [make_source(dataclasses.replace(config, chains=c)).stamp() for c in (chains, chains)]
    assert stamps[0] == stamps[1]


def _sequences(config, held_out=False):
    """Return the letters of every mark of all problems, and the questions."""
    questions = [_parsed(d).question for d in Chains(config, held_out).documents()]
    width = config.n_operations
    cut = [q[at : at + width] for q in questions for at in range(1, len(q), width)]
    return set(cut), questions


@pytest.mark.parametrize(("n_problems", "n_marks"), [(20_000, 2), (3_000, 1)])
def test_held_out_problems_have_sequences_of_operations_that_no_other_has(n_problems, n_marks):
    config = ChainsConfig(n_problems=n_problems, n_marks=n_marks, n_held_out=300)
    trained, questions = _sequences(config)
    held_out, others = _sequences(config, held_out=True)
    assert len(set(questions)) == n_problems and len(set(others)) == 300
    assert len(held_out) == 51 and len(trained) == 8**3 - 51
    assert not trained & held_out
    # Without the option every sequence of a held-out problem is among those to train on.
    by_hash, _ = _sequences(dataclasses.replace(config, n_held_out=0))
    assert held_out < by_hash
    other, _ = _sequences(dataclasses.replace(config, seed=1), held_out=True)
    assert other != held_out


def test_held_out_problems_do_not_depend_on_how_many_are_trained_on():
    few, many = (ChainsConfig(n_problems=n, n_held_out=50) for n in (100, 5_000))
    assert _sequences(few, held_out=True) == _sequences(many, held_out=True)


def test_held_out_problems_are_the_validation_split(tmp_path):
    chains = ChainsConfig(n_problems=400, n_held_out=60)
    config = DataConfig(source="chains", chains=chains, cache_dir=str(tmp_path))
    corpus = open_corpus(config)
    assert corpus.n_documents == {"train": 400, "validation": 60}
    _, questions = _sequences(chains, held_out=True)
    assert {d.key for d in corpus.documents("validation")} == set(questions)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(n_operations=1), "the 8 sequences of 1 operations .* takes 2 operations"),
        (dict(n_operations=9), "the 134217728 sequences of 9 operations"),
        (dict(n_marks=1, n_operations=2), "n_held_out=100, and there are 60 different"),
        (dict(n_marks=1, n_operations=2, n_problems=600), "n_problems=600, .* 580 different"),
    ],
)
def test_problems_that_cannot_be_held_out_are_refused(words, message):
    with pytest.raises(CorpusError, match=message):
        ChainsConfig(**{"n_problems": 100, "n_held_out": 100, **words})


def test_a_share_of_keys_beside_held_out_problems_is_refused():
    chains = ChainsConfig(n_problems=100, n_held_out=10)
    with pytest.raises(CorpusError, match=r"n_held_out=10 .* data\.validation_percent=20"):
        DataConfig(source="chains", chains=chains, validation_percent=20)
