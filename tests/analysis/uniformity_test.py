"""Bits against random bits."""

import math

import numpy as np
import pytest

from latent_jax.analysis.codes import TokenizerCode
from latent_jax.analysis.uniformity import (
    UniformityOptions,
    bit_values,
    kl_from_uniform,
    measure,
    random_streams,
)
from latent_jax.tokenizers import GZip
from latent_jax.tokenizers.bits import to_tokens
from tests.analysis.made_codes import pieces_of


def test_random_bits_are_as_far_from_uniform_as_their_number_says():
    streams = random_streams([50_000, 30_000, 20_000], seed=0)
    for n in (1, 4, 8):
        for tokens in (False, True):
            found = kl_from_uniform(streams, n, tokens)
            expected = (2**n - 1) / (2 * found["n_samples"])
            # A chi-squared variable with 2^n - 1 degrees of freedom, 4 standard deviations.
            spread = 4 * np.sqrt(2 * (2**n - 1)) / (2 * found["n_samples"])
            # n-grams share bits and so vary more, n times at the most.
            spread *= 1 if tokens else n
            assert np.log(2) * found["kl_bits"] == pytest.approx(expected, abs=spread)
            assert np.log(2) * found["corrected_kl_bits"] == pytest.approx(0, abs=spread)


def test_biased_bits_have_the_divergence_of_their_bias():
    bits = (np.random.default_rng(1).random(200_000) < 0.3).astype(np.uint8)
    per_bit = np.log(2) + 0.3 * np.log(0.3) + 0.7 * np.log(0.7)
    for n in (1, 2, 5):
        found = kl_from_uniform([bits], n)
        assert np.log(2) * found["corrected_kl_bits"] == pytest.approx(n * per_bit, rel=0.02)


def test_constant_bits_have_all_n_bits():
    found = kl_from_uniform([np.zeros(100, np.uint8)], 8)
    assert found["n_values"] == 1
    assert np.log(2) * found["kl_bits"] == pytest.approx(8 * np.log(2))


def test_tokens_see_what_ngrams_blur():
    # Every other bit is random, the rest are ones: tokens of 2 bits are 01 or 11.
    bits = np.ones(40_000, np.uint8)
    bits[::2] = np.random.default_rng(2).integers(0, 2, 20_000)
    assert kl_from_uniform([bits], 2, tokens=True)["kl_bits"] * np.log(2) == pytest.approx(
        np.log(2), abs=1e-3
    )
    assert kl_from_uniform([bits], 2)["kl_bits"] * np.log(2) < 0.5 * np.log(2)


def test_values_are_those_of_the_tokens():
    bits = np.random.default_rng(3).integers(0, 2, 96, np.uint8)
    np.testing.assert_array_equal(bit_values(bits, 8, 8), to_tokens(bits, 8))
    expected = [int("".join(map(str, bits[i : i + 5])), 2) for i in range(92)]
    np.testing.assert_array_equal(bit_values(bits, 5), expected)


def test_no_value_crosses_two_streams():
    streams = [np.zeros(7, np.uint8), np.ones(9, np.uint8)]
    assert kl_from_uniform(streams, 4)["n_samples"] == 4 + 6
    assert kl_from_uniform(streams, 4)["n_values"] == 2
    assert kl_from_uniform(streams, 4, tokens=True)["n_samples"] == 1 + 2


def test_what_cannot_be_counted_is_named():
    with pytest.raises(ValueError, match="no stream has 9 bits"):
        kl_from_uniform([np.zeros(8, np.uint8)], 9)
    with pytest.raises(ValueError, match="n = 21 bits"):
        kl_from_uniform([np.zeros(80, np.uint8)], 21)


def test_the_same_seed_gives_the_same_random_bits():
    first, again, other = (random_streams([64, 8], seed) for seed in (5, 5, 6))
    assert [len(bits) for bits in first] == [64, 8]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))
    assert (np.concatenate(first) != np.concatenate(other)).any()


def test_the_random_baseline_is_the_bias_of_so_many_samples():
    code, texts = TokenizerCode(GZip(256)), pieces_of(5000, 8)
    records = measure(UniformityOptions(), code, texts)["uniformity"]
    for record in records:
        if record["values"] != "n-grams" and record["n"] in (4, 8):
            expected = (2 ** record["n"] - 1) / (2 * record["n_samples"] * math.log(2))
            assert record["random_kl_bits"] == pytest.approx(expected, rel=0.5)
    other = measure(UniformityOptions(seed=9), code, texts)["uniformity"]
    for mine, yours in zip(records, other, strict=True):
        assert mine["kl_bits"] == yours["kl_bits"]
        assert mine["random_kl_bits"] != yours["random_kl_bits"]
