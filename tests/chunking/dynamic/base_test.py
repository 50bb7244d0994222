"""Cuts: where chunks begin, what has no room, and vectors there and back."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.base import capacity_of, chunks_of, cut_at, pick, repeat

BOUNDARIES = np.array(
    [
        [1, 0, 0, 1, 1, 0, 0, 1, 0, 0],
        [1, 1, 1, 1, 1, 1, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)
"""Four chunks; seven, of which four find room; one; a row of padding."""

cut = jax.jit(cut_at, static_argnums=1)


def test_chunks_begin_at_boundaries_and_what_has_no_room_stays_in_the_last_one():
    found = cut(BOUNDARIES, 4)
    np.testing.assert_array_equal(
        found.first_BK, [[0, 3, 4, 7], [0, 1, 2, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(found.mask_BK.sum(axis=1), [4, 4, 1, 0])
    np.testing.assert_array_equal(found.chunk_of_BT[0], [0, 0, 0, 1, 2, 2, 2, 3, 3, 3])
    np.testing.assert_array_equal(found.chunk_of_BT[1], [0, 1, 2, 3, 3, 3, 3, 3, 3, 3])
    np.testing.assert_array_equal(found.chunk_of_BT[2:], 0)
    assert found.n_dropped == 3
    expected = BOUNDARIES.copy()
    expected[1, 4:] = False
    np.testing.assert_array_equal(found.is_first_BT, expected)


def test_one_program_serves_whatever_the_boundaries_are():
    traced = []

    @jax.jit
    def program(is_boundary_BT):
        traced.append(1)
        found = cut_at(is_boundary_BT, 4)
        return pick(jnp.ones((4, 10, 3)), found), found

    for boundaries in (BOUNDARIES, ~BOUNDARIES, np.ones_like(BOUNDARIES)):
        program(boundaries)
    assert len(traced) == 1


@pytest.mark.parametrize("seed", range(3))
def test_random_rows_agree_with_a_loop(seed):
    random = np.random.default_rng(seed)
    boundaries = random.random((5, 17)) < 0.4
    boundaries[:, 0] = True
    found = cut(boundaries, 6)
    dropped = 0
    for row in range(5):
        first = np.flatnonzero(boundaries[row])
        dropped += max(len(first) - 6, 0)
        n = min(len(first), 6)
        np.testing.assert_array_equal(found.first_BK[row, :n], first[:n])
        for t in range(17):
            assert found.chunk_of_BT[row, t] == min((first <= t).sum(), 6) - 1
    assert found.n_dropped == dropped


def test_a_chunk_is_the_vector_of_its_first_position_and_its_gradient_goes_there():
    x = jax.random.normal(jax.random.key(0), (4, 10, 3))
    found = cut(BOUNDARIES, 4)
    z = jax.jit(pick)(x, found)
    np.testing.assert_array_equal(z[0], x[0, [0, 3, 4, 7]])
    np.testing.assert_array_equal(z[2:, 1:], 0.0)
    np.testing.assert_array_equal(z[3], 0.0)

    def plainly(x):
        z = jnp.take_along_axis(x, found.first_BK[..., None], axis=1)
        return jnp.where(found.mask_BK[..., None], z, 0)

    weights = jax.random.normal(jax.random.key(1), z.shape)
    gradients = [
        jax.jit(jax.grad(lambda x, f=f: jnp.sum(weights * jnp.sin(f(x)))))(x)
        for f in (lambda x: pick(x, found), plainly)
    ]
    chex.assert_trees_all_close(*gradients)
    assert float(jnp.abs(gradients[0][0, 3]).max()) > 0


def test_positions_take_the_vector_of_their_chunk():
    found = cut(BOUNDARIES, 4)
    z = jax.random.normal(jax.random.key(0), (4, 4, 3))
    up = repeat(z, found.chunk_of_BT)
    np.testing.assert_array_equal(up[0, 4:7], np.broadcast_to(z[0, 2], (3, 3)))


def test_the_contract_of_chunkers_is_kept():
    found = cut(BOUNDARIES, 4)
    chunks = chunks_of(jnp.zeros((4, 4, 3)), found, jnp.float32(1.5))
    assert chunks.stats == {"n_chunks": 9.0, "n_overflow": 3.0}
    chex.assert_shape([chunks.mask_BK, chunks.chunk_of_BT], [(4, 4), (4, 10)])
    assert chunks.aux_loss == 1.5 and chunks.chunk_of_BT.dtype == jnp.int32


@pytest.mark.parametrize(
    ("length", "rate", "slack", "capacity"),
    [
        (256, 4.0, 1.25, 80),
        (256, 6.0, 1.25, 56),
        (32, 4.0, 1.25, 16),
        (5, 4.0, 9.0, 5),
        (8, 4.0, 1.0, 8),
    ],
)
def test_the_capacity_is_a_multiple_of_a_tile(length, rate, slack, capacity):
    assert capacity_of(length, rate, slack) == capacity
