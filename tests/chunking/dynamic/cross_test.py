"""Cross-attention from a patch to its bytes: against loops, long patches, the maximum, FLOPs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.base import cut_at
from latent_jax.chunking.dynamic.cross import Cross, running_maximum

T, D, K, H, REACH = 13, 6, 2, 3, 4
BOUNDARIES = jnp.array(
    [[1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0], [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]], bool
)
P = jnp.where(BOUNDARIES, 0.8, 0.3)
X = 2.0 * jax.random.normal(jax.random.key(0), (2, T, D))
MODULE = Cross(width=D, n_vectors=K, n_heads=H, reach=REACH)


@functools.cache
def variables():
    drawn = jax.jit(MODULE.init)(jax.random.key(1), X, P, cut_at(BOUNDARIES, 8))
    keys = iter(jax.random.split(jax.random.key(2), 20))
    return jax.tree.map(lambda leaf: leaf + 0.5 * jax.random.normal(next(keys), leaf.shape), drawn)


def pooled(x, boundaries, capacity=8):
    return _pooled(variables(), x, boundaries, capacity)


@functools.partial(jax.jit, static_argnames="capacity")
def _pooled(drawn, x, boundaries, capacity):
    return MODULE.apply(drawn, x, P, cut_at(boundaries, capacity))


def by_loop(x):
    """Return the vectors of a patch of bytes [n, D], one head of one query after the other."""
    params = jax.tree.map(np.asarray, variables()["params"])

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params[name]["scale"]

    x = np.asarray(x[-REACH:], np.float64)
    both = np.einsum("td,dahc->tahc", norm(x, "key_norm"), params["key_value"]["kernel"])
    parts = []
    for j in range(K):
        vector = x.max(axis=0) @ params["initial"]["kernel"][:, j]
        query = np.einsum("d,dhc->hc", norm(vector, "query_norm"), params["query"]["kernel"])
        for h in range(H):
            scores = both[:, 0, h] @ query[h] / np.sqrt(D // H)
            weights = np.exp(scores) / np.exp(scores).sum()
            vector = vector + (weights @ both[:, 1, h]) @ params["out"]["kernel"][h]
        parts.append(vector)
    return np.concatenate(parts)


def test_each_patch_is_that_of_a_loop_over_its_bytes():
    z = pooled(X, BOUNDARIES)
    assert z.shape == (2, 8, K * D)
    for row in range(2):
        ends = np.flatnonzero(BOUNDARIES[row])
        assert max(np.diff(ends)) > REACH, "a patch is longer than what is read"
        for number, end in enumerate(ends):
            start = ends[number - 1] + 1 if number else 0
            np.testing.assert_allclose(z[row, number], by_loop(X[row, start : end + 1]), atol=1e-4)
        assert not z[row, len(ends) :].any()


def test_steps_are_rows_for_short_and_long_patches():
    z, cut = pooled(X, BOUNDARIES), cut_at(BOUNDARIES, 8)
    step = jax.jit(functools.partial(MODULE.apply, method="step"))
    there = jax.jit(functools.partial(MODULE.apply, method="state"))
    state = MODULE.empty(2, D, "float32")
    for t in range(T):
        found, state = step(variables(), X[:, t], BOUNDARIES[:, t], state)
        for row in np.flatnonzero(BOUNDARIES[:, t]):
            np.testing.assert_allclose(found[row], z[row, cut.chunk_of_BT[row, t]], atol=1e-5)
        expected = there(variables(), X, cut, jnp.full(2, t + 1))
        chex.assert_trees_all_close(expected, state, atol=1e-5)


def test_patches_that_overflow_belong_to_none():
    few = pooled(X, BOUNDARIES, 2)
    np.testing.assert_allclose(few, pooled(X, BOUNDARIES)[:, :2], atol=1e-6)
    gradient = jax.grad(lambda x: pooled(x, BOUNDARIES, 2).sum())(X)
    chex.assert_tree_all_finite(gradient)
    assert not gradient[0, 4:].any() and gradient[0, :4].any(axis=-1).all()


def test_large_numbers_stay_finite():
    z = pooled(1e4 * X, BOUNDARIES)
    gradient = jax.grad(lambda x: pooled(x, BOUNDARIES).sum())(1e4 * X)
    chex.assert_tree_all_finite((z, gradient))


def test_a_maximum_begins_anew_behind_each_boundary():
    x = jnp.array([[3.0, 1.0, 2.0, 0.0, 5.0, -1.0]])[..., None]
    boundaries = jnp.array([[1, 0, 1, 0, 0, 0]], bool)
    found = running_maximum(x, cut_at(boundaries, 8).begins_BT)[0, :, 0]
    np.testing.assert_array_equal(found, [3, 1, 2, 0, 5, 5])


def test_flops_agree_with_xla():
    # Wide enough for the scans, which XLA counts too, to weigh little.
    module, length, capacity = Cross(width=512, n_vectors=2, n_heads=4), 64, 16
    x = jax.ShapeDtypeStruct((1, length, 512), jnp.float32)
    cut = jax.eval_shape(lambda: cut_at(jnp.zeros((1, length), bool), capacity))
    drawn = jax.eval_shape(module.init, jax.random.key(0), x, None, cut)
    lowered = jax.jit(module.apply).lower(drawn, x, None, cut)
    counted = lowered.cost_analysis()["flops"]
    flops = length * module.forward_flops(512) + capacity * module.flops_per_chunk(512)
    assert flops == pytest.approx(counted, rel=0.05)
