"""What a set of word problems holds: marks, arithmetic, results, and the lengths of its parts.

These numbers decide the sizes of rows (`data.problem_rows.ProblemLayout`), and two of them are
baselines: "marks behind '='" is the recall of the rule that a calculation begins behind every "=",
and "'=' before a mark" its precision.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latent_jax.analysis.codes import Tables
from latent_jax.analysis.options import json_option, option, text_option, tokenizer_option
from latent_jax.contracts import Source
from latent_jax.data.problems import Problem, parse_problem, result_length
from latent_jax.data.verifier import count_steps, evaluate, is_right, number_of
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table
from latent_jax.tokenizers import Tokenizer

TOLERANCE = 0.01
"""A calculator's right side may be rounded: it counts as right within so much of the value."""

PERCENTILES = (50, 90, 95, 99)

_MANY = 3
"""So many operators, and more, are counted as one."""

_BEFORE = re.compile(r"=[\s$£€]*$")
_OPERATORS = re.compile(r"(?<=[\d)])\s*(?://|[-+*/])")


@dataclasses.dataclass(frozen=True)
class ProblemsOptions:
    """Options of the analysis `problems`."""

    text: tuple[str, ...] = text_option()
    tokenizer: tuple[str, ...] = tokenizer_option()
    vocab_file: str = option("", "File to read the tokenizer BPE[v=N] from, as in a config.")
    merges_file: str = option("", "GPT-2's merges.txt, together with its vocab.json.")
    json: str | None = json_option()
    lengths: str | None = option(None, "Also write the records of the second table to this file.")


class _Mark(NamedTuple):
    """A mark, and the text on both sides of it."""

    before: str
    expression: str
    result: str
    behind: str
    question: str


def measure(name: str, problems: Sequence[Problem]) -> Tables:
    """Return the records of "problems": what is counted, and the number for the set `name`.

    Shares are in percent.

    Raises:
        ValueError: there is no problem, or an answer is no number.
    """
    if not problems:
        raise ValueError(f"the problems {name!r} are none: name files that hold some")
    marks = [mark for problem in problems for mark in _marks(problem)]
    found = {**_counts(problems), **_mark_shares(problems, marks), **_answer_counts(problems)}
    return {"problems": [{"what": what, name: value} for what, value in found.items()]}


def _marks(problem: Problem) -> Iterator[_Mark]:
    pairs = zip(problem.expressions, problem.results, strict=True)
    for place, (expression, result) in enumerate(pairs):
        before, behind = problem.segments[place : place + 2]
        yield _Mark(before, expression, result, behind, problem.question)


def _counts(problems: Sequence[Problem]) -> dict[str, float]:
    per_answer = collections.Counter(len(problem.results) for problem in problems)
    n_marks = sum(n * count for n, count in per_answer.items())
    return {
        "problems": len(problems),
        "questions that occur twice": len(problems) - len({p.question for p in problems}),
        "marks": n_marks,
        "marks per answer": n_marks / len(problems),
        **{f"answers with {n} marks": per_answer[n] for n in range(max(per_answer) + 1)},
        "lines with 2 marks or more": sum(map(_crowded_lines, problems)),
    }


def _mark_shares(problems: Sequence[Problem], marks: Sequence[_Mark]) -> dict[str, float]:
    n_equals = sum(text.count("=") for problem in problems for text in problem.segments)
    n_behind = sum(bool(_BEFORE.search(mark.before)) for mark in marks)

    def share(holds: Callable[[_Mark], bool]) -> float:
        return _percent(sum(map(holds, marks)), len(marks))

    def has_operators(mark: _Mark, n: int) -> bool:
        return min(len(_OPERATORS.findall(mark.expression)), _MANY) == n

    return {
        "marks behind '=' %": _percent(n_behind, len(marks)),
        "'=' before a mark %": _percent(n_behind, n_equals),
        "marks that are right within 1 %": sum(map(_is_close, marks)),
        **{
            f"marks of {n}{' or more' * (n == _MANY)} operators %": share(
                lambda mark, n=n: has_operators(mark, n)
            )
            for n in range(_MANY + 1)
        },
        "results that open their segment %": share(lambda m: m.behind.startswith(m.result)),
        "the same, commas aside %": share(lambda m: result_length(m.behind, m.result) > 0),
        "results of more than 3 digits %": share(lambda m: len(re.sub(r"\D", "", m.result)) > 3),
        "results with decimals %": share(lambda m: "." in m.result),
        "results that stand in the question %": share(_stands_in_question),
    }


def _answer_counts(problems: Sequence[Problem]) -> dict[str, float]:
    texts = [("".join(problem.segments), problem.answer) for problem in problems]
    held, stated = map(sum, zip(*(count_steps(text) for text, _ in texts), strict=True))
    return {
        "answers that are the last result": sum(
            number_of(p.results[-1]) == number_of(p.answer) for p in problems if p.results
        ),
        "answers that the verifier takes": sum(is_right(*text) for text in texts),
        "the same, lenient": sum(is_right(*text, strict=False) for text in texts),
        "equations in the text": stated,
        "of them hold %": _percent(held, stated),
    }


def measure_lengths(name: str, problems: Sequence[Problem], tokenizer: Tokenizer) -> Tables:
    """Return the records of "lengths": the tokens of each part of a problem, one by one.

    "A" is a whole row of text: question, segments and end; "B" all segments behind a mark and the
    end, see `data.problem_rows`. Prompts come on top.
    """
    parts: dict[str, list[int]] = {}

    def add(part: str, length: int) -> int:
        parts.setdefault(part, []).append(length)
        return length

    for problem in problems:
        marks = zip(problem.expressions, problem.results, strict=True)
        equations = [f"{left}={right}" for left, right in marks]
        pieces = [problem.question, *problem.segments, *equations, *problem.results]
        texts = [piece.encode("utf-8", "surrogatepass") for piece in pieces]
        sizes = iter([len(ids) for ids, _ in tokenizer.encode_batch(texts)])
        question = add("question", next(sizes))
        segments = [next(sizes) for _ in problem.segments]
        add("first segment", segments[0])
        for size in segments[1:]:
            add("later segment", size)
        for _ in equations:
            add("mark, lhs=rhs", next(sizes))
        for _ in equations:
            add("result", next(sizes))
        add("answer without marks", sum(segments))
        add("A", question + sum(segments) + 1)
        if equations:
            add("B", sum(segments[1:]) + 1)
    return {
        "lengths": [
            {"method": tokenizer.name, "text": name, "piece": part, **_summary(np.array(lengths))}
            for part, lengths in parts.items()
        ]
    }


def read_problems(source: Source) -> list[Problem]:
    """Return all problems of a source.

    Raises:
        CorpusError: a file cannot be read, or a line holds no problem.
    """
    return [parse_problem(document.text) for document in source.documents()]


def joined(found: Sequence[Tables]) -> Tables:
    """Return one table of "problems" with a column for each set, and all lengths below another."""
    rows: dict[str, dict[str, Any]] = {}
    lengths: list[Mapping[str, Any]] = []
    for tables in found:
        for record in tables.get("problems", ()):
            rows.setdefault(record["what"], {}).update(record)
        lengths += tables.get("lengths", ())
    return {"problems": list(rows.values()), "lengths": lengths}


def show(tables: Tables) -> str:
    """Return the tables for a terminal."""
    names = [key for key in tables["problems"][0] if key != "what"]
    columns = [Column("what", "what"), *(Column(name, name, ",.6g") for name in names)]
    shown = [text_table(tables["problems"], columns)]
    if tables.get("lengths"):
        shown.append(text_table(tables["lengths"]))
    return "\n\n".join(shown)


def _summary(lengths: np.ndarray) -> dict[str, float]:
    percentiles = np.percentile(lengths, PERCENTILES, method="higher")
    return {
        "mean": float(lengths.mean()),
        **{f"p{q}": int(value) for q, value in zip(PERCENTILES, percentiles, strict=True)},
        "most": int(lengths.max()),
    }


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else 0.0


def _is_close(mark: _Mark) -> bool:
    """Return whether a mark's arithmetic is right; `//` is read as a division."""
    value, stated = evaluate(mark.expression.replace("//", "/")), number_of(mark.result)
    if value is None or stated is None:
        return False
    return abs(value - stated) <= abs(stated) * TOLERANCE


def _crowded_lines(problem: Problem) -> int:
    """Return how many lines of an answer have more than one mark."""
    n, on_line = 0, 0
    for segment in problem.segments[:-1]:
        on_line = 1 if "\n" in segment else on_line + 1
        n += on_line == 2
    return n


def _stands_in_question(mark: _Mark) -> bool:
    """Return whether a result stands in the question as a number of its own."""
    own = rf"(?<![\d.,]){re.escape(mark.result)}(?![\d]|[.,]\d)"
    return re.search(own, mark.question) is not None
