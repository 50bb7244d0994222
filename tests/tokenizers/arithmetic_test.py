"""The coder against a reference in rational numbers of any size."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_jax.tokenizers import arithmetic
from latent_jax.tokenizers.counts import find_symbol

PRECISIONS = st.sampled_from([1, 2, 9, 14, 16])


@st.composite
def messages(draw):
    """Counts that sum to 2^precision, often as lopsided as they can be, and a message of them."""
    precision = draw(PRECISIONS)
    total = 1 << precision
    n_symbols = draw(st.integers(2, min(total, 40)))
    if draw(st.booleans()):
        cuts = draw(
            st.lists(
                st.integers(1, total - 1),
                min_size=n_symbols - 1,
                max_size=n_symbols - 1,
                unique=True,
            )
        )
        cumulative = np.array([0, *sorted(cuts), total])
    else:
        heavy = draw(st.integers(0, n_symbols - 1))
        counts = np.ones(n_symbols, np.int64)
        counts[heavy] = total - n_symbols + 1
        cumulative = np.concatenate([[0], np.cumsum(counts)])
    message = draw(st.lists(st.integers(0, n_symbols - 1), max_size=300))
    return precision, cumulative.astype(np.int64), message


def encode(precision, cumulative, message):
    state = np.zeros(arithmetic.STATE_SIZE, np.int64)
    bits = np.zeros(len(message) * precision + 64, np.uint8)
    arithmetic.start(state)
    for symbol in message:
        arithmetic.encode_symbol(state, bits, cumulative[symbol], cumulative[symbol + 1], precision)
    foretold = arithmetic.length(state)
    information = arithmetic.information(state)
    arithmetic.finish(state, bits)
    assert state[arithmetic.WRITTEN] == foretold
    return bits[:foretold].copy(), information


def decode(precision, cumulative, n_symbols, bits, position):
    state = np.zeros(arithmetic.STATE_SIZE, np.int64)
    arithmetic.start(state)
    code = arithmetic.start_decoding(bits, position)
    message = []
    for _ in range(n_symbols):
        symbol = find_symbol(cumulative, arithmetic.target(state, code, precision))
        code = arithmetic.decode_symbol(
            state, code, bits, position, cumulative[symbol], cumulative[symbol + 1], precision
        )
        message.append(symbol)
    return message, arithmetic.length(state), arithmetic.settled_bits(state, code)


def interval(precision, cumulative, message):
    """The rational interval of a message."""
    low, size = Fraction(0), Fraction(1)
    for symbol in message:
        low += size * Fraction(int(cumulative[symbol]), 1 << precision)
        size *= Fraction(int(cumulative[symbol + 1] - cumulative[symbol]), 1 << precision)
    return low, size


def shortest_code(low, size):
    """The shortest bits whose interval lies in [low, low + size), by looking at all lengths."""
    n_bits = 0
    while True:
        first = -((-low * 2**n_bits) // 1)  # the first multiple of 2^-n that is not below
        if (first + 1) * Fraction(1, 2**n_bits) <= low + size:
            return n_bits
        n_bits += 1


@given(messages(), st.data())
@settings(max_examples=300)
def test_messages_come_back_from_within_other_bits(drawn, data):
    precision, cumulative, message = drawn
    bits, _ = encode(precision, cumulative, message)
    before = data.draw(st.lists(st.integers(0, 1), max_size=70))
    after = data.draw(st.lists(st.integers(0, 1), max_size=70))
    around = np.array([*before, *bits, *after], np.uint8)
    found, length, settled = decode(precision, cumulative, len(message), around, len(before))
    assert found == message
    assert length == len(bits), "the reader must know where the writer stopped"
    assert settled <= length


@given(messages())
@settings(max_examples=300)
def test_length_is_within_two_bits_of_the_information_and_one_of_the_shortest(drawn):
    precision, cumulative, message = drawn
    bits, information = encode(precision, cumulative, message)
    low, size = interval(precision, cumulative, message)
    # 2^(2 - length) <= size means: length <= information + 2. The register costs 2^-44 a symbol.
    allowance = 1 + Fraction(len(message), 2**43)
    assert Fraction(4, 2 ** len(bits)) * allowance >= size
    assert abs(len(bits) - shortest_code(low, size)) <= 1
    assert (
        Fraction(1, 2**information) <= size * allowance < Fraction(2, 2**information) * allowance**2
    )


@given(messages())
def test_any_prefix_settles_what_it_says(drawn):
    """With the settled bits alone, whatever follows, the same symbols are read."""
    precision, cumulative, message = drawn
    bits, _ = encode(precision, cumulative, message)
    for n_symbols in {0, len(message) // 2, len(message)}:
        _, _, settled = decode(precision, cumulative, n_symbols, bits, 0)
        for filler in (0, 1):
            changed = np.concatenate([bits[:settled], np.full(80, filler, np.uint8)])
            found, _, _ = decode(precision, cumulative, n_symbols, changed, 0)
            assert found == message[:n_symbols]


def test_a_buffer_too_short_still_gives_the_length():
    cumulative = np.array([0, 1, 1 << 14])
    state = np.zeros(arithmetic.STATE_SIZE, np.int64)
    bits = np.zeros(16, np.uint8)
    arithmetic.start(state)
    for _ in range(5):
        arithmetic.encode_symbol(state, bits, 0, 1, 14)
    assert arithmetic.length(state) == len(encode(14, cumulative, [0] * 5)[0]) > 16
