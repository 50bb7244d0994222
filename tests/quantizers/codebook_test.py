"""Moving averages, k-means and restarts as pure functions, against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.quantizers import codebook, nearest
from latent_jax.quantizers.codebook import CodebookState

kmeans = jax.jit(codebook.kmeans, static_argnames=("codebook_size", "iterations", "metric"))
draw_latents = jax.jit(codebook.draw_latents, static_argnames="size")
restart_dead = jax.jit(codebook.restart_dead, static_argnames="threshold")
moving_average = jax.jit(codebook.moving_average, static_argnames=("decay", "metric", "move_codes"))


def _clusters(n=240, n_clusters=12, width=4, seed=0):
    """Latents in tight clusters of very different sizes, as codes of text are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_clusters, width)) * 3
    sizes = 1 / np.arange(1, n_clusters + 1)
    labels = rng.choice(n_clusters, n, p=sizes / sizes.sum())
    return jnp.asarray(centres[labels] + 0.05 * rng.normal(size=(n, width)), jnp.float32)


@jax.jit
def _distortion(z_NE, codes_VE):
    code_N = nearest.nearest_codes(z_NE, codes_VE)
    return jnp.mean(jnp.sum(jnp.square(z_NE - codes_VE[code_N]), axis=-1))


def test_moving_average_equals_the_ratio_of_the_papers_two_averages():
    rng = np.random.default_rng(0)
    decay, n_codes = 0.7, 4
    codes = rng.normal(size=(n_codes, 3)).astype(np.float32)
    usage = np.array([2.0, 1.0, 3.0, 0.5], np.float32)
    state = CodebookState(jnp.asarray(codes), jnp.asarray(usage), jnp.zeros((), jnp.int32))
    sums = codes * usage[:, None]  # m of appendix A.1, which the incremental form never keeps
    for _ in range(5):
        z = rng.normal(size=(20, 3)).astype(np.float32)
        chosen, mask = rng.integers(0, n_codes - 1, 20), rng.random(20) < 0.7
        for v in range(n_codes):
            rows = z[mask & (chosen == v)]
            usage[v] = decay * usage[v] + (1 - decay) * len(rows)
            sums[v] = decay * sums[v] + (1 - decay) * rows.sum(axis=0)
        state = moving_average(
            state, jnp.asarray(z), jnp.asarray(mask), jnp.asarray(chosen), decay, "euclidean", True
        )
    np.testing.assert_allclose(state.usage_V, usage, rtol=1e-5)
    np.testing.assert_allclose(state.codes_VE, sums / usage[:, None], rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_equal(state.codes_VE[-1], jnp.asarray(codes)[-1])  # nobody chose it
    assert int(state.steps) == 5


def test_kmeans_beats_random_codes_and_random_latents():
    z_NE, mask_N = _clusters(), jnp.ones(240, bool)
    codes_VE, counts_V = kmeans(jax.random.key(0), z_NE, mask_N, 16, 10, "euclidean")
    latents_VE = jax.random.choice(jax.random.key(1), z_NE, (16,), replace=False)
    random_VE = jax.random.normal(jax.random.key(2), codes_VE.shape)
    assert counts_V.sum() == 240
    found = _distortion(z_NE, codes_VE)
    assert found < 0.1 * _distortion(z_NE, latents_VE)
    assert found < 0.1 * _distortion(z_NE, random_VE)


@pytest.mark.parametrize("n_real", [1, 5, 16])
def test_kmeans_with_fewer_latents_than_codes_takes_each_of_them(n_real):
    z_NE = jax.random.normal(jax.random.key(0), (40, 3))
    mask_N = jnp.arange(40) < n_real
    codes_VE, counts_V = kmeans(jax.random.key(1), z_NE, mask_N, 64, 5, "euclidean")
    assert _distortion(z_NE[:n_real], codes_VE) < 1e-6
    assert _distortion(z_NE[n_real:], codes_VE) > 1e-2  # padding was not learned
    assert int(jnp.sum(counts_V > 0)) == n_real
    assert jnp.all(jnp.isfinite(codes_VE))


def test_spherical_kmeans_stays_on_the_sphere():
    z_NE = codebook.on_metric(_clusters(), "cosine")
    codes_VE, _ = kmeans(jax.random.key(0), z_NE, jnp.ones(240, bool), 16, 5, "cosine")
    np.testing.assert_allclose(jnp.linalg.norm(codes_VE, axis=-1), 1.0, atol=1e-5)


def test_draws_are_distinct_and_never_of_weight_zero():
    weights_N = jnp.array([0.0, 1.0, 0.0, 5.0, 2.0, 0.0])
    for seed in range(20):
        drawn, n_usable = draw_latents(jax.random.key(seed), weights_N, 3)
        assert sorted(drawn.tolist()) == [1, 3, 4]
        assert int(n_usable) == 3
        wrapped, _ = draw_latents(jax.random.key(seed), weights_N, 9)
        assert set(wrapped.tolist()) == {1, 3, 4}


def test_draws_follow_their_weights():
    weights_N = jnp.array([1.0, 3.0, 6.0])
    keys = jax.random.split(jax.random.key(0), 2000)
    first = jax.vmap(lambda key: draw_latents(key, weights_N, 1)[0][0])(keys)
    np.testing.assert_allclose(np.bincount(first) / 2000, weights_N / 10, atol=0.04)


def test_restart_replaces_dead_codes_and_no_others():
    z_NE = jax.random.normal(jax.random.key(0), (30, 3))
    codes_VE = 10.0 + jax.random.normal(jax.random.key(1), (8, 3))
    usage_V = jnp.array([4.0, 0.0, 4.0, 0.3, 4.0, 4.0, 0.1, 4.0])  # mean 2.55
    state = CodebookState(codes_VE, usage_V, jnp.ones((), jnp.int32))
    errors_N = jnp.where(jnp.arange(30) < 20, 1.0, 0.0)
    restarted, n = restart_dead(jax.random.key(2), state, z_NE, errors_N, 0.1)
    replaced = np.array([1, 6])  # 0.3 is above a tenth of the mean
    kept = np.setdiff1d(np.arange(8), replaced)
    assert float(n) == 2
    chex.assert_trees_all_equal(restarted.codes_VE[kept], codes_VE[kept])
    chex.assert_trees_all_equal(restarted.usage_V[kept], usage_V[kept])
    sources = [
        np.flatnonzero((np.array(z_NE) == row).all(axis=-1))
        for row in np.array(restarted.codes_VE)[replaced]
    ]
    assert all(len(s) == 1 and s[0] < 20 for s in sources)  # latents, and none of weight 0
    assert sources[0][0] != sources[1][0]
    np.testing.assert_allclose(restarted.usage_V[replaced], usage_V.mean())


def test_restart_with_fewer_latents_than_dead_codes_repeats_no_latent():
    z_NE = jax.random.normal(jax.random.key(0), (6, 3))
    state = CodebookState(jnp.zeros((20, 3)), jnp.eye(20)[0], jnp.ones((), jnp.int32))
    restarted, n = restart_dead(
        jax.random.key(1), state, z_NE, jnp.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0]), 0.5
    )
    assert float(n) == 4
    new = np.array(restarted.codes_VE)[np.any(restarted.codes_VE != 0, axis=-1)]
    assert len(np.unique(new, axis=0)) == 4


def test_subsample_takes_real_latents_first():
    z_NE = jnp.arange(50.0)[:, None]
    mask_N = jnp.arange(50) % 5 == 0
    sample, mask = codebook.subsample(jax.random.key(0), z_NE, mask_N, 8)
    assert sample.shape == (8, 1) and bool(mask.all())
    assert bool(jnp.all(sample % 5 == 0))
    few, mask = codebook.subsample(jax.random.key(0), z_NE, mask_N, 20)
    assert int(mask.sum()) == 10
    assert len(set(few[:, 0][mask].tolist())) == 10


def test_restarts_become_rarer_as_the_run_goes_on():
    steps = np.arange(1, 4001)
    due = steps[steps % np.array(codebook.restart_interval(jnp.asarray(steps), 10)) == 0]
    np.testing.assert_array_equal(due[:20], np.arange(10, 210, 10))
    gaps = np.diff(due)
    assert set(gaps) == {10, 20, 40, 80, 160, 320}
    late = due[1:] > 200
    share = gaps[late] / due[1:][late]
    assert share.min() >= 0.04 and share.max() <= 0.1
