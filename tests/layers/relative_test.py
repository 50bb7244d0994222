"""Relative positions against T5's published rule, written out one distance at a time."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.relative import PositionBias, buckets
from latent_jax.models.gpt import GPTConfig

CONFIG = GPTConfig(
    vocab_size=8,
    max_length=16,
    n_layers=1,
    d_model=12,
    n_heads=3,
    positions="relative",
    relative_buckets=8,
    relative_distance=16,
)


def _bucket(distance: int, causal: bool, n_buckets: int, last: int) -> int:
    """Raffel et al. 2020, section 2.1, as T5's code has it; `distance` is query minus key."""
    first = 0
    if causal:
        distance = max(distance, 0)
    else:
        n_buckets //= 2
        first = n_buckets if distance < 0 else 0
        distance = abs(distance)
    n_exact = n_buckets // 2
    if distance < n_exact:
        return first + distance
    share = math.log(distance / n_exact) / math.log(last / n_exact)
    return first + min(n_buckets - 1, n_exact + int(share * (n_buckets - n_exact)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_buckets,last", [(32, 128), (8, 16), (64, 1000)])
def test_buckets_follow_the_rule(causal, n_buckets, last):
    distances = np.arange(-1100, 1100)
    found = buckets(distances, causal=causal, n_buckets=n_buckets, last=last)
    assert found.tolist() == [_bucket(d, causal, n_buckets, last) for d in distances.tolist()]
    # Distance 0 belongs to the past: the future's own bucket for it stays empty, as in T5.
    empty = set() if causal else {n_buckets // 2}
    assert set(found.tolist()) == set(range(n_buckets)) - empty


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 2, 40])
def test_every_query_and_key_get_the_bias_of_their_distance(causal, length):
    module = PositionBias(CONFIG, causal)
    bias_HTS, variables = module.init_with_output(jax.random.key(0), length)
    table = np.asarray(variables["params"]["table"])
    chex.assert_shape(bias_HTS, (3, length, length))
    chex.assert_type([bias_HTS, table], jnp.float32)
    expected = np.empty((3, length, length), np.float32)
    for t in range(length):
        for s in range(length):
            expected[:, t, s] = table[:, _bucket(t - s, causal, 8, 16)]
    np.testing.assert_allclose(bias_HTS, expected, rtol=1e-6)


def test_the_gradient_counts_how_often_a_bucket_is_used():
    module = PositionBias(CONFIG, causal=True)
    variables = module.init(jax.random.key(0), 20)
    gradient = jax.grad(lambda v: jnp.sum(jnp.tril(module.apply(v, 20))))(variables)
    distances = [t - s for t in range(20) for s in range(t + 1)]
    counts = np.bincount([_bucket(d, True, 8, 16) for d in distances], minlength=8)
    np.testing.assert_allclose(gradient["params"]["table"], np.tile(counts, (3, 1)), rtol=1e-5)
