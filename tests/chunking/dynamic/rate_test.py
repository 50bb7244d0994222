"""The threshold reaches its target, whatever the distribution of probabilities is, and stays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.chunker import ChunkerConfig, DynamicChunker, Row
from latent_jax.chunking.dynamic.rate import COLLECTION, Threshold, error_of, gains, moved
from latent_jax.chunking.dynamic.ratio import ratio_loss
from latent_jax.chunking.dynamic.schedule import aim

N = 4096
SHAPES = {
    "even": lambda u: u,
    "two sides": lambda u: jax.nn.sigmoid(jnp.tan(3.0 * u - 2.0)),
    "near zero": lambda u: 0.02 * u,
    "near one": lambda u: 1.0 - 0.001 * u,
}


def spread(key):
    """Return numbers that fill [0, 1) evenly, so that few have the counts of many."""
    return (jnp.arange(N) + jax.random.uniform(key, (N,))).reshape(4, -1) / N


@pytest.mark.parametrize("shape", SHAPES)
def test_the_rate_on_other_draws_is_within_a_percent(shape):
    module = Threshold(steps=100)

    def draw(key):
        return SHAPES[shape](spread(key))

    free = jnp.ones((4, N // 4), bool).at[:, 0].set(False)

    @jax.jit
    def reach(key, rate):
        def step(state, key):
            words = dict(train=True, mutable=[COLLECTION])
            _, state = module.apply(state, draw(key), free, jnp.float32(4), N / rate, **words)
            return {**state}, None

        zero = jnp.zeros((), jnp.float32)
        state = {COLLECTION: {"threshold": zero, "drift": zero, "n_steps": zero}}
        state, _ = jax.lax.scan(step, state, jax.random.split(key, 200))
        threshold = module.apply(state, jnp.zeros((4, N // 4)), free, zero, zero)
        # What was not trained on.
        p = jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, 1), 4))
        is_first = (moved(p, threshold) > 0.5).at[:, :, 0].set(True)
        return p.size / jnp.sum(is_first), state

    for rate in (1.5, 4.0, 12.0):
        reached, state = reach(jax.random.key(0), jnp.float32(rate))
        assert float(reached) == pytest.approx(rate, rel=0.01)
        assert state[COLLECTION]["n_steps"] == 200


def test_a_steady_drift_leaves_no_error():
    module = Threshold(steps=20)

    @jax.jit
    def track(key):
        def step(state, key_and_time):
            key, time = key_and_time
            p = jax.nn.sigmoid(jax.random.normal(key, (4, 1024)) + 3.0 * time)
            free = jnp.ones(p.shape, bool)
            counts = jnp.float32(0), jnp.float32(p.size / 4)
            words = dict(train=True, mutable=[COLLECTION])
            threshold, state = module.apply(state, p, free, *counts, **words)
            return {**state}, jnp.mean(moved(p, threshold) > 0.5)

        zero = jnp.zeros((), jnp.float32)
        state = {COLLECTION: {"threshold": zero, "drift": zero, "n_steps": zero}}
        times = jnp.linspace(0.0, 1.0, 300)
        return jax.lax.scan(step, state, (jax.random.split(key, 300), times))[1]

    shares = np.asarray(track(jax.random.key(0)))
    assert shares[0] == pytest.approx(0.5, abs=0.05)
    # Without the drift the share would be 0.25 + 0.03.
    assert shares[100:].mean() == pytest.approx(0.25, rel=0.01)


def test_the_filter_begins_short_and_ends_at_its_longest():
    first, last = gains(jnp.float32(0), 100), gains(jnp.float32(1e6), 100)
    np.testing.assert_allclose(first, (0.64, 0.16), rtol=1e-5)
    np.testing.assert_allclose(last, (1 - 0.98**2, 0.02**2), rtol=1e-4)
    np.testing.assert_allclose(gains(jnp.float32(1e6), 1), first, rtol=1e-5)


def test_moving_keeps_the_order_and_puts_the_boundary_at_a_half():
    p = jnp.linspace(0.0, 1.0, 101)
    for threshold in (-3.0, 0.0, 1.5):
        q = moved(p, jnp.float32(threshold))
        assert (np.diff(q) > 0).all() and q[0] == 0 and q[-1] == 1
        at = jax.nn.sigmoid(threshold)
        np.testing.assert_array_equal(np.asarray(q) > 0.5, np.asarray(p) > at)
    np.testing.assert_allclose(moved(p, jnp.float32(0.0)), p, atol=1e-6)


def test_the_slope_of_moving_is_finite_at_both_ends():
    slope = jax.vmap(jax.grad(functools.partial(moved, threshold=jnp.float32(1.0))))
    assert np.isfinite(slope(jnp.array([0.0, 1e-9, 0.5, 1.0]))).all()


def test_it_stays_where_it_is_without_training_and_without_text():
    p, free = jnp.full((1, 8), 0.9), jnp.ones((1, 8), bool)
    counts = jnp.float32(0), jnp.float32(2)
    state = Threshold(10).init(jax.random.key(0), p, free, *counts, train=True)
    assert jax.tree.leaves(state) == [0.0, 0.0, 0.0], "init moves nothing"
    now = Threshold(10).apply(state, p, free, *counts)
    assert now == 0.0
    nothing, zero = jnp.zeros((1, 8), bool), jnp.float32(0)
    assert error_of(jnp.float32(0.3), p, nothing, zero, zero) == 0.0


def test_the_aim_moves_in_equal_factors_and_stays():
    steps = jnp.array([0.0, 5.0, 10.0, 99.0])
    found = jax.vmap(lambda n_done: aim(8.0, 2.0, 10, n_done))(steps)
    np.testing.assert_allclose(found, [2.0, 4.0, 8.0, 8.0], rtol=1e-6)
    assert aim(8.0, 0.0, 0, jnp.float32(3)) == 8.0


def test_threshold_and_loss_follow_the_aim_of_the_step():
    """Half of the way from 2 to 8 the aim is 4: of 1024 positions, 256 boundaries are wanted."""
    config = ChunkerConfig(
        kind="cosine", width=8, rate=8.0, control_steps=10, rate_from=2.0, rate_steps=10, slack=2.0
    )
    assert config.capacity(1024) == 1024 and config.capacity(256) == 256
    x = jax.random.normal(jax.random.key(0), (1, 1024, 8))
    ids, first = jnp.zeros((1, 1024), jnp.int32), jnp.arange(1024)[None] == 0
    row = Row(ids, first, jnp.ones_like(first), None, jnp.float32(1024))
    module = DynamicChunker(config)
    drawn = module.init(jax.random.key(1), x, row)

    @jax.jit
    def train(n_done):
        state = {**drawn[COLLECTION]["threshold"], "n_steps": jnp.float32(n_done)}
        variables = {**drawn, COLLECTION: {"threshold": state}}
        out, kept = module.apply(variables, x, row, train=True, mutable=[COLLECTION])
        return out, kept[COLLECTION]["threshold"]

    for n_done, rate in ((0, 2.0), (5, 4.0), (10, 8.0), (20, 8.0)):
        (chunks, cut, p, _), kept = train(n_done)
        n = int(cut.is_first_BT.sum())
        error = error_of(jnp.float32(0), p, ~first, jnp.float32(1), jnp.float32(1024 / rate))
        a, _ = gains(jnp.float32(n_done), 10)
        assert kept["threshold"] == pytest.approx(float(a * error), rel=1e-4)
        assert np.sign(kept["threshold"]) == np.sign(n - 1024 / rate)
        expected = ratio_loss(cut.is_first_BT, p, ~first | first, rate)
        assert chunks.aux_loss == pytest.approx(float(expected), rel=1e-4)
        assert kept["n_steps"] == n_done + 1
