"""Limbs against Python's whole numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers import limbs

N = 5
NUMBERS = st.one_of(
    st.integers(0, 2**128), st.integers(0, 2**20), st.integers(0, 128).map(lambda b: 2**b)
)


def split(number):
    return np.array([(number >> (32 * i)) & 0xFFFFFFFF for i in range(N)], np.int64)


def join(row):
    return sum(int(limb) << (32 * i) for i, limb in enumerate(row))


def result(function, *arguments):
    out = np.zeros(N, np.int64)
    function(*arguments, out)
    return join(out)


@given(NUMBERS, NUMBERS)
def test_sums_differences_and_order(a, b):
    assert result(limbs.add, split(a), split(b)) == a + b
    low, high = sorted((a, b))
    assert result(limbs.subtract, split(high), split(low)) == high - low
    assert limbs.is_less(split(a), split(b)) == (a < b)


@given(NUMBERS, st.integers(-(2**31), 2**31))
def test_small_numbers_are_added(a, b):
    if a + b >= 0:
        assert result(limbs.add_small, split(a), b) == a + b


@given(NUMBERS, st.integers(1, 31), st.data())
def test_multiply_and_shift(a, shift, data):
    factor = data.draw(st.integers(0, 2**shift if shift < 31 else 2**31 - 1))
    assert result(limbs.multiply_shift, split(a), factor, shift) == (a * factor) >> shift


@given(NUMBERS)
def test_bit_lengths(a):
    assert limbs.bit_length(split(a)) == a.bit_length()
    assert limbs.is_below_power(split(a), 14) == (a < 2**14)


@pytest.mark.parametrize("width", [8, 12, 16, 32, 64, 100, 128])
def test_bits_and_back(width):
    random = np.random.default_rng(width)
    for _ in range(20):
        bits = random.integers(0, 2, width).astype(np.uint8)
        number = int("".join(map(str, bits)), 2)
        assert result(limbs.from_bits, bits) == number
        back = np.zeros(width, np.uint8)
        limbs.to_bits(split(number), back)
        assert back.tolist() == bits.tolist()
    assert limbs.n_limbs(width) * 32 > width
