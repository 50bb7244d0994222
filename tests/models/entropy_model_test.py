"""The entropy model: entropies by hand, a GPT's parameters, windows, steps, no gradient."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.reach import AttentionReach
from latent_jax.models.entropy_model import EntropyModel, entropy, entropy_flops
from latent_jax.models.gpt import GPT, GPTConfig
from tests.small_hierarchy import T, entropy_reach, rows

REACH = entropy_reach(7)


@pytest.fixture(scope="module")
def variables():
    drawn = GPT(REACH.stack).init(jax.random.key(0), rows())
    return jax.tree.map(lambda leaf: 70.0 * leaf if leaf.ndim > 1 else leaf, drawn)


@functools.partial(jax.jit, static_argnames="reach")
def entropies(reach, variables, ids, documents=None):
    return EntropyModel(reach).apply(variables, ids, documents, method="entropies")


def test_an_entropy_is_in_nats():
    p = np.array([0.5, 0.25, 0.125, 0.125])
    by_hand = 0.5 * math.log(2) + 0.25 * math.log(4) + 0.25 * math.log(8)
    assert entropy(jnp.log(p)[None] + 3.0)[0] == pytest.approx(by_hand, abs=1e-6)
    assert entropy(jnp.zeros((1, 257)))[0] == pytest.approx(math.log(257), abs=1e-5)
    certain = entropy(jnp.array([[200.0, 0.0, -200.0]]))
    assert certain[0] == 0.0 and not np.isnan(certain).any()


def test_entropies_are_those_of_a_gpt_with_the_same_parameters(variables):
    reach = entropy_reach(T)
    logits = np.asarray(GPT(reach.stack).apply(variables, rows()), np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    expected = -(p * np.log(p)).sum(-1)
    found = entropies(reach, variables, rows())
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.dtype == jnp.float32 and float(jnp.std(found)) > 0.1 and float(found.max()) < 5.6


def test_a_window_forgets_and_nothing_later_is_read(variables):
    """Two layers would read further; here one reads seven positions."""
    before = entropies(REACH, variables, rows())
    other = entropies(REACH, variables, rows().at[:, 5].set(33))
    changed = np.abs(np.asarray(other - before)).max(axis=0) > 1e-6
    assert changed[5] and not changed[:5].any() and not changed[12:].any()
    assert changed[5:12].sum() > 4
    starts = rows() == 256
    apart = entropies(entropy_reach(T), variables, rows(), jnp.cumsum(starts, axis=1))
    second = int(np.flatnonzero(starts[0])[1])
    alone = entropies(entropy_reach(T), variables, rows()[:1, second:])
    np.testing.assert_allclose(apart[0, second:], alone[0], atol=1e-5)


def test_steps_are_rows_beyond_the_window_and_for_ragged_lanes(variables):
    model, ids, lengths = EntropyModel(REACH), rows(), jnp.array([3, 11])
    whole = entropies(REACH, variables, ids)
    padded = jnp.where(jnp.arange(T)[None] < lengths[:, None], ids, 0)[:, :12]
    first, cache = model.apply(
        variables, padded, lengths, REACH.empty_cache(2, T), method="prefill_entropies"
    )
    for lane, length in enumerate(lengths):
        np.testing.assert_allclose(first[lane, :length], whole[lane, :length], atol=1e-5)
    step = jax.jit(functools.partial(model.apply, method="step_entropies"))
    for n in range(12):
        at = lengths + n
        found, cache = step(variables, ids[jnp.arange(2), at], cache)
        np.testing.assert_allclose(found, whole[jnp.arange(2), at], atol=1e-5)
    assert cache.layers[0].k_BGSd.shape[2] == 7


def test_no_gradient_leaves_them(variables):
    gradient = jax.grad(lambda v: entropies(REACH, v, rows()).sum())(variables)
    chex.assert_trees_all_equal(gradient, jax.tree.map(jnp.zeros_like, gradient))


def test_flops_agree_with_xla():
    # Wide enough for the softmax over 257 ids, which XLA counts too, to weigh little.
    words = dict(positions="rotary", norm="rms", use_bias=False, n_layers=1, d_model=256, n_heads=2)
    reach = AttentionReach(GPTConfig(vocab_size=257, max_length=128, **words), 128)
    ids = jax.ShapeDtypeStruct((2, 128), jnp.int32)
    variables = jax.eval_shape(GPT(reach.stack).init, jax.random.key(0), ids)
    counted = entropies.lower(reach, variables, ids).cost_analysis()["flops"] / (2 * 128)
    assert entropy_flops(reach, 128) == pytest.approx(counted, rel=0.04)
