"""Integer operations against Python's own integers, at their bounds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.exact import bounds, operations

RANDOM = np.random.default_rng(0)


def test_roots_are_those_of_python():
    roots = (1, 2, 1023, 1024, 28378, 32767, 32768, 46339, 46340)
    edges = [r * r + d for r in roots for d in (-1, 0, 1)]
    x = np.array([*edges, 0, (1 << 30) - 1, (1 << 31) - 1, *RANDOM.integers(0, 1 << 31, 500)])
    found = operations.root(jnp.asarray(x, jnp.int32))
    assert found.tolist() == [math.isqrt(int(n)) for n in x]


@pytest.mark.parametrize("n_bits", [0, 1, 7, 30])
def test_shifts_round_to_the_nearest_and_halves_up(n_bits):
    limit = (1 << 31) - (1 << 29) - 1
    x = np.array([0, 1, -1, 63, 64, 65, -63, -64, -65, limit, -limit])
    found = operations.rounded_shift(jnp.asarray(x, jnp.int32), n_bits)
    assert found.tolist() == [(int(n) * 2 + (1 << n_bits)) // (2 << n_bits) for n in x]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [192, 768, 1024])
def test_products_are_exact_where_all_operands_are_largest(size, dtype):
    x = np.where(RANDOM.random((3, size)) < 0.9, 127, -127)
    w = np.where(RANDOM.random((size, 5)) < 0.9, 127, -127)
    found = operations.product(jnp.asarray(x), jnp.asarray(w), dtype)
    np.testing.assert_array_equal(found, x @ w)
    assert np.abs(x @ w).max() > 1 << 20


def test_a_product_one_bit_wider_would_not_be():
    """The bound is needed: a test of equality that could not fail says nothing."""
    x, w = np.full((1, 1024), 16_319), np.full((1024, 1), 127)
    rounded = jnp.asarray(x, jnp.bfloat16) @ jnp.asarray(w, jnp.bfloat16)
    assert int(rounded[0, 0]) != int((x @ w)[0, 0])
    with pytest.raises(ValueError, match=r"w: sums up to 33,419,288 are not below 16,777,216"):
        bounds.check_sum(np.full((2072, 1), 127), "w")
    with pytest.raises(ValueError, match="w: weights up to 128; at most 127"):
        bounds.check_sum(np.full((2, 1), 128), "w")
    assert bounds.check_sum(np.full((1040, 1), 127), "w").tolist() == [1040 * 127 * 127]


def test_numbers_of_15_bits_are_two_halves():
    x = np.arange(-bounds.INT15, bounds.INT15 + 1)
    high, low = operations.halves(jnp.asarray(x, jnp.int32))
    np.testing.assert_array_equal(128 * np.asarray(high, np.int64) + np.asarray(low), x)
    assert np.abs(high).max() <= 127 and np.abs(low).max() <= 64
    w = RANDOM.integers(-127, 128, (192, 7))
    x = RANDOM.integers(-bounds.INT15, bounds.INT15 + 1, (4, 192))
    found = operations.wide_product(jnp.asarray(x), jnp.asarray(w))
    np.testing.assert_array_equal(found, (x @ w + 128) >> 8)


@pytest.mark.parametrize("largest", [0, 1, 100, bounds.STREAM])
def test_directions_are_those_of_floats_and_stay_in_bounds(largest):
    x = RANDOM.integers(-largest, largest + 1, (50, 192))
    x[0] = largest
    x[1] = 0
    x[1, 7] = -largest
    found = np.asarray(operations.direction(jnp.asarray(x, jnp.int32)[None]))[0]
    norms = np.maximum(np.sqrt((x**2).sum(axis=1, keepdims=True)), 1e-9)
    assert np.abs(found).max() <= (1 << 14) + 16
    assert np.abs(found - x / norms * 2**14).max() < 20


def test_tables_of_powers_are_by_integers_and_near_the_exponential():
    for n_bits in (14, 20):
        table = bounds.powers(n_bits)
        exact = (2**n_bits - 1) * 2.0 ** (-np.arange(64) / 64)
        assert table[0] == 2**n_bits - 1 and np.abs(table - exact).max() <= 1
        below = np.array([0, 1, 63, 64, 65, 6400, 1 << 29])
        found = operations.power_of_two(jnp.asarray(below), jnp.asarray(table))
        assert found.tolist() == [table[b & 63] >> min(b >> 6, 31) for b in below.tolist()]


def test_means_are_exact_at_the_longest_context():
    v = np.where(RANDOM.random((1024, 3)) < 0.95, 127, -127)
    weights = np.full((1, 1024), (1 << 14) - 1)
    found = operations.mean(jnp.asarray(weights), jnp.asarray(v))
    total = int(weights.sum()) >> 5
    assert found[0].tolist() == [(int(n) + (total >> 1)) // total for n in (weights @ v)[0]]


def test_what_is_not_read_has_no_weight_and_the_largest_the_whole():
    scores = jnp.asarray([[5, 900, -(1 << 28), (1 << 28)]])
    table = jnp.asarray(bounds.powers(14))
    is_read = jnp.asarray([[True, True, True, False]])
    weights = operations.weights_of(scores, is_read, table)
    assert weights[0, 1] == (1 << 14) - 1 and weights[0, 3] == 0 and weights[0, 2] == 0
    assert 0 < weights[0, 0] < 2


def test_hidden_numbers_of_a_position_share_a_shift():
    gate = jnp.asarray([[[2047, 5, 0]], [[3, 4, 1]]])
    up = jnp.asarray([[[-2047, 100, 7]], [[20, -31, 2]]])
    n_bits = operations.gate_shift(gate, up)
    assert n_bits[:, 0, 0].tolist() == [15, 0]
    found = operations.gated(gate, up, n_bits)
    assert found[:, 0].tolist() == [[-127, 0, 0], [60, -124, 2]]


def test_everything_is_int32():
    x = jnp.ones((1, 2, 8), jnp.int32)
    traced = jax.make_jaxpr(lambda x: operations.norm(x, x[0, 0], 18, 127))(x)
    assert {str(v.aval.dtype) for e in traced.jaxpr.eqns for v in e.outvars} <= {"int32", "bool"}
