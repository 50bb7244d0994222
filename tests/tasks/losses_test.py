"""Cross-entropy against its definition, and the conversions of units."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.tasks import losses


def test_token_nats_and_gradient_equal_the_gathered_form():
    key_logits, key_ids = jax.random.split(jax.random.key(0))
    logits = 5 * jax.random.normal(key_logits, (2, 7, 11))
    ids = jax.random.randint(key_ids, (2, 7), 0, 11)

    def gathered(logits):
        log_p = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]

    chex.assert_trees_all_close(losses.token_nats(logits, ids), gathered(logits), atol=1e-5)
    chex.assert_trees_all_close(
        jax.jit(jax.grad(lambda x: losses.token_nats(x, ids).sum()))(logits),
        jax.jit(jax.grad(lambda x: gathered(x).sum()))(logits),
        atol=1e-5,
    )


def test_token_nats_is_float32_on_bfloat16_logits():
    logits = jnp.zeros((1, 3, 257), jnp.bfloat16)
    nats = jax.jit(losses.token_nats)(logits, jnp.zeros((1, 3), jnp.int32))
    assert nats.dtype == jnp.float32
    np.testing.assert_allclose(nats, np.log(257), rtol=1e-6)


def test_histogram_counts_only_what_is_weighted():
    counts = losses.histogram(jnp.array([[0, 1, 1, 3]]), jnp.array([[1.0, 1.0, 0.0, 1.0]]), 5)
    np.testing.assert_array_equal(counts, [1, 1, 0, 1, 0])


def test_bits_per_byte():
    assert losses.bits_per_byte(8 * np.log(2) * 10, 10) == pytest.approx(8.0)


def test_perplexity_is_in_base_e_of_nats():
    nats = 0.87 * 4.28 * np.log(2)
    assert losses.perplexity(0.87, 4.28) == pytest.approx(np.exp(nats))
    assert losses.perplexity(8.0, 1.0) == 256.0
    assert losses.perplexity(8.0, 200.0) is None
