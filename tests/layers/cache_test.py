"""Attention one position at a time against attention over the row."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.attention import attend
from latent_jax.layers.cache import ages, attend_step, empty_cache
from latent_jax.platform import PLATFORMS

B, H, T, D = 3, 2, 11, 4


def _row():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (B, T, H, D)) for key in keys]


def _by_steps(q, k, v, length, position, bias=None):
    """Run all T steps with a ring of `length` slots; `position[t]` is the lanes' positions."""
    cache, out = empty_cache(B, H, length, D, "float32"), []
    for t in range(T):
        y, cache = attend_step(q[:, t], k[:, t], v[:, t], cache, position[t], bias)
        out.append(y)
    return jnp.stack(out, axis=1)


@pytest.mark.parametrize("with_bias", [False, True])
def test_steps_equal_the_row(with_bias):
    q, k, v = _row()
    by_age_HS = jax.random.normal(jax.random.key(1), (H, T)) if with_bias else None
    bias_HTS = None
    if with_bias:
        distance = np.maximum(np.arange(T)[:, None] - np.arange(T)[None], 0)
        bias_HTS = by_age_HS[:, distance]
    position = jnp.tile(jnp.arange(T)[:, None], (1, B))
    steps = _by_steps(q, k, v, T, position, by_age_HS)
    np.testing.assert_allclose(steps, attend(q, k, v, bias_HTS=bias_HTS, causal=True), atol=1e-5)


@pytest.mark.parametrize("n_groups", [1, 2])
def test_steps_of_grouped_heads_equal_the_row(n_groups):
    q = jax.random.normal(jax.random.key(1), (B, T, 4, D))
    k, v = jax.random.normal(jax.random.key(2), (2, B, T, n_groups, D))
    cache, out = empty_cache(B, n_groups, T, D, "float32"), []
    for t in range(T):
        y, cache = attend_step(q[:, t], k[:, t], v[:, t], cache, jnp.full(B, t))
        out.append(y)
    np.testing.assert_allclose(jnp.stack(out, axis=1), attend(q, k, v, causal=True), atol=1e-5)
    chex.assert_shape([cache.k_BGSd, cache.v_BGSd], (B, n_groups, T, D))


def test_a_short_ring_slides():
    """With S slots, position t sees the last S positions and nothing older."""
    q, k, v = _row()
    position = jnp.tile(jnp.arange(T)[:, None], (1, B))
    steps = _by_steps(q, k, v, 4, position)
    for t in (2, 3, 4, T - 1):
        seen = slice(max(0, t - 3), t + 1)
        expected = attend(q[:, t : t + 1], k[:, seen], v[:, seen])[:, 0]
        np.testing.assert_allclose(steps[:, t], expected, atol=1e-5)
    whole = _by_steps(q, k, v, T, position)
    assert float(jnp.abs(steps[:, -1] - whole[:, -1]).max()) > 1e-2


def test_a_lane_that_begins_anew_forgets():
    """Lanes begin anew at different steps; each then equals a lane that has just begun."""
    q, k, v = _row()
    starts = [0, 3, 7]
    position = jnp.stack([jnp.array([t - s if t >= s else t for s in starts]) for t in range(T)])
    steps = _by_steps(q, k, v, T, position)
    for lane, start in enumerate(starts):
        row = attend(
            q[lane : lane + 1, start:],
            k[lane : lane + 1, start:],
            v[lane : lane + 1, start:],
            causal=True,
        )
        np.testing.assert_allclose(steps[lane, start:], row[0], atol=1e-5)


def test_the_newest_slot_has_age_0():
    assert ages(jnp.array([0, 5]), 4).tolist() == [[0, 3, 2, 1], [1, 0, 3, 2]]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_lanes_write_to_slots_that_are_known_to_differ(platform):
    """Otherwise a GPU that must keep the order of sums writes one lane after the other."""

    def step(position_B):
        cache = empty_cache(B, H, T, D, "float32")
        x_BHd = jnp.ones((B, H, D))
        return attend_step(x_BHd, x_BHd, x_BHd, cache, position_B)

    traced = jax.jit(step).trace(jax.ShapeDtypeStruct((B,), jnp.int32))
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert program.count("unique_indices = true") == program.count('"stablehlo.scatter"') == 2
