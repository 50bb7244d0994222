"""Poolings: rows against steps, states behind prefixes, means by hand, the router's gradient."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.base import cut_at
from latent_jax.chunking.dynamic.chunker import ChunkerConfig, DynamicChunker
from latent_jax.chunking.dynamic.mean import running_sums
from latent_jax.chunking.dynamic.registry import poolings
from latent_jax.chunking.dynamic.row import Row

T, D = 11, 4
BOUNDARIES = jnp.array([[1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0], [1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]], bool)
P = jnp.where(BOUNDARIES, 0.8, 0.3)
X = jax.random.normal(jax.random.key(0), (2, T, D))


@functools.cache
def made(kind):
    module = poolings()[kind](width=D, rate=5.0)
    cut = cut_at(BOUNDARIES, 8)
    variables = jax.jit(module.init)(jax.random.key(1), X, P, cut)
    return module, variables, cut


@pytest.mark.parametrize("kind", poolings())
def test_steps_pool_as_rows_and_go_on_behind_a_prefix(kind):
    module, variables, cut = made(kind)
    z = jax.jit(module.apply)(variables, X, P, cut)
    assert z.shape == (2, 8, D) and (z[~cut.mask_BK] == 0).all()
    step = jax.jit(functools.partial(module.apply, method="step"))
    state = module.empty(2, D, "float32")
    for t in range(T):
        found, state = step(variables, X[:, t], BOUNDARIES[:, t], state)
        for row in np.flatnonzero(BOUNDARIES[:, t]):
            expected = z[row, cut.chunk_of_BT[row, t]]
            np.testing.assert_allclose(found[row], expected, atol=1e-6)
        lengths = jnp.full(2, t + 1)
        there = module.apply(variables, X, cut, lengths, method="state")
        chex.assert_trees_all_close(there, state, atol=1e-6)


@pytest.mark.parametrize("kind", poolings())
def test_a_chunk_reads_its_own_positions_only(kind):
    module, variables, cut = made(kind)
    reads = jax.jit(jax.jacobian(lambda x: module.apply(variables, x, P, cut)))(X)
    reads_BKT = np.asarray(jnp.abs(reads).max(axis=(2, 5))[jnp.arange(2), :, jnp.arange(2)]) > 0
    for row in range(2):
        ends = np.flatnonzero(BOUNDARIES[row])
        for k, end in enumerate(ends):
            start = ends[k - 1] + 1 if k else 0
            assert not reads_BKT[row, k, :start].any() and not reads_BKT[row, k, end + 1 :].any()
            assert reads_BKT[row, k, end]
            assert reads_BKT[row, k, start : end + 1].all() or kind == "pick"
        assert not reads_BKT[row, len(ends) :].any()


@pytest.mark.parametrize("kind", poolings())
def test_the_first_chunk_of_a_document_is_its_separator_alone(kind):
    module, variables, _ = made(kind)
    starts = jnp.zeros((2, T), bool).at[:, 0].set(True).at[0, 8].set(True).at[1, 7].set(True)
    apply = jax.jit(module.apply)
    z = apply(variables, X, P, cut_at(BOUNDARIES, 8, starts))
    plain = apply(variables, X, P, cut_at(BOUNDARIES, 8))
    at = jnp.array([[8], [7]])
    alone = cut_at(jnp.ones((2, 1), bool), 1)
    expected = apply(variables, jnp.take_along_axis(X, at[..., None], 1), P[:, :1], alone)
    for row, chunk in ((0, 3), (1, 2)):
        np.testing.assert_allclose(z[row, chunk], expected[row, 0], atol=1e-6)
        assert kind == "pick" or float(jnp.abs(plain[row, chunk] - z[row, chunk]).max()) > 1e-3
        np.testing.assert_allclose(z[row, :chunk], plain[row, :chunk], atol=1e-6)


@pytest.mark.parametrize("kind", poolings())
def test_steps_of_a_chunker_go_on_in_another_document_as_rows_do(kind):
    config = ChunkerConfig(kind="stride", width=D, rate=3.0, slack=9.0, pooling=kind)
    module, starts = (
        DynamicChunker(config),
        jnp.zeros((2, T), bool).at[:, jnp.array([0, 5])].set(True),
    )
    ids = jnp.where(starts, 256, 65)
    row = Row(ids, starts, jnp.ones((2, T), bool), None, jnp.float32(2 * T))
    variables = jax.jit(module.init)(jax.random.key(1), X, row)
    chunks, cut, _, _ = jax.jit(module.apply)(variables, X, row)
    step = jax.jit(lambda *inputs: module.apply(variables, *inputs, method="step"))
    last = config.empty_last(2, "float32")
    for t in range(T):
        _, z, last = step(X[:, t], ids[:, t], starts[:, t], last)
        if cut.is_first_BT[0, t]:
            expected = chunks.z_BKD[:, cut.chunk_of_BT[0, t]]
            np.testing.assert_allclose(z, expected, atol=1e-5)


def test_the_linear_pooling_maps_the_last_n_behind_zeros():
    module, cut = poolings()["linear"](width=D, rate=3.0), cut_at(BOUNDARIES, 8)
    kernel = jax.random.normal(jax.random.key(3), (3 * D, D))
    bias = jnp.arange(D, dtype=jnp.float32)
    z = module.apply({"params": {"map": {"kernel": kernel, "bias": bias}}}, X, None, cut)
    zero = np.zeros(D)
    for row, chunk, joined in (
        (0, 0, [zero, zero, X[0, 0]]),  # Hourglass's first chunk, of a row shifted by 2
        (0, 1, X[0, 1:4]),
        (0, 2, [zero, zero, X[0, 4]]),
        (0, 3, X[0, 6:9]),  # of four positions
        (1, 1, [zero, X[1, 1], X[1, 2]]),
    ):
        expected = np.concatenate(joined) @ np.asarray(kernel) + bias
        np.testing.assert_allclose(z[row, chunk], expected, atol=1e-5)
    assert module.flops_per_chunk(D) == 2 * 3 * D * D


def test_means_are_those_of_positions_up_to_the_boundary():
    module, variables, cut = made("mean")
    z = module.apply(variables, X, P, cut)
    np.testing.assert_allclose(z[0, 1], X[0, 1:4].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(z[0, 2], X[0, 4], atol=1e-6)
    np.testing.assert_allclose(z[1, 0], X[1, 0], atol=1e-6)
    np.testing.assert_allclose(z[1, 2], X[1, 3:8].mean(axis=0), atol=1e-6)
    ones = running_sums(jnp.ones((1, T, 1)), cut.begins_BT[:1])[0, :, 0]
    np.testing.assert_array_equal(ones, [1, 1, 2, 3, 1, 1, 2, 3, 4, 1, 2])


def test_the_mean_tells_the_router_what_another_boundary_would_do():
    """A boundary at s moves each later position of its chunk out of it: the weight loses 1."""
    module, variables, cut = made("mean")
    g = jax.grad(lambda p: module.apply(variables, X, p, cut)[0, 3].sum())(P)
    chunk, mean = X[0, 5:9], X[0, 5:9].mean(axis=0)
    # d mean / d w_t = (x_t - mean) / n, and a probability at s raises the weights behind s.
    at_T = ((chunk - mean[None]) / 4).sum(axis=-1)
    for s, expected in ((4, at_T.sum()), (5, at_T[1:].sum()), (6, at_T[2:].sum()), (8, 0.0)):
        assert g[0, s] == pytest.approx(float(expected), abs=1e-6)
    assert float(jnp.abs(g[0, 5])) > 1e-3 and not g[1].any()
