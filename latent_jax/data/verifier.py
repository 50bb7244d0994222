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
    rounded to the places that it has. An expression that cannot be read, such as a division by 0,
    does not hold. Marks `<<lhs=rhs>>` count like any other equation.
    """
    n_right = n_all = 0
    for place in (match.start() for match in re.finditer("=", text)):
        left, stated = _expression_before(text, place), _RIGHT.match(text, place + 1)
        if _OPERATION.search(left) and stated:
            n_all += 1
            n_right += _holds(left, stated[1])
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
    tokens = _TOKEN.findall(expression)
    if "".join(tokens) != re.sub(r"\s", "", expression) or _TWO_NUMBERS.search(expression):
        return None
    parser = _Parser(tokens)
    try:
        value = parser.sum(0)
    except (_Unreadable, ZeroDivisionError):
        return None
    return value if parser.is_done else None


def _expression_before(text: str, place: int) -> str:
    """Return the longest expression that ends at a place, without the sentence before it."""
    window = _THOUSANDS.sub("", text[max(place - MOST_DIGITS, 0) : place]).replace("$", " ")
    left = window[len(window.rstrip(_EXPRESSION_CHARACTERS)) :]
    left = _TWO_NUMBERS.split(left)[-1].strip()  # "He had 3. 5 * 4" ends with "5 * 4"
    for _ in range(left.count("(") - left.count(")")):
        left = left.removeprefix("(").lstrip()  # "(5 * 4 = 20)": the bracket is the sentence's
    return left


def _holds(left: str, stated: str) -> bool:
    value, claimed = evaluate(left), number_of(stated)
    if value is None or claimed is None:
        return False
    _, _, places = stated.partition(".")
    return abs(value - claimed) <= Fraction(1, 2 * 10 ** len(places)) and (
        value == claimed or bool(places)
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
