"""The verifier of answers, and the score of the arithmetic that a text has."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latent_jax.data.verifier import (
    MOST_DEPTH,
    check_steps,
    count_steps,
    evaluate,
    is_right,
    normalise,
    number_of,
)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("18", "18"),
        ("$18", "18"),
        ("18.", "18"),
        ("18.00", "18"),
        (" 18 % ", "18"),
        ("1,800", "1800"),
        ("1800", "1,800"),
        ("-3", "-3"),
        ("-$3.50", "-3.5"),
        ("0.5", ".5"),
        ("1" * 40, "1" * 40),
    ],
)
def test_forms_of_the_right_number(written, answer):
    assert is_right(f"So it is.\n#### {written}", answer)
    assert is_right(f"#### {written}\nand more text", answer)


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("#### 18\n#### 18", False, True),
        ("It is 18", False, True),
        ("It is 18.", False, True),
        ("It is $1,8.0 or 18.00 apples", False, True),
        ("#### 18\nno, 19", True, False),
        ("#### 19, not 18", False, True),
        ("#### eighteen", False, False),
        ("#### ", False, False),
        ("####", False, False),
        ("", False, False),
        ("no number", False, False),
        ("####\n18", False, True),
        ("#### 18 19", False, False),
        ("#### -18", False, False),
        ("#### 1e1", False, False),
        ("#### ١٨", False, False),
    ],
)
def test_strict_asks_for_the_mark_and_lenient_for_the_last_number(text, strict, lenient):
    assert is_right(text, "18", strict=True) == strict
    assert is_right(text, "18", strict=False) == lenient


def test_long_numbers_are_compared_digit_by_digit():
    long = "9" * 39
    assert not is_right(f"#### {long}8", f"{long}9") and not is_right(f"{long}8", f"{long}9", False)
    assert not is_right("#### " + "1" * 10_000, "1") and number_of("1" * 10_000) is None


def test_an_answer_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"answer of a problem is a number; got 'many'"):
        is_right("#### 5", "many")


numbers = st.decimals(-(10**12), 10**12, places=2, allow_nan=False).map(str)


@given(numbers, st.text("#$%, .-0123456789\nab", max_size=30), st.booleans())
def test_anything_can_be_checked(answer, text, strict):
    assert is_right(text, answer, strict) in (True, False)
    assert is_right(f"\n#### {answer}", answer) and is_right(f"x {answer}", answer, False)
    assert number_of(normalise(text)) == number_of(text)


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_only_equal_numbers_are_right(a, b):
    for text in (f"#### {a:,}", f"#### ${a}.00"):
        assert is_right(text, str(b)) == (a == b)


@pytest.mark.parametrize(
    ("text", "right", "of"),
    [
        ("48/2 = 24 clips and 48+24 = 73", 1, 2),
        ("48/2 = <<48/2=24>>24", 1, 1),
        ("1,000 * 3 = $3,000", 1, 1),
        ("5 + $3 = $8", 1, 1),
        ("He had 3. 5 * 4 = 20 are left", 1, 1),
        ("15 apples (5 * 3 = 15)", 1, 1),
        ("(7+5)*3=36 and ((1+2)*3)-4=5", 2, 2),
        ("(-3+5)*2=4; 2*-3=-6; 1.5+.5=2", 3, 3),
        ("10/3 = 3.33 but not 10/3 = 3.34 or 10/3 = 3", 1, 3),
        ("1/0 = 5", 0, 1),
        ("2 + 2 = 4 = 4", 1, 1),
        ("4 + 4 = 3 + 5", 0, 0),
        ("x = 5, -5 = 5, 5 = 5, 2 x 3 = 6, 2 + 2 = y", 0, 0),
        ("50% = 5", 0, 0),
        ("", 0, 0),
        ("====", 0, 0),
    ],
)
def test_equations_of_a_text_are_counted(text, right, of):
    assert count_steps(text) == (right, of)
    assert check_steps(text) == (right / of if of else None)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 2",
        "1..2",
        "(1",
        "1)",
        "()",
        "1+",
        "*1",
        "1//2",
        "2**3",
        "__import__('os')",
        "1/(2-2)",
    ],
)
def test_what_is_no_expression_has_no_value(expression):
    assert evaluate(expression) is None


def test_nesting_has_a_limit_and_no_recursion_error():
    assert evaluate("(" * MOST_DEPTH + "1" + ")" * MOST_DEPTH) == 1
    assert evaluate("(" * 10_000 + "1" + ")" * 10_000) is None
    assert evaluate("-" * 10_000 + "1") is None
    assert count_steps("(" * 10_000 + "1+1=2") == (1, 1)


leaves = st.integers(0, 99).map(lambda n: (str(n), Fraction(n)))


def combined(children):
    def join(parts):
        (left, a), sign, (right, b) = parts
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign]
        return f"({left}{sign}{right})", value

    known = children.filter(lambda pair: pair[1] is not None)
    return st.tuples(known, st.sampled_from("+-*/"), known).map(join)


@given(st.recursive(leaves, combined, max_leaves=12))
def test_an_expression_has_its_value(pair):
    expression, value = pair
    assert evaluate(expression) == value
    assume(value is not None and "(" in expression)
    if value.denominator == 1:
        assert count_steps(f"so {expression} = {value}") == (1, 1)
        assert count_steps(f"so {expression} = {value + 1}") == (0, 1)


@given(st.text("0123456789+-*/(). =$,<>\nab", max_size=60))
def test_any_text_has_a_score(text):
    n_right, n_all = count_steps(text)
    assert 0 <= n_right <= n_all <= text.count("=")
