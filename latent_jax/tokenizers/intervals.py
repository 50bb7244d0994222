"""Arithmetic coding as it is done on paper: messages of a small alphabet, in rational numbers.

Each message of a length owns an interval of [0, 1) as long as it is probable, and the intervals of
all messages of that length lie side by side in the order of the alphabet. Two codes name them.

- The *codeword* is a binary fraction: the shortest one strictly inside the interval, as in
  lectures, which leave out the end of an interval even where it is shorter. Zeros follow until it
  begins no other codeword of that length. Whoever reads it must know where it ends.
- The *coder's codeword* is what `arithmetic.py` writes: bits whose every continuation lies in the
  interval, so that anything may follow them.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Self

import numpy as np

from latent_jax.tokenizers import arithmetic

PRECISION = 30
"""Bits of the coder's counts. It divides an interval exactly up to 2^-30 of its size, so below that
its codewords of long messages lie beside the exact interval, where it reads them too."""

MOST_SYMBOLS = 16
MOST_LENGTH = 24
LEAST = Fraction(1, 1000)
"""The smallest probability. A message of `MOST_LENGTH` has at most 240 bits."""

_PAIR = re.compile(r"(.)=([^,]*)(,|$)", re.DOTALL)
_NUMBER = re.compile(r"-?(\d{1,6}(/\d{1,6})?|\d{0,6}\.\d{1,6})", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Interval:
    """The interval [low, high) of a message.

    Attributes:
        low: its first number.
        high: the first number above it.
    """

    low: Fraction
    high: Fraction

    @property
    def size(self) -> Fraction:
        """The probability of the message."""
        return self.high - self.low

    @property
    def bits(self) -> float:
        """The information of the message in bits."""
        # Of the two whole numbers, because a float may not hold their quotient.
        return math.log2(self.size.denominator) - math.log2(self.size.numerator)


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Symbols and their probabilities, the same at every place of a message.

    Attributes:
        probabilities: symbol, one character -> its probability; they sum to 1.
    """

    probabilities: Mapping[str, Fraction]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the alphabet of a text such as "X=2/3,Y=1/3".

        Raises:
            ValueError: it is not spelled so, a symbol stands there twice, the probabilities do not
                sum to 1, or there are too many of them or one is too small.
        """
        pairs, at = [], 0
        while match := _PAIR.match(text, at):
            pairs.append((match[1], _probability(text, *match.groups()[:2])))
            at = match.end()
        symbols = [symbol for symbol, _ in pairs]
        if at < len(text) or text.endswith(",") or not pairs:
            raise ValueError(
                f"--p={text} is no list of SYMBOL=PROBABILITY between commas, each symbol one "
                "character: write it like X=2/3,Y=1/3"
            )
        if odd := next((symbol for symbol in symbols if not symbol.isprintable()), None):
            raise ValueError(f"--p={text!r}: the symbol {odd!r} cannot be printed; take a letter")
        if twice := next((s for s in symbols if symbols.count(s) > 1), None):
            raise ValueError(f"--p={text} gives {twice!r} twice: a symbol has one probability")
        if not 2 <= len(pairs) <= MOST_SYMBOLS:
            raise ValueError(
                f"--p={text} has {len(pairs)} symbols; an example has 2 to {MOST_SYMBOLS}"
            )
        if (total := sum(p for _, p in pairs)) != 1:
            raise ValueError(f"--p={text}: the probabilities sum to {total}, and must sum to 1")
        return cls(dict(pairs))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in order."""
        return tuple(self.probabilities)

    @property
    def entropy_bits(self) -> float:
        """The mean information of a symbol in bits."""
        return sum(float(p) * -math.log2(p) for p in self.probabilities.values())

    def check(self, message: str) -> None:
        """Raise a ValueError unless it is a message of this alphabet that can be shown."""
        if not 1 <= len(message) <= MOST_LENGTH:
            raise ValueError(
                f"a message of {len(message)} symbols: an example has 1 to {MOST_LENGTH}; "
                "longer texts are for a byte model: leave out --p"
            )
        if unknown := next((s for s in message if s not in self.probabilities), None):
            raise ValueError(
                f"{unknown!r} of the message {message!r} has no probability: --p knows "
                f"{', '.join(self.symbols)}"
            )

    def part(self, symbol: str) -> Interval:
        """Return the part of [0, 1) that a symbol owns."""
        low = Fraction(0)
        for other, probability in self.probabilities.items():
            if other == symbol:
                return Interval(low, low + probability)
            low += probability
        raise KeyError(symbol)

    def interval(self, message: str) -> Interval:
        """Return the interval of a message; the empty one has [0, 1)."""
        low, size = Fraction(0), Fraction(1)
        for symbol in message:
            part = self.part(symbol)
            low, size = low + size * part.low, size * part.size
        return Interval(low, low + size)

    def messages(self, length: int) -> Iterator[str]:
        """Yield all messages of a length, in the order of their intervals."""
        return map("".join, itertools.product(self.symbols, repeat=length))

    def following(self, message: str) -> str | None:
        """Return the message of the same length whose interval follows; None after the last."""
        head = message.rstrip(self.symbols[-1])
        if not head:
            return None
        after = self.symbols[self.symbols.index(head[-1]) + 1]
        return head[:-1] + after + self.symbols[0] * (len(message) - len(head))

    def message_at(self, number: Fraction, length: int) -> str:
        """Return the message of a length whose interval contains a number of [0, 1)."""
        found = ""
        for _ in range(length):
            symbol = next(s for s in self.symbols if number < self.part(s).high)
            part = self.part(symbol)
            number = (number - part.low) / part.size
            found += symbol
        return found


def _probability(text: str, symbol: str, word: str) -> Fraction:
    if not _NUMBER.fullmatch(word) or re.search(r"/0+$", word):
        raise ValueError(
            f"--p={text}: {word!r} is no number of up to six digits; write {symbol}=2/3 or "
            f"{symbol}=0.25"
        )
    value = Fraction(word)
    if value <= 0:
        raise ValueError(
            f"--p={text}: the probability of {symbol!r} is {value}, and what cannot come has no "
            "interval; leave it out, or give it more than 0"
        )
    if value < LEAST:
        raise ValueError(
            f"--p={text}: the probability of {symbol!r} is {value}; an example has at least {LEAST}"
        )
    return value


def shortest_fraction(interval: Interval) -> Fraction:
    """Return the one number k / 2^n with the smallest n strictly inside an interval."""
    scale = 1
    while True:
        scale *= 2
        k = math.floor(interval.low * scale) + 1
        if k < interval.high * scale:
            return Fraction(k, scale)


def codeword(alphabet: Alphabet, message: str) -> str:
    """Return the codeword of a message, such as "01" for the fraction 1/4.

    It begins another codeword of the same length if, and only if, the fraction of the message that
    follows lies less than one unit of its last place above its own.
    """
    own = shortest_fraction(alphabet.interval(message))
    n_bits = own.denominator.bit_length() - 1
    after = alphabet.following(message)
    if after is not None:
        gap = shortest_fraction(alphabet.interval(after)) - own
        while Fraction(1, 1 << n_bits) > gap:
            n_bits += 1
    return format(int(own * (1 << n_bits)), f"0{n_bits}b")


def number_of(bits: str) -> Fraction:
    """Return the number 0.BITS, such as 1/4 for "01"."""
    return Fraction(int(bits or "0", 2), 1 << len(bits))


def counts_of(alphabet: Alphabet) -> np.ndarray:
    """Return the cumulative counts of the coder, int64[symbols + 1], which sum to 2^PRECISION."""
    ends = [alphabet.part(symbol).high for symbol in alphabet.symbols]
    return np.array([0, *(round(end * (1 << PRECISION)) for end in ends)], np.int64)


def coder_codeword(alphabet: Alphabet, message: str) -> str:
    """Return the bits that the coder of `arithmetic.py` writes for a message."""
    counts = counts_of(alphabet)
    state = np.zeros(arithmetic.STATE_SIZE, np.int64)
    bits = np.zeros(len(message) * PRECISION + arithmetic.REGISTER, np.uint8)
    arithmetic.start(state)
    for symbol in message:
        place = alphabet.symbols.index(symbol)
        arithmetic.encode_symbol(state, bits, counts[place], counts[place + 1], PRECISION)
    arithmetic.finish(state, bits)
    return "".join(map(str, bits[: state[arithmetic.WRITTEN]]))
