"""Drawn boundaries: sharpened by hand, drawn in training only, and read without sharpening."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.bernoulli import Bernoulli, sharpened
from latent_jax.chunking.dynamic.chunker import ChunkerConfig, DynamicChunker
from latent_jax.chunking.dynamic.ratio import ratio_loss
from latent_jax.chunking.dynamic.row import Row

B, T, D = 4, 64, 8
STARTS = jnp.zeros((B, T), bool).at[:, 0].set(True).at[:, 40].set(True)
ROW = Row(jnp.zeros((B, T), jnp.int32), STARTS, jnp.arange(T)[None] < 60, None, jnp.float32(B * T))
ROW = ROW._replace(mask_BT=jnp.broadcast_to(ROW.mask_BT, (B, T)))
X = jax.random.normal(jax.random.key(0), (B, T, D))


def chunked(kind, **words):
    module = DynamicChunker(ChunkerConfig(kind=kind, width=D, rate=2.0, slack=2.0))
    variables = module.init(jax.random.key(1), X, ROW)
    return jax.jit(lambda rngs: module.apply(variables, X, ROW, rngs=rngs, **words))


def test_probabilities_are_sharpened_as_by_hand():
    p = jnp.array([0.0, 0.1, 0.5, 0.6, 0.9, 1.0])
    # 0.9^(1/6) and 0.5^(1/6) and 0.6^(1/6), with a calculator.
    expected = [0.0, 1 - 0.982593, 1 - 0.890899, 0.918386, 0.982593, 1.0]
    np.testing.assert_allclose(sharpened(p), expected, atol=2e-6)
    np.testing.assert_allclose(sharpened(p, 1.0), p, atol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda p: sharpened(p).sum())(p), 0.0)


def test_draws_come_as_often_as_they_should():
    router = Bernoulli(width=D, rate=2.0)
    p = jnp.broadcast_to(jnp.array([0.3, 0.5, 0.7, 1.0, 0.0])[None], (20_000, 5))
    drawn, read = router.draw(p, jax.random.key(0))
    np.testing.assert_array_equal(read, p)
    np.testing.assert_allclose(drawn.mean(axis=0), sharpened(p[0]), atol=0.01)
    assert drawn[:, 3].all() and not drawn[:, 4].any()


def test_boundaries_are_drawn_in_training_only():
    _, cut, p, read = chunked("bernoulli")(None)
    _, plain, _, _ = chunked("cosine")(None)
    chex.assert_trees_all_equal(cut, plain)
    run = chunked("bernoulli", train=True)
    found = [run({"boundaries": jax.random.key(seed)}) for seed in (3, 3, 4)]
    chex.assert_trees_all_equal(found[0], found[1])
    firsts = [np.asarray(cut.is_first_BT) for _, cut, _, _ in found]
    assert (firsts[0] != firsts[2]).any() and (firsts[0] != np.asarray(plain.is_first_BT)).any()
    for (chunks, cut, p_BT, read_BT), is_first in zip(found, firsts, strict=True):
        np.testing.assert_array_equal(p_BT, p)
        np.testing.assert_array_equal(read_BT, read)
        assert is_first[STARTS].all() and not is_first[:, 60:].any()
        assert cut.n_dropped == 0
        # The share of boundaries is of those that were drawn, and the mean of p not sharpened.
        expected = ratio_loss(cut.is_first_BT, p, ROW.mask_BT, 2.0)
        assert chunks.aux_loss == pytest.approx(float(expected), rel=1e-6)


def test_the_router_learns_through_p():
    module = DynamicChunker(ChunkerConfig(kind="bernoulli", width=D, rate=3.0, slack=3.0))
    variables = module.init(jax.random.key(1), X, ROW)

    def loss(params):
        rngs = {"boundaries": jax.random.key(2)}
        return module.apply({"params": params}, X, ROW, train=True, rngs=rngs)[0].aux_loss

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    chex.assert_tree_all_finite(gradient)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))
