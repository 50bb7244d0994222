import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.block import Stack
from latent_jax.layers.dropout import Dropout, drop, keep_mask
from latent_jax.models.gpt import GPTConfig


@pytest.mark.parametrize("shape", [(64, 400), (64, 3, 133)])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_the_share_of_zeros_is_the_rate_and_the_mean_stays(shape, rate):
    is_kept = keep_mask(jax.random.key(0), rate, shape)
    chex.assert_shape(is_kept, shape)
    chex.assert_type(is_kept, bool)
    tolerance = 4 * (rate * (1 - rate) / is_kept.size) ** 0.5
    assert abs(float(1 - jnp.mean(is_kept)) - rate) < tolerance
    dropped = drop(jnp.full(shape, 2.0, jnp.bfloat16), is_kept, rate)
    chex.assert_type(dropped, jnp.bfloat16)
    assert float(jnp.mean(dropped.astype(jnp.float32))) == pytest.approx(2.0, rel=0.05)


def test_neighbours_that_share_a_word_are_independent():
    is_kept = np.asarray(keep_mask(jax.random.key(1), 0.5, (4096, 64)), float)
    correlation = np.corrcoef(is_kept[:, ::2].ravel(), is_kept[:, 1::2].ravel())[0, 1]
    assert abs(correlation) < 0.02


def test_it_is_off_outside_of_training_and_needs_no_key_then():
    x = jnp.ones((2, 8))
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, train=False), x)
    trained = Dropout(0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert set(np.unique(trained)) == {0.0, 2.0}


def test_every_layer_and_branch_draws_its_own_mask():
    config = GPTConfig(vocab_size=8, max_length=8, n_layers=3, d_model=64, n_heads=2, dropout=0.5)
    stack = Stack(config, causal=True)
    kept = stack.apply(
        {}, jnp.ones((2, 8, 64)), True, method="_kept", rngs={"dropout": jax.random.key(0)}
    )
    masks = np.asarray(kept, float).reshape(6, -1)
    assert kept.shape == (3, 2, 2, 8, 64)
    correlations = np.corrcoef(masks) - np.eye(6)
    assert np.abs(correlations).max() < 0.2
    assert stack.apply({}, jnp.ones((2, 8, 64)), False, method="_kept") is None
