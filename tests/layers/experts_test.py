"""Experts against a loop over them; causality, padding, counts, FLOPs, and devices."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.experts import EXPERTS, Experts, carried, plan_of, sum_of_notes
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.reach import AttentionReach

B, T, D, E, K = 2, 12, 8, 3, 2
CONFIG = MiddleConfig(
    vocab_size=0,
    max_length=1,
    n_layers=2,
    d_model=D,
    n_heads=2,
    d_ff=10,
    norm="rms",
    activation="silu",
    gated=True,
    n_experts=E,
    n_chosen=K,
    expert_slack=1.0,
)
X = jax.random.normal(jax.random.key(0), (B, T, D))
MASK = jnp.arange(T)[None] < jnp.array([[T], [7]])


@functools.cache
def built(config=CONFIG):
    module = Experts(config)
    drawn = jax.jit(module.init)(jax.random.key(1), X)["params"]
    keys = iter(jax.random.split(jax.random.key(2), 20))
    louder = jax.tree.map(lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), drawn)
    return {"params": louder}


@functools.partial(jax.jit, static_argnames=("config", "drops"))
def apply(config, variables, x, mask=None, drops=True):
    out, state = Experts(config, drops).apply(variables, x, mask, mutable=[EXPERTS])
    return out, sum_of_notes(state)


def by_loop(config, variables, x, mask, n_places):
    """Return the result and the drops, position by position and choice by choice."""
    p = jax.tree.map(np.asarray, variables["params"])
    out, n_drops = np.zeros(x.shape), 0
    for row in range(len(x)):
        taken = [0] * config.n_experts
        for t in range(x.shape[1]):
            h = np.asarray(x[row, t], np.float64)
            scores = h @ p["router"]["kernel"]
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            for e in np.argsort(-weights)[: config.n_chosen] if mask[row, t] else ():
                if taken[e] == n_places:
                    n_drops += 1
                    continue
                taken[e] += 1
                up = h @ p["up"]["kernel"][e] + p["up"]["bias"][e]
                gate = h @ p["gate"]["kernel"][e] + p["gate"]["bias"][e]
                wide = gate / (1 + np.exp(-gate)) * up
                down = wide @ p["down"]["kernel"][e] + p["down"]["bias"][e]
                out[row, t] += weights[e] * down
    return out, n_drops


@pytest.mark.parametrize("drops", [True, False])
def test_experts_are_those_of_a_loop(drops):
    assert CONFIG.places(T) == 8 and CONFIG.expert_size == 5
    out, notes = apply(CONFIG, built(), X, MASK, drops)
    expected, n_drops = by_loop(CONFIG, built(), X, np.asarray(MASK), 8 if drops else T)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    assert notes.n_drops == n_drops and (n_drops > 0) == drops
    assert notes.n_choices == (T + 7) * K


def test_the_loss_is_one_where_experts_are_chosen_equally_often():
    variables = jax.tree.map(jnp.zeros_like, built())
    one = dataclasses.replace(CONFIG, n_chosen=E)
    variables["params"]["router"]["kernel"] = built()["params"]["router"]["kernel"]
    _, notes = apply(one, jax.tree.map(jnp.asarray, _of_shape(one, variables)), X)
    assert notes.balance == pytest.approx(1.0, rel=1e-5), "all are chosen by all"
    # By hand: shares of choices times mean probabilities, over real positions alone.
    _, notes = apply(CONFIG, built(), X, MASK)
    real = np.asarray(X)[np.asarray(MASK)]
    scores = real @ np.asarray(built()["params"]["router"]["kernel"])
    p = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    chosen = np.argsort(-p, axis=-1)[:, :K]
    share = np.bincount(chosen.ravel(), minlength=E) / chosen.size
    assert notes.balance == pytest.approx(E * float(share @ p.mean(axis=0)), rel=1e-5)


def _of_shape(config, variables):
    """Return variables of a config: experts of another width, whose numbers do not matter."""
    shapes = jax.eval_shape(Experts(config).init, jax.random.key(0), X)["params"]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    return {"params": {**zeros, "router": variables["params"]["router"]}}


def test_nothing_later_decides_who_finds_room():
    """With so little room that choices are dropped: other vectors later on, and the gradient."""
    tight = dataclasses.replace(CONFIG, n_chosen=1, expert_slack=1.0)
    variables = built(tight)
    out, notes = apply(tight, variables, X)
    assert notes.n_drops > 2
    for at in range(1, T):
        other, _ = apply(tight, variables, X.at[:, at:].set(-3 * X[:, at:] + 1))
        np.testing.assert_allclose(other[:, :at], out[:, :at], atol=1e-6)

    def score(x):
        return jnp.sum(jnp.sin(Experts(tight).apply(variables, x[None])[0]), axis=-1)

    reads = np.any(np.asarray(jax.jit(jax.jacobian(score))(X[0])) != 0, axis=-1)
    assert not reads[~np.eye(T, dtype=bool)].any() and reads.any()
    alone, _ = apply(tight, variables, X[:1])
    np.testing.assert_allclose(alone[0], out[0], atol=1e-6, err_msg="rows do not mix")


def test_padding_takes_no_place():
    out, _ = apply(CONFIG, built(), X, MASK)
    other, _ = apply(CONFIG, built(), jnp.where(MASK[..., None], X, 9.0), MASK)
    np.testing.assert_allclose(other[MASK], out[MASK], atol=1e-6)
    np.testing.assert_array_equal(out[~MASK], 0.0)


def test_carrying_has_the_gradient_of_its_matrix():
    experts = jnp.array([[[0, 1], [0, 2], [0, 1], [1, 2]]])
    plan = plan_of(experts, jnp.array([[True, True, True, False]]), 3, 2)
    np.testing.assert_array_equal(plan.is_kept_BN[0], [1, 1, 1, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(plan.is_taken_BS[0], [1, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(plan.choice_BS[0, :5], [0, 2, 1, 5, 3])
    x = jax.random.normal(jax.random.key(0), (1, 8, 3))
    y, back = jax.vjp(lambda x: carried(x, *plan[2:], *plan[:2]), x)
    matrix = np.asarray(
        jax.jacobian(lambda x: jnp.where(plan.is_taken_BS[..., None], x[:, plan.choice_BS[0]], 0))(
            x
        )
    )
    g = jax.random.normal(jax.random.key(1), y.shape)
    np.testing.assert_allclose(back(g)[0], np.einsum("asb,asbxyz->xyz", g, matrix), atol=1e-6)


def test_every_parameter_learns():
    def loss(params):
        out, state = Experts(CONFIG).apply({"params": params}, X, mutable=[EXPERTS])
        return jnp.sum(jnp.sin(out)) + sum_of_notes(state).balance

    gradient = jax.jit(jax.grad(loss))(built()["params"])
    chex.assert_tree_all_finite(gradient)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))


def test_steps_equal_whole_rows_in_a_stack():
    reach = AttentionReach(CONFIG)
    module = reach.module()
    variables = {"params": jax.jit(module.init)(jax.random.key(1), X)["params"]}
    prefill = jax.jit(functools.partial(module.apply, method="prefill"))
    step = jax.jit(functools.partial(module.apply, method="step"))
    empty = reach.empty_cache(B, 32)
    whole, _ = prefill(variables, X, jnp.array([T, T]), empty)
    _, cache = prefill(variables, X[:, :5], jnp.array([5, 5]), empty)
    for t in range(5, T):
        y, cache = step(variables, X[:, t], cache, jnp.array([True, True]))
        np.testing.assert_allclose(y, whole[:, t], atol=1e-5)


def test_flops_are_those_that_are_computed():
    wide = dict(d_model=128, d_ff=256, n_heads=2, use_bias=False, scan_unroll=2)
    config = dataclasses.replace(CONFIG, **wide, expert_slack=1.25, n_experts=4)
    module, x = AttentionReach(config).module(), jax.ShapeDtypeStruct((2, 64, 128), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    variables = {"params": variables["params"]}
    counted = jax.jit(module.apply).lower(variables, x).cost_analysis()["flops"] / (2 * 64)
    reach = AttentionReach(config)
    assert reach.forward_flops(64) == pytest.approx(counted, rel=0.05)
    # 40 of 64 positions have a place with each of four experts of half the width.
    places = 4 * 40 / 64
    assert config.stack_flops(64)["feed_forward"] == 2 * (2 * 128 * 4 + places * 2 * 3 * 128 * 128)
    assert reach.forward_flops(64, in_steps=True) > reach.forward_flops(64)
    dense = TransformerConfig.stack_flops(config, 64)["feed_forward"]
    assert config.expert_flops(2) == dense + 2 * 2 * 128 * 4


def test_rows_are_split_over_devices():
    mesh, variables = Mesh(np.array(jax.devices()[:2]), ("data",)), built()
    x = jax.device_put(X, NamedSharding(mesh, P("data")))
    lowered = jax.jit(lambda x: Experts(CONFIG).apply(variables, x)).lower(x).compile()
    text = lowered.as_text()
    assert not any(word in text for word in ("all-gather", "all-to-all", "all-reduce"))
    np.testing.assert_allclose(lowered(x), apply(CONFIG, built(), X)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(n_chosen=4), "n_chosen=4 .hierarchy.expert_choices. of n_experts=3: a position"),
        (dict(expert_slack=0.5), "expert_slack must be at least 1"),
        (dict(positions="nowhere"), "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **words)
