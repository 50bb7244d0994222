"""Problems in GSM8K's syntax: parsed, written back, refused."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.data.problems import Problem, parse_problem, problem_document, result_length

QUESTION = "How many clips did Natalia sell?"
ANSWER = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nAltogether 48+24 = $<<48+24=72>>72.\n#### 72"
)


def parse(answer, question=QUESTION):
    return parse_problem(problem_document(question, answer).text)


def test_an_answer_is_cut_at_its_marks():
    assert parse(ANSWER) == Problem(
        QUESTION,
        ("Natalia sold 48/2 = ", "24 clips in May.\nAltogether 48+24 = $", "72.\n#### 72"),
        ("48/2", "48+24"),
        ("24", "72"),
        "72",
    )


def test_the_key_is_the_question_and_the_text_is_a_line():
    document = problem_document("Wie viel? £5 – 象 \ud800", ANSWER)
    assert document.key == "Wie viel? £5 – 象 \ud800" and b"\n" not in document.text
    assert json.loads(document.text) == {"question": document.key, "answer": ANSWER}
    assert parse_problem(document.text).question == document.key


@pytest.mark.parametrize(
    ("answer", "segments", "stated"),
    [
        ("It is 5.\n#### 5", ("It is 5.\n#### 5",), "5"),
        ("#### -1,800", ("#### -1,800",), "-1,800"),
        ("<<1+1=2>>2\n#### 2", ("", "2\n#### 2"), "2"),
        ("5 < 6\n####  5 \n", ("5 < 6\n####  5 \n",), "5"),
    ],
)
def test_other_forms(answer, segments, stated):
    problem = parse(answer)
    assert problem.segments == segments and problem.answer == stated


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("5 <<2+3=5 5\n#### 5", "nested or has no '>>'"),
        ("<<2+<<3=5>>5>>\n#### 5", "nested or has no '>>'"),
        ("5 >> 4\n#### 5", "closes no mark"),
        ("<<5>>5\n#### 5", "'5' is not of the form lhs=rhs"),
        ("<<=5>>5\n#### 5", "not of the form lhs=rhs"),
        ("<<2+3=>>5\n#### 5", "not of the form lhs=rhs"),
        ("<<2+3=5=5>>5\n#### 5", "not of the form lhs=rhs"),
        ("It is 5.", "'####' 0 times"),
        ("#### 5\n#### 5", "'####' 2 times"),
        ("It is 5. #### 5", "the last line of its answer is not '#### ANSWER'"),
        ("#### 5\nor 6", "the last line of its answer is not '#### ANSWER' but 'or 6'"),
        ("It is 5.\n####", "the last line of its answer is not"),
    ],
)
def test_what_is_wrong_is_named(answer, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse(answer)
    assert repr(QUESTION) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"no JSON", "cannot be read as JSON"),
        (b'["a"]', "holds a list"),
        (b'{"question": "a"}', "has no 'answer'"),
        (b'{"question": 5, "answer": "#### 5"}', "as its 'question'"),
        (b'{"question": " ", "answer": "#### 5"}', "empty question"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_is_no_problem_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_problem(text)


@pytest.mark.parametrize(
    ("segment", "result", "length"),
    [
        ("24 clips", "24", 2),
        ("22,500 people", "22500", 6),
        ("22500 people", "22,500", 5),
        ("1,234,567", "1234567", 9),
        ("0.50 each", ".5", 0),
        ("a", "24", 0),
        ("2", "24", 0),
        ("", "24", 0),
        (",24", "24", 0),
        ("-3.", "-3", 2),
    ],
)
def test_the_result_that_opens_a_segment(segment, result, length):
    assert result_length(segment, result) == length


texts = st.text(st.characters(codec="utf-8", exclude_characters="<>#="), max_size=12)
words = texts.filter(lambda text: text.strip())


@given(question=words, first=texts, marks=st.lists(st.tuples(words, words, texts), max_size=4))
def test_joined_segments_are_the_answer_without_marks(question, first, marks):
    whole = first + "".join(f"<<{left}={right}>>{rest}" for left, right, rest in marks)
    problem = parse(f"{whole}\n#### 7", question)
    bare = first + "".join(rest for _, _, rest in marks)
    assert "".join(problem.segments) == f"{bare}\n#### 7"
    assert problem.expressions == tuple(left for left, _, _ in marks)
    assert problem.results == tuple(right for _, right, _ in marks)
    assert len(problem.segments) == len(marks) + 1 and problem.answer == "7"
