"""Checks what a model wrote against the answer of a problem, and the arithmetic in it.

All numbers are exact decimals or fractions of any length; nothing is evaluated as a program.
"""

import re
from fractions import Fraction

from latent_jax.data.problems import END_MARK

MOST_DIGITS = 1000
"""Of a number that is compared; a longer one, which only a loop of digits writes, is wrong."""

MOST_DEPTH = 50
"""Of nested brackets and signs in an expression; a deeper one is not read."""

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?", re.ASCII)
"""A number in running text."""

_NORMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
"""A number that `normalise` has left."""

_SIGNS = str.maketrans("×÷–−", "*/--")
_TIMES = re.compile(r"(?<=[\d)]) x (?=[\d(.$])", re.ASCII)
_EXPRESSION_CHARACTERS = "0123456789+-*/(). "
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
_TWO_NUMBERS = re.compile(r"[\d.)]\s+(?=[\d.(])", re.ASCII)
_OPERATION = re.compile(r"[\d)]\s*[+\-*/]\s*[-(\d.]", re.ASCII)
_RIGHT = re.compile(
    r"\s*\$?\s*(?>(-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)))(?!\s*[-+*/]\s*[\d(.])", re.ASCII
)
_TOKEN = re.compile(r"\d+(?:\.\d*)?|\.\d+|[-+*/()]", re.ASCII)


def normalise(text: str) -> str:
    """Return a number without what does not change it: spaces, `,`, `$`, `%`, and a point at its
    end with the zeros behind it.
    """
    bare = re.sub(r"[\s,$%]", "", text)
    return re.sub(r"\.0*$", "", bare)


def number_of(text: str) -> Fraction | None:
    """Return the number that a text states once it is normalised; None where it states none."""
    bare = normalise(text)
    if len(bare) > MOST_DIGITS or not _NORMAL.fullmatch(bare):
        return None
    return Fraction(bare)


def is_right(text: str, answer: str, strict: bool = True) -> bool:
    """Return whether a written answer is the right one.

    Args:
        text: what was written.
        answer: the right answer, as `Problem.answer` states it.
        strict: True: the text has `####` exactly once, and the rest of that line is the answer.
            False: the last number of the text is the answer, wherever it stands.

    Raises:
        ValueError: `answer` is no number.
    """
    right = number_of(answer)
    if right is None:
        raise ValueError(f"the answer of a problem is a number; got {answer!r}")
    if strict:
        if text.count(END_MARK) != 1:
            return False
        stated = text.partition(END_MARK)[2].split("\n", 1)[0]
    else:
        numbers = _NUMBER.findall(text)
        if not numbers:
            return False
        stated = numbers[-1]
    return number_of(stated) == right


def count_steps(text: str) -> tuple[int, int]:
    """Return how many equations `a op b = c` of a text hold, and how many it has.

    An equation is an expression of + - * / ( ) and decimals with at least one operation, then "=",
    and a number, before which a "$" may stand. "4 + 5 = 9" holds; so does "10 / 3 = 3.33", which is
    rounded to the places that it has. A division by 0 does not hold. An "x" between numbers, and
    the signs of typesetters, are read as the operations that they mean. What cannot be read, such
    as "5 cm * 2 = 10", is no equation. Marks `<<lhs=rhs>>` count like any other equation.
    """
    text = _TIMES.sub(" * ", text.translate(_SIGNS))
    n_right = n_all = 0
    for place in (match.start() for match in re.finditer("=", text)):
        left, stated = _expression_before(text, place), _RIGHT.match(text, place + 1)
        if not (_OPERATION.search(left) and stated):
            continue
        try:
            holds = _is_rounded(_value(left), stated[1])
        except _Unreadable:
            continue
        except ZeroDivisionError:
            holds = False
        n_all += 1
        n_right += holds
    return n_right, n_all


def check_steps(text: str) -> float | None:
    """Return the share of the equations in a text that hold; None where it has no equation.

    See `count_steps`, whose counts can be added up over texts.
    """
    n_right, n_all = count_steps(text)
    return n_right / n_all if n_all else None


def evaluate(expression: str) -> Fraction | None:
    """Return the exact value of an expression of + - * / ( ) and decimals.

    Returns:
        None where it cannot be read, divides by 0, or is nested deeper than `MOST_DEPTH`.
    """
    try:
        return _value(expression)
    except (_Unreadable, ZeroDivisionError):
        return None


def _value(expression: str) -> Fraction:
    """Return what `evaluate` does; raise _Unreadable or ZeroDivisionError where it is None."""
    tokens = _TOKEN.findall(expression)
    if "".join(tokens) != re.sub(r"\s", "", expression) or _TWO_NUMBERS.search(expression):
        raise _Unreadable
    parser = _Parser(tokens)
    value = parser.sum(0)
    if not parser.is_done:
        raise _Unreadable
    return value


def _expression_before(text: str, place: int) -> str:
    """Return the longest expression that ends at a place, without the sentence before it."""
    window = _THOUSANDS.sub("", text[max(place - MOST_DIGITS, 0) : place]).replace("$", " ")
    left = window[len(window.rstrip(_EXPRESSION_CHARACTERS)) :]
    left = _TWO_NUMBERS.split(left)[-1].strip()  # "He had 3. 5 * 4" ends with "5 * 4"
    for _ in range(left.count("(") - left.count(")")):
        left = left.removeprefix("(").lstrip()  # "(5 * 4 = 20)": the bracket is the sentence's
    return "" if left.startswith("- ") else left  # "10 cm - 5 * 2": the rest of an expression


def _is_rounded(value: Fraction, stated: str) -> bool:
    """Return whether a value is what is stated, to the decimals that it has; 3 is exact."""
    claimed, (_, _, places) = number_of(stated), stated.partition(".")
    if claimed is None:
        return False
    return value == claimed or (
        bool(places) and abs(value - claimed) <= Fraction(1, 2 * 10 ** len(places))
    )


class _Unreadable(Exception):
    """An expression does not follow the grammar."""


class _Parser:
    """Reads tokens by recursive descent.

    sum = product {("+" | "-") product}; product = factor {("*" | "/") factor};
    factor = number | "(" sum ")" | ("-" | "+") factor.
    """

    def __init__(self, tokens: list[str]):
        self._tokens, self._next = tokens, 0

    @property
    def is_done(self) -> bool:
        return self._next == len(self._tokens)

    def sum(self, depth: int) -> Fraction:
        value = self._product(depth)
        while self._sees("+", "-"):
            sign = 1 if self._take() == "+" else -1
            value += sign * self._product(depth)
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._factor(depth)
        while self._sees("*", "/"):
            if self._take() == "*":
                value *= self._factor(depth)
            else:
                value /= self._factor(depth)
        return value

    def _factor(self, depth: int) -> Fraction:
        if self.is_done or depth > MOST_DEPTH:
            raise _Unreadable
        token = self._take()
        if token == "(":
            value = self.sum(depth + 1)
            if not self._sees(")"):
                raise _Unreadable
            self._take()
            return value
        if token in "+-":
            value = self._factor(depth + 1)
            return -value if token == "-" else value
        if token in "*/)":
            raise _Unreadable
        return Fraction(token)

    def _sees(self, *tokens: str) -> bool:
        return not self.is_done and self._tokens[self._next] in tokens

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1]
