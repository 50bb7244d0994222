import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.embeddings import PositionEmbedding, TokenEmbedding


def test_rows_are_looked_up_and_scored():
    table = TokenEmbedding(vocab_size=11, d_model=6)
    ids = jnp.array([[0, 10, 3], [3, 3, 7]])
    x, variables = table.init_with_output(jax.random.key(0), ids)
    rows = variables["params"]["embedding"]
    chex.assert_trees_all_equal(x, rows[ids])
    logits = table.apply(variables, x, method="attend")
    np.testing.assert_allclose(logits, x @ rows.T, atol=1e-7)


def test_bfloat16_rows_give_float32_logits():
    table = TokenEmbedding(vocab_size=11, d_model=6, dtype="bfloat16")
    x, variables = table.init_with_output(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    assert variables["params"]["embedding"].dtype == jnp.float32
    assert x.dtype == jnp.bfloat16
    assert table.apply(variables, x, method="attend").dtype == jnp.float32


def test_positions_are_added_and_end_at_the_table():
    positions = PositionEmbedding(max_length=4)
    x = jnp.ones((2, 3, 5))
    y, variables = positions.init_with_output(jax.random.key(0), x)
    table = variables["params"]["embedding"]
    np.testing.assert_allclose(y[1], 1.0 + table[:3], rtol=1e-6)
    with pytest.raises(ValueError, match=r"5 positions, the model 4.*raise max_length"):
        positions.apply(variables, jnp.ones((2, 5, 5)))
