"""The worked example of the lectures to the letter, and the promises of both codes."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers import arithmetic
from latent_jax.tokenizers.counts import find_symbol
from latent_jax.tokenizers.intervals import (
    MOST_LENGTH,
    PRECISION,
    Alphabet,
    Interval,
    coder_codeword,
    codeword,
    counts_of,
    number_of,
    shortest_fraction,
)

XY = Alphabet.parse("X=2/3,Y=1/3")


@st.composite
def alphabets(draw):
    parts = draw(st.lists(st.integers(1, 20), min_size=2, max_size=6))
    total = sum(parts)
    return Alphabet({"ABCDEF"[i]: Fraction(part, total) for i, part in enumerate(parts)})


@st.composite
def messages(draw):
    alphabet = draw(alphabets())
    symbols = st.sampled_from(alphabet.symbols)
    return alphabet, "".join(draw(st.lists(symbols, min_size=1, max_size=MOST_LENGTH)))


@pytest.mark.parametrize(
    ("message", "low", "high", "fraction", "bits", "coder_bits"),
    [
        ("XX", "0", "4/9", "1/4", "01", "00"),
        ("XY", "4/9", "6/9", "2/4", "10", "100"),
        ("YX", "6/9", "8/9", "3/4", "110", "110"),
        ("YY", "8/9", "1", "15/16", "1111", "1111"),
    ],
)
def test_messages_of_two_symbols_are_those_of_the_lectures(
    message, low, high, fraction, bits, coder_bits
):
    interval = XY.interval(message)
    assert (interval.low, interval.high) == (Fraction(low), Fraction(high))
    assert shortest_fraction(interval) == Fraction(fraction)
    assert codeword(XY, message) == bits
    assert coder_codeword(XY, message) == coder_bits


def test_messages_of_three_symbols():
    found = {message: codeword(XY, message) for message in XY.messages(3)}
    fractions = [shortest_fraction(XY.interval(message)) for message in found]
    assert fractions == [Fraction(k, 32) for k in (8, 12, 16, 20, 24, 28, 30, 31)]
    assert found == {
        "XXX": "010",
        "XXY": "011",
        "XYX": "100",
        "XYY": "101",
        "YXX": "110",
        "YXY": "1110",
        "YYX": "11110",
        "YYY": "11111",
    }


@given(messages())
def test_a_codeword_is_the_message_again(drawn):
    alphabet, message = drawn
    number = number_of(codeword(alphabet, message))
    interval = alphabet.interval(message)
    assert interval.low < number < interval.high
    assert alphabet.message_at(number, len(message)) == message


@given(messages())
def test_no_shorter_fraction_is_strictly_inside(drawn):
    interval = drawn[0].interval(drawn[1])
    scale = shortest_fraction(interval).denominator // 2
    k = int(interval.low * scale) + 1
    assert not interval.low * scale < k < interval.high * scale


@given(alphabets(), st.integers(1, 3))
def test_no_codeword_begins_another_and_zeros_at_its_end_are_needed(alphabet, length):
    words = [codeword(alphabet, message) for message in alphabet.messages(length)]
    assert words == sorted(words), "codewords are in the order of the messages"
    for word, other in itertools.permutations(words, 2):
        assert not other.startswith(word)
    for place, word in enumerate(words):
        if word.endswith("0"):
            others = words[:place] + words[place + 1 :]
            assert any(other.startswith(word[:-1]) for other in others), word


@given(messages(), st.text("01", max_size=80))
def test_the_coder_reads_its_codeword_back_whatever_follows(drawn, after):
    alphabet, message = drawn
    bits = np.array([*map(int, coder_codeword(alphabet, message) + after)], np.uint8)
    counts, state = counts_of(alphabet), np.zeros(arithmetic.STATE_SIZE, np.int64)
    arithmetic.start(state)
    code, found = arithmetic.start_decoding(bits, 0), ""
    for _ in message:
        place = find_symbol(counts, arithmetic.target(state, code, PRECISION))
        part = counts[place], counts[place + 1]
        code = arithmetic.decode_symbol(state, code, bits, 0, *part, PRECISION)
        found += alphabet.symbols[place]
    assert found == message


@given(messages())
def test_the_coder_is_within_two_bits_of_the_information(drawn):
    alphabet, message = drawn
    # Its counts are off by 2^-31, so a symbol of 1/101 by 2^-24 of its share.
    allowance = 2 + len(message) * 2**-22
    information = alphabet.interval(message).bits
    n_bits = len(coder_codeword(alphabet, message))
    assert information - len(message) * 2**-22 <= n_bits <= information + allowance


@given(messages())
def test_every_continuation_of_the_coders_bits_lies_in_the_interval(drawn):
    alphabet, message = drawn
    coded, interval = coder_codeword(alphabet, message), alphabet.interval(message)
    # Counts and register are good to 2^-29 of each interval that is divided.
    divided = [alphabet.interval(message[:n]).size for n in range(len(message))]
    slack = sum(divided) * Fraction(1, 1 << 29)
    assert interval.low - slack <= number_of(coded)
    assert number_of(coded) + Fraction(1, 1 << len(coded)) <= interval.high + slack


@given(alphabets(), st.integers(1, 3))
def test_intervals_lie_side_by_side(alphabet, length):
    at = Fraction(0)
    for message in alphabet.messages(length):
        interval = alphabet.interval(message)
        assert interval.low == at
        at = interval.high
        following = alphabet.following(message)
        assert at == (alphabet.interval(following).low if following else 1)
    assert at == 1


def test_information_of_a_long_message_is_exact():
    assert Interval(Fraction(0), Fraction(1, 1 << 2000)).bits == 2000
    assert XY.entropy_bits == pytest.approx(0.9182958)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X=2/3,Y=1/2", "--p=X=2/3,Y=1/2: the probabilities sum to 7/6, and must sum to 1"),
        ("X=1,Y=0", "the probability of 'Y' is 0, and what cannot come has no interval"),
        ("X=2,Y=-1", "the probability of 'Y' is -1"),
        ("X=2/3,X=1/3", "gives 'X' twice"),
        ("X=1", "has 1 symbols; an example has 2 to 16"),
        ("X=2/0,Y=1", "'2/0' is no number"),
        ("X=half,Y=1/2", "'half' is no number"),
        ("X=1e99999999,Y=1/2", "is no number"),
        ("X=0.9999,Y=0.0001", "the probability of 'Y' is 1/10000; an example has at least 1/1000"),
        ("XX=1/2,Y=1/2", "is no list of SYMBOL=PROBABILITY"),
        ("X=1/2,Y=1/2,", "is no list of SYMBOL=PROBABILITY"),
        ("", "is no list of SYMBOL=PROBABILITY"),
        ("\n=1/2,Y=1/2", "cannot be printed"),
    ],
)
def test_what_is_no_alphabet_is_named(text, message):
    with pytest.raises(ValueError) as error:
        Alphabet.parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("XZ", "'Z' of the message 'XZ' has no probability: --p knows X, Y"),
        ("", "a message of 0 symbols"),
        ("X" * 25, "a message of 25 symbols: an example has 1 to 24"),
    ],
)
def test_what_is_no_message_is_named(message, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        XY.check(message)
