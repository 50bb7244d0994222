"""The moving average over chunks against its recurrence, and the confidence of positions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic.base import cut_at
from latent_jax.chunking.dynamic.smoothing import (
    LEAST,
    chunk_weights,
    dechunk,
    smooth,
    smooth_step,
)

P_BK = jnp.array([[1.0, 0.7, 0.0, 1.0, 0.51, 0.9], [1.0, 0.6, 1.0, 0.2, 0.9, 0.3]])
STARTS_BK = jnp.array([[1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0]], bool)
Z_BKD = jax.random.normal(jax.random.key(0), (2, 6, 3))


def test_the_scan_is_the_recurrence():
    weights = chunk_weights(P_BK, STARTS_BK)
    expected = np.zeros((2, 6, 3))
    for row in range(2):
        before = np.zeros(3)
        for k in range(6):
            p = 1.0 if STARTS_BK[row, k] else np.clip(P_BK[row, k], LEAST, 1 - LEAST)
            before = expected[row, k] = p * np.asarray(Z_BKD[row, k]) + (1 - p) * before
    actual = jax.jit(smooth)(Z_BKD, weights)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    step_BD = jnp.zeros((2, 3))
    for k in range(6):
        step_BD = smooth_step(step_BD, Z_BKD[:, k], weights[:, k])
        np.testing.assert_allclose(step_BD, expected[:, k], atol=1e-6)


def test_its_gradient_is_that_of_the_recurrence():
    weights = chunk_weights(P_BK, STARTS_BK)

    def loop(z, weights):
        before, found = jnp.zeros((2, 3)), []
        for k in range(6):
            before = smooth_step(before, z[:, k], weights[:, k])
            found.append(before)
        return jnp.stack(found, axis=1)

    gradients = [
        jax.jit(jax.grad(lambda z, w, f=f: jnp.sum(jnp.sin(f(z, w))), argnums=(0, 1)))(
            Z_BKD, weights
        )
        for f in (smooth, loop)
    ]
    chex.assert_trees_all_close(*gradients, atol=1e-5)


def test_nothing_crosses_the_start_of_a_document():
    weights = chunk_weights(P_BK, STARTS_BK)
    change = jax.jit(jax.jacobian(lambda z: smooth(z, weights)[1, 2:].sum()))(Z_BKD)
    np.testing.assert_array_equal(change[1, :2], 0.0)
    assert float(jnp.abs(change[1, 2:]).min()) > 0


def test_bfloat16_is_averaged_in_float32():
    weights = chunk_weights(P_BK, STARTS_BK)
    assert smooth(Z_BKD.astype(jnp.bfloat16), weights).dtype == jnp.float32


def test_confidence_is_one_and_its_gradient_is_that_of_the_choice():
    first = jnp.array([[True, False, True, False]])
    cut = cut_at(first, 2)
    z = jax.random.normal(jax.random.key(1), (1, 2, 3))
    p = jnp.array([[1.0, 0.2, 0.8, 0.4]])
    up = dechunk(z, cut.chunk_of_BT, cut.is_first_BT, p)
    np.testing.assert_array_equal(up[0], z[0, jnp.array([0, 0, 1, 1])])
    gradient = jax.grad(lambda p: dechunk(z, cut.chunk_of_BT, cut.is_first_BT, p).sum())(p)
    sums = z[0].sum(axis=-1)
    np.testing.assert_allclose(gradient[0], [sums[0], -sums[0], sums[1], -sums[1]], rtol=1e-5)
