"""Rotary positions against the rule of the paper, pair by pair, and what they promise."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.rotary import rotate
from latent_jax.models.gpt import GPT, GPTConfig

B, T, H, D, THETA = 2, 7, 3, 8, 100.0
X = jax.random.normal(jax.random.key(0), (B, T, H, D))


def turned(x, position):
    """Turn one head by one position: Su et al. 2021, equation 14, with Llama's pairs."""
    out = np.empty(D)
    for i in range(D // 2):
        angle = position * THETA ** (-2 * i / D)
        a, b = float(x[i]), float(x[i + D // 2])
        out[i] = a * np.cos(angle) - b * np.sin(angle)
        out[i + D // 2] = a * np.sin(angle) + b * np.cos(angle)
    return out


@pytest.mark.parametrize("positions", [[[*range(T)]], [[*range(T)], [*range(90, 90 + T)]]])
def test_every_pair_turns_by_its_own_angle(positions):
    found = rotate(X, jnp.array(positions, jnp.int32), THETA)
    for b in range(B):
        at = positions[b % len(positions)]
        for t in range(T):
            for h in range(H):
                np.testing.assert_allclose(found[b, t, h], turned(X[b, t, h], at[t]), atol=2e-5)
    np.testing.assert_array_equal(found[0, 0], X[0, 0], "position 0 turns nothing")


def test_scores_depend_on_the_distance_alone():
    q, k = X[:1, :1, :1], X[1:, :1, :1]

    def score(query, key):
        at = (jnp.array([[query]]), jnp.array([[key]]))
        return float(jnp.sum(rotate(q, at[0], THETA) * rotate(k, at[1], THETA)))

    scores = [score(5 + shift, 2 + shift) for shift in (0, 1, 50, 1000)]
    np.testing.assert_allclose(scores, scores[0], atol=1e-3)
    assert abs(score(5, 3) - scores[0]) > 1e-2, "another distance changed nothing"


def test_the_dtype_stays_and_lengths_are_kept():
    low = rotate(X.astype(jnp.bfloat16), jnp.arange(T)[None], THETA)
    exact = rotate(X, jnp.arange(T)[None], THETA)
    chex.assert_type([low, exact], [jnp.bfloat16, jnp.float32])
    chex.assert_shape([low, exact], X.shape)
    np.testing.assert_allclose(low.astype(jnp.float32), exact, atol=3e-2)
    norms = [jnp.linalg.norm(x, axis=-1) for x in (X, exact)]
    np.testing.assert_allclose(*norms, rtol=1e-5)


def test_a_row_of_equal_ids_shows_how_positions_differ():
    """A rotary model reads them all alike, for it sees differences only; a learned table does not.

    Attention over equal values gives that value whatever the scores are.
    """
    ids = jnp.full((1, 9), 3)

    @functools.partial(jax.jit, static_argnames="positions")
    def logits(positions):
        words = dict(vocab_size=11, max_length=12, n_layers=2, d_model=16, n_heads=2)
        model = GPT(GPTConfig(**words, positions=positions))
        return model.apply(model.init(jax.random.key(0), ids), ids)[0]

    rotary, learned = logits("rotary"), logits("learned")
    np.testing.assert_allclose(rotary, jnp.broadcast_to(rotary[:1], rotary.shape), atol=1e-5)
    assert float(jnp.abs(learned - learned[:1]).max()) > 1e-3
