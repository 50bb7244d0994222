"""Word problems with worked answers in the syntax of GSM8K (Cobbe et al. 2021, section 2).

A worked answer has calculator marks `<<lhs=rhs>>`, and its last line is `#### ANSWER`:

    Natalia sold 48/2 = <<48/2=24>>24 clips in May.
    Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.
    #### 72

A mark is a breakpoint: what a calculator, or a thought, would say there. The text on both sides of
the marks is what a reader sees. Here it is cut at the marks into segments, so that n marks make
n + 1 segments, and the result of mark j is mostly the beginning of segment j.

A problem is stored as a `Document`, one JSON line of question and answer, whose key is the
question. So corpora, splits and fingerprints need not know of it.
"""

import dataclasses
import json

from latent_jax.contracts import Document
from latent_jax.json_files import Kind, parse

MOST_BYTES = 1 << 16
"""Of a stored problem. It is far below the length at which a corpus cuts documents."""

END_MARK = "####"
"""Begins the last line of an answer, the number that is asked for."""

_KIND = Kind(keys={"question": str, "answer": str})


@dataclasses.dataclass(frozen=True)
class Problem:
    """A word problem with n calculator marks in its worked answer.

    Attributes:
        question: the text of the question.
        segments: n + 1 texts, the answer cut at the marks; joined they are the answer without
            marks, its last line included.
        expressions: n texts, the left side of each mark, such as "48/2".
        results: n texts, the right side of each mark, such as "24".
        answer: what the last line states behind `####`, without spaces around it.
    """

    question: str
    segments: tuple[str, ...]
    expressions: tuple[str, ...]
    results: tuple[str, ...]
    answer: str


def problem_document(question: str, answer: str) -> Document:
    """Return a question and its worked answer, in GSM8K's syntax, as a document."""
    text = json.dumps({"question": question, "answer": answer})
    return Document(question, text.encode("ascii"))  # JSON escapes what ASCII lacks


def parse_problem(text: bytes) -> Problem:
    """Return the problem of a document's text.

    Raises:
        ValueError: the text is no JSON object with question and answer, a mark is nested, not
            closed, or not of the form lhs=rhs, or the last line does not state the answer; the
            message says which.
    """
    record = parse(text, "the problem", _KIND)
    question, worked = record["question"], record["answer"]
    place = f"the problem {shown(question)}"
    if not question.strip():
        raise ValueError(f"{place} has an empty question")
    pieces = worked.split("<<")
    segments, expressions, results = [pieces[0]], [], []
    for piece in pieces[1:]:
        mark, closed, rest = piece.partition(">>")
        if not closed:
            raise ValueError(f"{place}: the mark {shown('<<' + mark)} is nested or has no '>>'")
        left, equals, right = mark.partition("=")
        if not (left.strip() and equals and right.strip()) or "=" in right:
            raise ValueError(f"{place}: the mark {shown(mark)} is not of the form lhs=rhs")
        segments.append(rest)
        expressions.append(left)
        results.append(right)
    for segment in segments:
        if ">>" in segment:
            raise ValueError(f"{place}: a '>>' in {shown(segment)} closes no mark")
    return Problem(
        question, tuple(segments), tuple(expressions), tuple(results), _answer(segments, place)
    )


def result_length(segment: str, result: str) -> int:
    """Return how many characters of a segment state the result that opens it.

    These are the leading characters that equal the result, or differ from it only by commas:
    "22,500 people" states "22500". Where the segment begins otherwise, as with "0.50" for ".5", it
    is 0.
    """
    if segment.startswith(result):
        return len(result)
    wanted, n_matched = result.replace(",", ""), 0
    for place, character in enumerate(segment):
        if n_matched == len(wanted):
            return place
        if character == "," and n_matched:
            continue
        if character != wanted[n_matched]:
            return 0
        n_matched += 1
    return len(segment) if n_matched == len(wanted) else 0


def _answer(segments: list[str], place: str) -> str:
    """Return what the last line states."""
    worked = "".join(segments)
    if worked.count(END_MARK) != 1:
        raise ValueError(
            f"{place} has {END_MARK!r} {worked.count(END_MARK)} times in its answer, which has it "
            "once, in its last line"
        )
    steps, _, last = worked.partition(END_MARK)
    answer = last.strip()
    if (steps and not steps.endswith("\n")) or "\n" in answer or not answer:
        raise ValueError(
            f"{place}: the last line of its answer is not '{END_MARK} ANSWER' but "
            f"{shown(worked.rstrip().rpartition(chr(10))[2])}"
        )
    return answer


def shown(text: str) -> str:
    """Return a text in quotes, cut where it is long; for messages."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
