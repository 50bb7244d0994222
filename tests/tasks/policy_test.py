"""The loss of the second phase: several updates of a roll-out, and the divergence from a start."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation.rollout import rollout_flops
from latent_jax.tasks.actions import act_again
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.policy_config import GROUP_REWARD, OLD_NATS, REFERENCE_NATS, PolicyConfig
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thought_noise import ThoughtNoise
from latent_jax.tasks.thought_slots import Curriculum
from tests.small_reasoner import (
    CONFIG,
    LAYOUT,
    THINKER,
    forward_flops,
    moved_variables,
    small_batch,
)

THINKER = dataclasses.replace(THINKER, ends=True)
TASK = LatentReasoning(THINKER, 0.3, end_weight=1.0)
ADVANTAGE = np.array([1.5, -0.5, 0.0, -1.0], np.float32)
END = THINKER.separator_id
TWICE = PolicyConfig(group=4, updates=2)


def solutions(**fields):
    """Return four problems as if they had been written, with arrays [4, 2, L] as their fields."""
    ones = np.ones((4, LAYOUT.length), np.float32)
    right = np.array([1, 0, 1, 0], np.float32)[:, None]
    given = {"advantage": ADVANTAGE[:, None] * ones, "reward": right * ones, "noise_seed": 7 * ones}
    given[GROUP_REWARD] = 0.5 * ones
    for names, nats in fields.items():
        given |= dict(zip({"old": OLD_NATS, "reference": REFERENCE_NATS}[names], nats, strict=True))
    return small_batch() | given


@jax.jit
def acted(params):
    return act_again(THINKER, params, solutions())[1]


@functools.cache
def first():
    """Return variables, and the actions of the solutions under them."""
    variables = moved_variables(TASK)
    return variables, jax.device_get(acted(variables["params"]))


@functools.cache
def moved():
    """Return variables of after some steps, and the actions of the same solutions under them."""
    leaves, tree = jax.tree.flatten(first()[0])
    keys = jax.random.split(jax.random.key(5), len(leaves))
    steps = [0.03 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    variables = jax.tree.unflatten(tree, [x + y for x, y in zip(leaves, steps, strict=True)])
    return variables, jax.device_get(acted(variables["params"]))


def sides(actions):
    """Return -log p of actions as two fields [4, L]."""
    return np.moveaxis(actions.nats_B2L, 1, 0)


@functools.cache
def graded(config):
    """Return the compiled loss with scores, and its gradient for the parameters."""

    def loss(params, others, batch):
        variables = {"params": params, **others}
        value, (scores, _) = Policy(TASK, config).loss(variables, batch, None, None, True)
        return value, scores

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def gradient(config, variables, batch):
    """Return the loss, scores, and the gradient of the parameters."""
    others = {name: tree for name, tree in variables.items() if name != "params"}
    (value, scores), found = graded(config)(variables["params"], others, batch)
    return float(value), jax.device_get(scores), found


def plain(objective):
    """Return the gradient of a function of the solutions' actions."""

    def loss(params):
        return objective(act_again(THINKER, params, solutions())[1]) / LAYOUT.text / 4

    return jax.jit(jax.grad(loss))


def test_a_micro_batch_may_hold_any_row_of_a_group():
    # Accumulation takes every A-th row: 4 micro-batches have one row of this group each.
    policy, variables = Policy(TASK, PolicyConfig(group=4)), first()[0]
    scored = jax.jit(lambda batch: policy.loss(variables, batch, None, None, True)[1][0])
    for reward, n_contrast in ((0.0, 0), (0.5, 1), (1.0, 0)):
        batch = {name: x[1:2] for name, x in solutions().items()}
        batch[GROUP_REWARD] = np.full_like(batch["reward"], reward)
        assert scored(batch)["n_contrast"] == n_contrast


def test_one_update_has_the_gradient_of_log_probabilities():
    variables, actions = first()
    value, scores, found = gradient(PolicyConfig(group=4), variables, solutions())
    nats_B = (actions.nats_B2L * actions.is_taken_B2L).sum(axis=(1, 2))
    np.testing.assert_allclose(value, (ADVANTAGE * nats_B).sum() / LAYOUT.text / 4, atol=1e-6)
    assert scores["n_contrast"] == 4 and scores["n_tokens_written"] == actions.is_text_BL.sum()
    assert scores["n_cut"] == 0

    def objective(actions):
        nats_B = jnp.sum(jnp.where(actions.is_taken_B2L, actions.nats_B2L, 0.0), axis=(1, 2))
        return jnp.sum(ADVANTAGE * nats_B)

    chex.assert_trees_all_close(found, plain(objective)(variables["params"]), rtol=1e-5, atol=1e-7)
    # The first of two updates is the same step: all ratios are 1.
    value, scores, first_of_two = gradient(TWICE, variables, solutions(old=sides(actions)))
    chex.assert_trees_all_close(first_of_two, found, rtol=1e-3, atol=1e-6)
    n_B = actions.is_taken_B2L.sum(axis=(1, 2))
    np.testing.assert_allclose(value, -(ADVANTAGE * n_B).sum() / LAYOUT.text / 4, rtol=1e-4)
    assert scores["n_clipped"] == 0 and scores["n_ratios"] == n_B.sum()


def test_a_second_update_is_clipped_where_ratios_have_left_their_bounds():
    (_, old), (variables, new) = first(), moved()
    config = dataclasses.replace(TWICE, clip_high=0.5)
    assert TWICE.upper == 0.2 and config.upper == 0.5
    batch = solutions(old=sides(old))
    value, scores, found = gradient(config, variables, batch)
    ratio = np.exp(old.nats_B2L - new.nats_B2L)
    advantage = ADVANTAGE[:, None, None]
    bounded = np.clip(ratio, 0.8, 1.5)
    gain = np.minimum(ratio * advantage, bounded * advantage)
    expected = -(gain * new.is_taken_B2L).sum() / LAYOUT.text / 4
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    is_out = (bounded * advantage < ratio * advantage) & new.is_taken_B2L
    assert 5 < is_out.sum() == scores["n_clipped"]
    # Actions out of bounds have no gradient, the others that of their ratio.
    inside = new.is_taken_B2L & ~is_out

    def objective(actions):
        ratio_B2L = jnp.exp(jnp.where(inside, old.nats_B2L - actions.nats_B2L, 0.0))
        return -jnp.sum(jnp.where(inside, ratio_B2L * advantage, 0.0))

    chex.assert_trees_all_close(found, plain(objective)(variables["params"]), rtol=1e-3, atol=1e-6)
    wide = dataclasses.replace(TWICE, clip=0.999, clip_high=100.0)
    _, scores, unclipped = gradient(wide, variables, batch)
    assert scores["n_clipped"] == 0
    away = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), found, unclipped)
    assert max(jax.tree.leaves(away)) > 1e-3


def test_a_solution_without_its_end_is_a_cut_one():
    batch = solutions()
    problems = Problems.of(batch, LAYOUT)
    assert np.array(problems.ends_with(END)).all()
    # The separator of the second row is no part of its solution any more: padding looks like it.
    segment = batch["segment"].copy()
    is_end = (batch["ids"][1] == END) & (segment[1] > 0)
    segment[1, is_end] = 0
    assert is_end[: LAYOUT.text].sum() == 1
    cut = Problems.of(batch | {"segment": segment}, LAYOUT)
    np.testing.assert_array_equal(cut.ends_with(END), [True, False, True, True])
    sums = dict.fromkeys(("reward", "n_contrast", "entropy", "n_opened"), 0.0)
    metrics = Policy(TASK).summarize(sums | {"weight": 4.0, "n_cut": 1.0, "n_tokens_written": 9.0})
    assert metrics["cut_share"] == 0.25


def test_the_divergence_is_that_from_the_reference_and_counts_by_its_weight():
    (start, old), (variables, new) = first(), moved()
    config = PolicyConfig(group=4, kl=0.3)
    batch = solutions(reference=sides(old))
    without, *_ = gradient(PolicyConfig(group=4), variables, solutions())
    value, scores, _ = gradient(config, variables | {"reference": start["params"]}, batch)
    log_r = (new.nats_B2L - old.nats_B2L)[new.is_taken_B2L]
    k3 = np.exp(log_r) - log_r - 1
    assert k3.min() >= 0 and scores["n_compared"] == k3.size
    np.testing.assert_allclose(scores["divergence"], k3.sum(), rtol=1e-4)
    np.testing.assert_allclose(value - without, 0.3 * k3.sum() / LAYOUT.text / 4, rtol=1e-3)
    # At the reference it is 0, and has no gradient.
    same = start | {"reference": start["params"]}
    quiet = solutions(reference=sides(old)) | {"advantage": np.zeros((4, LAYOUT.length), "f")}
    _, scores, found = gradient(config, same, quiet)
    assert abs(scores["divergence"]) < 1e-5
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(found)) < 1e-5


def test_the_reference_is_kept_beside_the_parameters_only_where_it_is_asked_for():
    key, batch = jax.random.key(0), small_batch()
    plain, kept = Policy(TASK), Policy(TASK, PolicyConfig(group=4, kl=0.1))
    assert [*plain.init(key, batch)] == ["params"] and not plain.copies
    drawn = kept.init(key, batch)
    chex.assert_trees_all_equal(drawn["reference"], drawn["params"])
    assert kept.copies == {"reference": "params"}
    collections = jax.eval_shape(
        lambda v: kept.loss(v, solutions(reference=sides(first()[1])), None, None, True)[1][1],
        drawn,
    )
    assert [*collections] == ["reference"]


def test_a_row_has_the_fields_that_are_asked_for():
    own = ["advantage", "reward", GROUP_REWARD, "noise_seed"]
    width = CONFIG.model.d_model
    for words, more in (
        ({}, []),
        ({"gradient": "gaussian"}, []),
        ({"updates": 3}, [*OLD_NATS]),
        ({"kl": 0.1}, [*REFERENCE_NATS]),
        (
            {"updates": 2, "kl": 0.1, "gradient": "gaussian"},
            [*OLD_NATS, *REFERENCE_NATS, "thoughts"],
        ),
    ):
        config = PolicyConfig(group=4, **words)
        assert [*config.fields(LAYOUT, width)] == own + more
        assert Policy(TASK, config).fields == (*TASK.fields, *own, *more)
    spec = config.fields(LAYOUT, width)["thoughts"]
    # 2 blocks of 3 thoughts of 16 numbers, over 46 positions.
    assert spec.shape == (3,) and LAYOUT.length * 3 >= 96


def test_the_ledger_shares_a_roll_out_among_its_updates():
    once = Policy(TASK, PolicyConfig(group=4), rollout_flops=600.0)
    both = Policy(TASK, PolicyConfig(group=4, updates=3, kl=0.1), rollout_flops=600.0)
    per_row = 0.3 * LAYOUT.length
    read = forward_flops(THINKER) / per_row
    assert once.component_flops["rollout"] == pytest.approx(600 / per_row)
    assert not {"old", "reference"} & once.component_flops.keys()
    for part, flops in {"rollout": 600 / per_row, "old": read, "reference": read}.items():
        assert both.component_flops[part] == pytest.approx(flops / 3)
    assert both.flops_per_byte == pytest.approx(sum(both.component_flops.values()))
    # An update has no oracle of ends, which the first phase pays for.
    update = LatentReasoning(THINKER, 0.3).train_flops_per_byte
    assert update < TASK.train_flops_per_byte
    more = both.train_flops_per_byte - update
    assert more == pytest.approx((600 / per_row + 2 * read) / 3)
    assert both.train_flops({"problems": 2}) == pytest.approx(
        2 * per_row * both.train_flops_per_byte
    )


def test_the_ledger_counts_what_draws_tokens_and_the_gate():
    plain = Policy(TASK, PolicyConfig(group=4))
    config = dataclasses.replace(CONFIG, gate=0.6)
    thinker = dataclasses.replace(THINKER, config=config, noise=ThoughtNoise("hrpo"))
    hrpo = PolicyConfig(group=4, gradient="hrpo")
    mixed = Policy(dataclasses.replace(TASK, thinker=thinker), hrpo)
    model, per_row = CONFIG.model, 0.3 * LAYOUT.length
    head = 2 * 3 * 2 * model.d_model * model.vocab_size  # two blocks of three slots
    gate = 2 * 4 * 2 * 2 * model.d_model**2  # two gates, behind start too
    for part, flops in (("head", head), ("projection", gate)):
        more = mixed.component_flops[part] - plain.component_flops[part]
        assert more * per_row == pytest.approx(flops)
    # A roll-out has three rounds of four places, and draws behind each.
    assert rollout_flops(thinker, 8) - rollout_flops(THINKER, 8) == pytest.approx(2 * head)


def test_reading_again_costs_what_the_ledger_says():
    model = dataclasses.replace(CONFIG.model, d_model=256, n_heads=4, scan_unroll=1)
    config = dataclasses.replace(CONFIG, model=model)
    # XLA counts the body of a loop once, and pauses are read without one.
    thinker = dataclasses.replace(THINKER, config=config, slots="pause", ends=False)
    task = LatentReasoning(thinker, 0.3)
    params = jax.eval_shape(lambda: task.init(jax.random.key(0), small_batch()))["params"]

    def read(params):
        return act_again(thinker, params, solutions())[1].nats_B2L

    counted = jax.jit(read).lower(params).cost_analysis()["flops"]
    policy = Policy(task, PolicyConfig(group=4, updates=2))
    ledger = 4 * 2 * policy.component_flops["old"] * 0.3 * LAYOUT.length
    np.testing.assert_allclose(counted, ledger, rtol=0.06)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"clip": 0.3}, r"policy.clip=0.3 clips ratios, .* set policy.updates to 2 or more"),
        ({"clip_high": 0.3}, r"policy.clip_high=0.3 clips ratios, .* or leave it at 0.0"),
        ({"updates": 0}, "policy.updates must be at least 1; got 0"),
        ({"updates": 2, "clip": 1.0}, r"policy.clip must be in \(0, 1\); got 1.0"),
        ({"kl": -0.1}, "policy.kl must be at least 0; got -0.1"),
    ],
)
def test_what_would_do_nothing_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        PolicyConfig(group=4, **words)


def test_a_price_of_slots_needs_slots():
    none = dataclasses.replace(TASK.thinker, slots="none", curriculum=Curriculum(0), ends=False)
    task = dataclasses.replace(TASK, thinker=none, end_weight=0.0)
    with pytest.raises(ValueError, match=r"policy.length_price=0.1 is a price of slots, and"):
        Policy(task, PolicyConfig(group=4, length_price=0.1))
    Policy(TASK, PolicyConfig(group=4, length_price=0.1))


def test_thoughts_have_no_part_in_the_divergence():
    thinker = dataclasses.replace(THINKER, noise=ThoughtNoise("gaussian", 0.3))
    policy = Policy(
        dataclasses.replace(TASK, thinker=thinker),
        PolicyConfig(group=4, kl=0.1, gradient="gaussian"),
    )
    _, old = first()
    actions = old._replace(nats_B2L=old.nats_B2L + 1.0)
    held = actions.is_taken_B2L.copy()
    held[:, 0, LAYOUT.blocks_end :] = True  # a thought in every slot
    batch = solutions(reference=sides(old))
    _, n_compared = policy._divergence(
        actions._replace(is_taken_B2L=jnp.array(held), nats_B2L=jnp.array(actions.nats_B2L)), batch
    )
    assert float(n_compared) == old.is_taken_B2L.sum() < held.sum()
