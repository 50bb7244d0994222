"""Noise in thoughts: its size, its gradients, and the log-probability of thoughts as actions."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from latent_jax.models.inline_memory import Inline
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.policy_config import GROUP_REWARD, PolicyConfig
from latent_jax.tasks.thought_noise import GRADIENTS, N_SEEDS, NOISES, ThoughtNoise
from tests.small_reasoner import CONFIG, LAYOUT, THINKER, moved_variables, small_batch

TASK = LatentReasoning(THINKER, 0.3)
SEEDS = jnp.arange(4)


def thoughts(seed=0):
    return jax.random.normal(jax.random.key(seed), (4, 2, 3, 64)) * 2.0


def test_a_seed_gives_the_same_numbers_and_others_do_not():
    noise = ThoughtNoise("gaussian")
    drawn = noise.draw(SEEDS, 2, 3, 64)
    chex.assert_shape(drawn, (4, 2, 3, 64))
    chex.assert_trees_all_equal(drawn[1:3], noise.draw(SEEDS[1:3], 2, 3, 64))
    assert abs(float(jnp.mean(drawn[0] * drawn[1]))) < 0.2
    assert float(np.float32(N_SEEDS - 1)) == N_SEEDS - 1  # a field of floats holds every seed


def test_gaussian_noise_has_its_size_and_dropout_keeps_the_mean():
    made = jnp.full((2000, 1, 1, 64), 3.0)
    gaussian = ThoughtNoise("gaussian", 0.2)
    read = gaussian.disturb(made, gaussian.draw(jnp.arange(2000), 1, 1, 64))
    assert float(jnp.std(read)) == pytest.approx(0.6, rel=0.02)
    dropout = ThoughtNoise("dropout", 0.25)
    read = dropout.disturb(made, dropout.draw(jnp.arange(2000), 1, 1, 64))
    assert float(jnp.mean(read)) == pytest.approx(3.0, rel=0.02)
    assert float(jnp.mean(read == 0)) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("kind", "flows"), [*zip(NOISES, (1.0, 0.0, 0.0, 1.0), strict=True)])
def test_gradients_flow_where_they_should(kind, flows):
    noise = ThoughtNoise(kind, 0.1)
    drawn = noise.draw(SEEDS, 2, 3, 64)
    gradient = jax.grad(lambda made: noise.disturb(made, drawn).sum())(thoughts())
    assert float(gradient.mean()) == pytest.approx(flows, abs=0.05)
    if kind in ("through", "stop"):
        chex.assert_trees_all_equal(noise.disturb(thoughts(), drawn), thoughts())


def test_a_thought_is_as_likely_as_a_normal_distribution_says():
    noise = ThoughtNoise("gaussian", 0.3)
    trunks = Trunks(CONFIG, moved_variables(TASK)["params"])
    h_BSJD = jax.random.normal(jax.random.key(0), (4, 4, 2, CONFIG.model.d_model))
    mean = np.array(trunks.project(h_BSJD[:, :-1]))
    away = 0.1 * jax.random.normal(jax.random.key(1), mean.shape)
    v_BSJD = jnp.concatenate((h_BSJD[:, :1], mean + away), axis=1)
    found = noise.nats(trunks, h_BSJD, v_BSJD)
    deviation = 0.3 * np.sqrt((mean**2).mean(axis=-1, keepdims=True))
    density = stats.norm.logpdf(np.array(v_BSJD[:, 1:]), mean, deviation)
    constant = stats.norm.logpdf(0.0)  # of each number
    expected = -(density - constant).sum(axis=-1)
    chex.assert_shape(found, (4, 3, 2))
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-4, atol=1e-4)


def test_a_rewarded_gaussian_thought_draws_its_mean_to_it():
    noise = ThoughtNoise("gaussian", 0.3)
    trunks = Trunks(CONFIG, moved_variables(TASK)["params"])
    h_BSJD = jax.random.normal(jax.random.key(0), (1, 2, 1, CONFIG.model.d_model))
    mean = trunks.project(h_BSJD[:, :-1])
    away = 0.1 * jax.random.normal(jax.random.key(1), mean.shape)
    v_BSJD = jnp.concatenate((h_BSJD[:, :1], mean + away), axis=1)

    def nats(h_BSJD):
        return noise.nats(trunks, h_BSJD, v_BSJD).sum()

    def distance(h_BSJD):
        return float(jnp.square(trunks.project(h_BSJD[:, :-1]) - v_BSJD[:, 1:]).sum())

    moved = h_BSJD - 1e-2 * jax.grad(nats)(h_BSJD)
    assert distance(moved) < distance(h_BSJD)


def policy(kind):
    config = dataclasses.replace(CONFIG, gate=0.6 if kind == "hrpo" else 0.0)
    thinker = dataclasses.replace(THINKER, config=config, noise=ThoughtNoise(kind, 0.3))
    return Policy(dataclasses.replace(TASK, thinker=thinker), PolicyConfig(group=4))


def test_the_policy_trains_thoughts_by_their_kind():
    ones = np.ones((4, LAYOUT.length), np.float32)
    batch = small_batch() | {"advantage": ones, "reward": ones, "noise_seed": 7 * ones}
    batch[GROUP_REWARD] = ones

    def gradient(kind):
        def loss(variables):
            return task.loss(variables, batch, jax.random.key(0), jnp.int32(0), True)[0]

        task = policy(kind)
        thought = jax.jit(jax.grad(loss))(moved_variables(task))["params"]["thought"]
        if kind == "hrpo":
            for leaf in jax.tree.leaves(thought["gate"]):
                assert np.abs(leaf).max() > 0
        return np.array(thought["projection"]["up"]["kernel"])

    found = {kind: gradient(kind) for kind in GRADIENTS}
    assert not found["stop"].any() and not found["hrpo"].any()
    for kind in ("through", "gaussian", "dropout"):
        assert np.abs(found[kind]).max() > 0
    assert np.abs(found["through"] - found["gaussian"]).max() > 1e-4


def test_a_gate_and_its_gradient_need_each_other():
    gated = dataclasses.replace(CONFIG, gate=0.6)
    for words in ({"config": gated}, {"noise": ThoughtNoise("hrpo")}):
        with pytest.raises(ValueError, match="mixed with tokens by a gate"):
            dataclasses.replace(THINKER, **words)
    inline = Inline(step=5)
    with pytest.raises(ValueError, match=r"policy.gradient='hrpo' is of blocks side by side"):
        dataclasses.replace(THINKER, config=gated, noise=ThoughtNoise("hrpo"), inline=inline)
    with pytest.raises(ValueError, match=r"policy.gate=0.5 is of policy.gradient='hrpo'"):
        PolicyConfig(group=4, gate=0.5)
    with pytest.raises(ValueError, match="mixes thoughts with tokens, and disturbs none"):
        ThoughtNoise("hrpo").disturb(thoughts(), thoughts())


@pytest.mark.parametrize("changes", [{"slots": "pause"}, {"iterations": 2}])
def test_noise_without_thoughts_one_by_one_is_refused(changes):
    with pytest.raises(ValueError, match=r"policy.gradient='stop' is of thoughts"):
        dataclasses.replace(THINKER, noise=ThoughtNoise("stop"), **changes)
