"""Uniform and unigram models of ids: against known sources, and the sample that they need."""

import math

import numpy as np
import pytest

from latent_jax.tokenizers.trivial import (
    MOST_BIAS,
    bytes_needed,
    is_measurable,
    trivial_models,
    unigram_bias,
    unigram_bits,
)


def test_bytes_cost_eight_bits_whatever_the_separator_is():
    counts = np.full(256, 1000)
    assert trivial_models(counts, counts.sum())["uniform_bits_per_byte"] == 8.0


def test_known_sources():
    many = 10**6
    assert unigram_bits([many, 0, 0]) == 0.0 and unigram_bits([0, 0]) == 0.0
    three_to_one = many * 4 * (2 - 0.75 * math.log2(3))
    # Two ids that occur: half a nat is added.
    assert unigram_bits([3 * many, many]) == pytest.approx(three_to_one + 0.5 / math.log(2))
    # Equal frequencies cost what the uniform model costs, not more.
    assert unigram_bits(np.full(256, 4)) == pytest.approx(256 * 4 * 8)


@pytest.mark.parametrize("tokens_per_id", [6, 20])
def test_the_correction_takes_the_bias_away(tokens_per_id):
    """Uniform draws: the true unigram model gains nothing, the plug-in estimate claims bits."""
    n_ids, rng = 4096, np.random.default_rng(0)
    n = tokens_per_id * n_ids
    counts = np.bincount(rng.integers(0, n_ids, n), minlength=n_ids)
    p = counts[counts > 0] / n
    plug_in = -(p * np.log2(p)).sum()
    bias = (n_ids - 1) / (2 * n * math.log(2))
    assert 12 - plug_in == pytest.approx(bias, rel=0.15)
    assert 12 - unigram_bits(counts) / n < 0.15 * bias


def test_a_text_that_is_too_short_has_no_unigram():
    for n_ids, needed in ((256, 9_198), (32_000, 1_154_120), (65_536, 2_363_676)):
        assert bytes_needed(n_ids) == needed
        assert is_measurable(n_ids, bytes_needed(n_ids))
        assert not is_measurable(n_ids, bytes_needed(n_ids) - 1)
        assert unigram_bias(n_ids, bytes_needed(n_ids)) <= MOST_BIAS
    # 20 kB of AC[v=65k]: 2.3 of the bits per byte would be bias.
    counts = np.zeros(65_536, int)
    counts[:2_500] = 1
    assert set(trivial_models(counts, 20_000)) == {"uniform_bits_per_byte"}
    assert unigram_bias(65_536, 20_000) > 2.3
    assert set(trivial_models(counts, 3_000_000)) == {
        "uniform_bits_per_byte",
        "unigram_bits_per_byte",
    }
