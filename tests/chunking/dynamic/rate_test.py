"""The threshold reaches its target, whatever the distribution of probabilities is, and stays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.chunker import ChunkerConfig, DynamicChunker
from latent_jax.chunking.dynamic.rate import (
    COLLECTION,
    Threshold,
    error_of,
    fitted,
    gains,
    lines,
    moved,
)
from latent_jax.chunking.dynamic.ratio import ratio_loss
from latent_jax.chunking.dynamic.registry import routers
from latent_jax.chunking.dynamic.row import Row
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

    starts = jnp.zeros((4, N // 4), bool).at[:, 0].set(True)

    @jax.jit
    def reach(key, rate):
        def step(state, key):
            return followed(module, state, draw(key), starts, N / rate), None

        state, _ = jax.lax.scan(step, empty(module), jax.random.split(key, 200))
        threshold = module.apply(state, train=False, method="now")
        # What was not trained on.
        p = jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, 1), 4))
        is_first = (moved(p, threshold) > 0.5).at[:, :, 0].set(True)
        return p.size / jnp.sum(is_first), state

    for rate in (1.5, 4.0, 12.0):
        reached, state = reach(jax.random.key(0), jnp.float32(rate))
        assert float(reached) == pytest.approx(rate, rel=0.01)
        assert state[COLLECTION]["n_steps"] == 200


def empty(module):
    """Return the state that a run begins with."""
    return module.init(jax.random.key(0), train=True, method="now")


def followed(module, state, p, starts, n_wanted, capacity=N):
    """Return the state behind a batch."""
    words = dict(mutable=[COLLECTION], method="follow")
    return {**module.apply(state, p, ~starts, starts, n_wanted, capacity, **words)[1]}


def test_a_steady_drift_leaves_no_error():
    module = Threshold(steps=20)

    @jax.jit
    def track(key):
        def step(state, key_and_time):
            key, time = key_and_time
            p = jax.nn.sigmoid(jax.random.normal(key, (4, 1024)) + 3.0 * time)
            both = [module.apply(state, train=train, method="now") for train in (True, False)]
            shares = [jnp.mean(moved(p, threshold) > 0.5) for threshold in both]
            starts, n_wanted = jnp.zeros(p.shape, bool), jnp.float32(p.size / 4)
            return followed(module, state, p, starts, n_wanted), jnp.stack(shares)

        times = jnp.linspace(0.0, 1.0, 300)
        return jax.lax.scan(step, empty(module), (jax.random.split(key, 300), times))[1]

    shares = np.asarray(track(jax.random.key(0)))
    np.testing.assert_allclose(shares[0], 0.5, atol=0.05)
    # Without the drift the share would be 0.25 + 0.03. Of training, and of inference.
    np.testing.assert_allclose(shares[100:].mean(axis=0), 0.25, rtol=0.01)


def test_the_filter_begins_short_and_ends_at_its_longest():
    first, last = gains(jnp.float32(0), 100), gains(jnp.float32(1e6), 100)
    np.testing.assert_allclose(first, (0.64, 0.16), rtol=1e-5)
    np.testing.assert_allclose(last, (1 - 0.98**2, 0.02**2), rtol=1e-4)
    np.testing.assert_allclose(gains(jnp.float32(1e6), 1), first, rtol=1e-5)


def test_moving_keeps_the_order_and_puts_the_boundary_at_a_half():
    p = jnp.linspace(0.0, 1.0, 101)
    for threshold in (-3.0, 0.0, 1.5):
        q = moved(p, jnp.float32(threshold))
        assert (np.diff(q) > 0).all() and 0 < q[0] < 1e-4 and 1 - 1e-4 < q[-1] <= 1
        at = jax.nn.sigmoid(threshold)
        np.testing.assert_array_equal(np.asarray(q) > 0.5, np.asarray(p) > at)
    np.testing.assert_allclose(moved(p, jnp.float32(0.0)), p, atol=1e-6)


def test_the_slope_of_moving_is_finite_at_both_ends():
    slope = jax.vmap(jax.grad(functools.partial(moved, threshold=jnp.float32(1.0))))
    assert np.isfinite(slope(jnp.array([0.0, 1e-9, 0.5, 1.0]))).all()


def test_it_stays_where_it_is_without_training_and_without_text():
    p, starts, module = jnp.full((1, 8), 0.9), jnp.zeros((1, 8), bool), Threshold(10)
    words = dict(method="follow")
    state = module.init(jax.random.key(0), p, ~starts, starts, jnp.float32(2), 8, **words)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state)), "init moves nothing"
    assert module.apply(state, train=True, method="now") == 0.0
    zero = jnp.float32(0)
    found = error_of(jnp.float32(0.3), p, starts, starts, zero, 8)
    assert found == pytest.approx(0.0, abs=1e-4)


def test_what_has_no_room_is_no_chunk():
    """Of 8 boundaries in a row, 4 have room: two rows have 4 and 1, and 5 are wanted."""
    p = jnp.stack([jnp.full(8, 0.9), jnp.full(8, 0.1)])
    starts = jnp.zeros((2, 8), bool).at[:, 0].set(True)
    for capacity, n in ((4, 5), (6, 7), (8, 9)):
        exact = error_of(jnp.float32(0), p, ~starts, starts, jnp.float32(n), capacity)
        assert exact == pytest.approx(0.0, abs=1e-4)
        assert error_of(jnp.float32(0), p, ~starts, starts, jnp.float32(n + 1), capacity) < 0.0


def test_lines_are_those_of_least_squares_one_step_on():
    windows, weights = lines(30)
    assert windows.tolist() == [8, 12, 18, 27, 30] and weights.shape == (5, 30)
    past = np.random.default_rng(0).normal(size=30)
    for window, weights_M in zip(windows, weights, strict=True):
        line = np.polyfit(np.arange(window), past[-window:], 1)
        assert weights_M @ past == pytest.approx(np.polyval(line, window), rel=1e-5)
        assert not weights_M[: 30 - window].any()
    assert lines(8)[0].tolist() == [8]


def test_a_window_ends_where_the_router_changed_its_mind():
    read = jax.jit(fitted)
    noise = np.random.default_rng(1).normal(size=100) * 0.1
    still = jnp.asarray(noise + 1.0, jnp.float32)
    assert read(still, 7)[1] == 0 and read(still, 8)[1] == 8
    assert read(still, 100)[1] == 12, "at most 0.15 of the steps done"
    end, window = read(still, 1000)
    assert window == 100 and end == pytest.approx(1.0, abs=0.06)
    turned = jnp.asarray(np.maximum(np.arange(100.0) - 60.0, 0.0) * 0.1 + noise, jnp.float32)
    end, window = read(turned, 1000)
    assert 18 <= window <= 60 and end == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1.5])
def test_the_error_leads_to_the_threshold_of_the_batch(threshold):
    p = jax.nn.sigmoid(0.5 * jax.random.normal(jax.random.key(3), (4, 64)))
    starts = jnp.zeros(p.shape, bool).at[:, 0].set(True)
    error = error_of(jnp.float32(threshold), p, ~starts, starts, jnp.float32(64), 64)
    at = jnp.clip(threshold + error, threshold - 2.0, threshold + 2.0)
    assert ((moved(p, at) > 0.5) | starts).sum() == 64


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
        wanted = jnp.float32(1024 / rate)
        error = error_of(jnp.float32(0), p, ~first, first, wanted, 1024)
        a, _ = gains(jnp.float32(n_done), 10)
        assert kept["threshold"] == pytest.approx(float(a * error), rel=1e-4)
        assert np.sign(kept["threshold"]) == np.sign(n - 1024 / rate)
        expected = ratio_loss(cut.is_first_BT, p, ~first | first, rate)
        assert chunks.aux_loss == pytest.approx(float(expected), rel=1e-4)
        assert kept["n_steps"] == n_done + 1


@pytest.mark.parametrize("kind", ["gumbel", "bernoulli", "policy", "spikes"])
def test_drawn_and_taught_boundaries_follow_the_aim_too(kind):
    """The loss of a router reads the aim of the step, and so does the threshold."""
    words = dict(control_steps=10, rate_from=2.0, rate_steps=10, slack=2.0)
    module, router = DynamicChunker(ChunkerConfig(kind=kind, width=8, rate=8.0, **words)), routers()
    x, first = jax.random.normal(jax.random.key(0), (1, 256, 8)), jnp.arange(256)[None] == 0
    real = jnp.ones_like(first)
    row = Row(jnp.zeros((1, 256), jnp.int32), first, real, None, jnp.float32(256))
    drawn = module.init(jax.random.key(1), x, row)

    @jax.jit
    def train(n_done):
        state = {**drawn[COLLECTION]["threshold"], "n_steps": jnp.float32(n_done)}
        variables = {**drawn, COLLECTION: {"threshold": state}}
        rngs = {"boundaries": jax.random.key(2)}
        out, kept = module.apply(variables, x, row, train=True, mutable=[COLLECTION], rngs=rngs)
        return out, kept[COLLECTION]["threshold"]["threshold"]

    for n_done, rate in ((0, 2.0), (5, 4.0), (20, 8.0)):
        (chunks, cut, p, read), threshold = train(n_done)
        judged = read.p_BT if router[kind].is_relaxed else p
        expected = router[kind].loss(cut.is_first_BT, judged, real, rate)
        assert chunks.aux_loss == pytest.approx(float(expected), rel=1e-4)
        error = error_of(jnp.float32(0), read.own_BT, ~first, first, jnp.float32(256 / rate), 256)
        gain, _ = gains(jnp.float32(n_done), 10)
        assert threshold == pytest.approx(float(gain * error), rel=1e-4, abs=1e-6)
