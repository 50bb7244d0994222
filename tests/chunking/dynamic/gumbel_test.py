"""The relaxed draw and the binomial prior against hand-computed values."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.chunker import ChunkerConfig
from latent_jax.chunking.dynamic.gumbel import TEMPERATURE, Gumbel, binomial_nats

HARD = jnp.array([[1, 0, 0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1, 1, 1], [0] * 8], bool)
SOFT = jnp.where(HARD, 0.7, 0.2)
MASK = jnp.array([[1] * 8, [1] * 5 + [0] * 3, [0] * 8], bool)


def nats(count, n, alpha):
    return -math.log(math.comb(n, count) * alpha**count * (1 - alpha) ** (n - count))


def test_the_prior_is_that_of_each_row_over_its_length():
    found = Gumbel.loss(HARD, SOFT, MASK, 5.0)
    # Three of eight and one of five; the third row is all padding.
    expected = (nats(3, 8, 0.2) / 8 + nats(1, 5, 0.2) / 5) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_prior_pulls_the_count_to_its_mean():
    """d/dk of -log Binomial(k) by differences of the gamma function, for each boundary alike."""
    g = jax.grad(lambda p: Gumbel.loss(HARD, p, MASK, 5.0))(SOFT)

    def slope(count, n, alpha, step=1e-4):
        def value(k):
            ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
            return -(ways + k * math.log(alpha) + (n - k) * math.log(1 - alpha))

        return (value(count + step) - value(count - step)) / (2 * step)

    np.testing.assert_allclose(g[0], slope(3, 8, 0.2) / 8 / 2, rtol=1e-4)
    np.testing.assert_allclose(g[1, :5], slope(1, 5, 0.2) / 5 / 2, rtol=1e-4)
    assert not g[1, 5:].any() and not g[2].any()
    # Too many boundaries: descending the gradient makes them less likely; and too few, more.
    assert float(g[0, 0]) > 0
    few = jnp.zeros((1, 40), bool).at[0, 0].set(True)
    words = (jnp.ones(few.shape, bool), 5.0)
    assert (jax.grad(lambda p: Gumbel.loss(few, p, *words))(jnp.full(few.shape, 0.1)) < 0).all()


def test_long_rows_are_exact_enough():
    found = binomial_nats(jnp.float32(900), jnp.float32(4096), 0.2)
    logs = math.lgamma(4097) - math.lgamma(901) - math.lgamma(3197)
    assert float(found) == pytest.approx(
        -(logs + 900 * math.log(0.2) + 3196 * math.log(0.8)), abs=0.02
    )


def test_draws_are_boundaries_as_often_as_their_probability_says():
    p = jnp.broadcast_to(jnp.array([0.0, 0.05, 0.3, 0.5, 0.9, 1.0])[:, None], (6, 20_000))
    router = Gumbel(width=4, rate=5.0)
    hard, soft = router.draw(p, jax.random.key(0))
    np.testing.assert_allclose(hard.mean(axis=1), p[:, 0], atol=0.015)
    np.testing.assert_array_equal(hard, soft > 0.5)
    assert soft.dtype == jnp.float32 and ((soft >= 0) & (soft <= 1)).all()


def test_a_draw_moves_with_its_probability():
    """ds/dl = s (1 - s) / temperature, l the log-odds of p."""
    router, key = Gumbel(width=4, rate=5.0), jax.random.key(1)
    log_odds = jnp.linspace(-2.0, 2.0, 9)[None]

    def soft(log_odds):
        return router.draw(jax.nn.sigmoid(log_odds), key)[1]

    s = soft(log_odds)
    g = jax.grad(lambda log_odds: soft(log_odds).sum())(log_odds)
    np.testing.assert_allclose(g, s * (1 - s) / TEMPERATURE, rtol=1e-3)


def test_a_predictor_that_knows_nothing_draws_at_the_rate_aimed_at_first():
    sight = type("Sight", (), {"x_BTD": jnp.ones((1, 3, 4))})
    schedule = dict(control_steps=10, rate_from=2.5, rate_steps=10)
    for words, expected in (({}, 0.2), (schedule, 0.4)):
        router = ChunkerConfig(kind="gumbel", width=4, rate=5.0, **words).router()
        variables = router.init(jax.random.key(0), sight)
        p = router.apply(jax.tree.map(jnp.zeros_like, variables), sight)
        np.testing.assert_allclose(p, expected, rtol=1e-6)
