"""Usage of a codebook from counts."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax import quantizers
from latent_jax.quantizers import statistics


def test_perplexity_of_known_distributions():
    assert quantizers.codebook_perplexity(np.full(8, 5.0)) == pytest.approx(8.0)
    assert quantizers.codebook_perplexity(np.array([7, 0, 0])) == pytest.approx(1.0)
    # Entropy of (1/2, 1/4, 1/4) is 1.5 bits.
    assert quantizers.codebook_perplexity(np.array([2, 1, 1, 0])) == pytest.approx(2**1.5)
    assert quantizers.codebook_perplexity(np.zeros(4)) == 0.0


def test_perplexity_of_summed_counts_is_not_the_mean_of_perplexities():
    first, second = np.array([4, 0]), np.array([0, 4])
    merged = quantizers.codebook_perplexity(first + second)
    means = (quantizers.codebook_perplexity(first) + quantizers.codebook_perplexity(second)) / 2
    assert merged == pytest.approx(2.0)
    assert means == pytest.approx(1.0)


def test_usage_and_dead_codes():
    counts = np.array([3, 0, 1, 0])
    assert quantizers.codebook_usage(counts) == 0.5
    assert quantizers.dead_codes(counts) == 2
    assert quantizers.codebook_usage(np.zeros(0)) == 0.0


def test_sums_equal_numpy_and_leave_out_masked_rows():
    rng = np.random.default_rng(0)
    codes, mask = rng.integers(0, 5, 30), rng.random(30) < 0.5
    values = rng.normal(size=(30, 3)).astype(np.float32)
    counts = statistics.count_codes(jnp.asarray(codes), jnp.asarray(mask), 5)
    np.testing.assert_array_equal(counts, np.bincount(codes[mask], minlength=5))
    assert counts.sum() < len(codes)
    sums = statistics.sum_by_code(jnp.asarray(values), jnp.asarray(codes), 5)
    chex.assert_shape([counts, sums], [(5,), (5, 3)])
    expected = [values[codes == v].sum(axis=0) for v in range(5)]
    np.testing.assert_allclose(sums, np.array(expected), rtol=1e-5, atol=1e-6)
