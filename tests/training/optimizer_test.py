import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from latent_jax.training.config import OptimizerConfig, TrainingConfig
from latent_jax.training.optimizer import (
    decay_mask,
    frozen_mask,
    make_optimizer,
    make_schedule,
    merge_frozen,
    split_frozen,
)

PARAMS = {
    "position_embedding": {"embedding": jnp.ones((8, 4))},
    "stack": {
        "blocks": {
            "attention_norm": {"scale": jnp.ones((2, 4))},
            "up": {"kernel": jnp.ones((2, 4, 6)), "bias": jnp.ones((2, 6))},
        }
    },
    "start": jnp.ones(4),
}

DECLARED = {
    "position_embedding/embedding": False,
    "stack/blocks/attention_norm/scale": False,
    "stack/blocks/up/kernel": True,
    "stack/blocks/up/bias": False,
}


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("constant", 1.0, 1.0), ("cosine", 0.55, 0.1), ("rsqrt", (1 / 6) ** 0.5, (1 / 11) ** 0.5)],
)
def test_schedule_by_hand(schedule, middle, end):
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule=schedule)
    rate = make_schedule(config, 110)
    np.testing.assert_allclose(rate(0), 1 / 11, rtol=1e-6)
    np.testing.assert_allclose(rate(10), 1.0, rtol=1e-6)
    np.testing.assert_allclose(rate(60), middle, rtol=1e-5)
    np.testing.assert_allclose(rate(110), end, rtol=1e-5)
    assert all(rate(step) < rate(step + 1) for step in range(10))


def test_wsd_is_stable_and_then_falls_by_one_minus_sqrt():
    config = OptimizerConfig(
        learning_rate=1.0, warmup_steps=10, schedule="wsd", decay_fraction=0.2, final_fraction=0.1
    )
    rate = make_schedule(config, 100)
    np.testing.assert_allclose(rate(5), (1 + 5 * 10 / 10) / 11, rtol=1e-6)
    assert all(rate(step) == 1.0 for step in range(10, 81))
    # A quarter of the way 1 - sqrt has come half of the way down.
    np.testing.assert_allclose(rate(85), 0.1 + 0.9 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(rate(100), 0.1, rtol=1e-6)
    assert all(rate(step) > rate(step + 1) for step in range(80, 100))
    with pytest.raises(ValueError, match=r"warms up for 85 steps and decays for 20, which is more"):
        make_schedule(dataclasses.replace(config, warmup_steps=85), 100)
    with pytest.raises(ValueError, match=r"decay_fraction must be in \(0, 1\]; got 0"):
        OptimizerConfig(decay_fraction=0)


@pytest.mark.parametrize("schedule", ["cosine", "constant", "rsqrt", "wsd"])
def test_what_an_extension_means_to_the_rate(schedule):
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule=schedule)
    steps = jnp.arange(100)
    planned, longer = make_schedule(config, 60)(steps), make_schedule(config, 100)(steps)
    extended = make_schedule(config, 100, extension_steps=40)(steps)
    if schedule == "cosine":  # as it was planned, and then its last rate
        np.testing.assert_array_equal(extended[:60], planned[:60])
        np.testing.assert_allclose(extended[60:], 0.1, rtol=1e-6)
        assert np.any(extended != longer)
    else:
        np.testing.assert_array_equal(extended, longer)
        assert np.any(extended[:60] != planned[:60]) == (schedule == "wsd")


def test_a_cosine_that_ends_at_zero_has_no_rate_for_an_extension():
    config = OptimizerConfig(warmup_steps=10, final_fraction=0.0)
    make_schedule(config, 60)
    with pytest.raises(ValueError, match=r"its last rate, and with final_fraction=0 that is 0"):
        make_schedule(config, 100, extension_steps=40)


def test_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps=100 leaves none of the 100 steps"):
        make_schedule(OptimizerConfig(warmup_steps=100), 100)


def test_only_matrices_decay_though_a_scan_gives_biases_two_axes():
    mask = decay_mask(PARAMS, DECLARED)
    assert mask == {
        "position_embedding": {"embedding": False},
        "stack": {
            "blocks": {"attention_norm": {"scale": False}, "up": {"kernel": True, "bias": False}}
        },
        "start": False,
    }


def test_what_nobody_declares_is_decayed_by_its_axes_and_a_regex_takes_out_more():
    params = {"table": jnp.ones((2, 3)), "rate": jnp.ones(3), "kernel": jnp.ones((2, 3))}
    assert decay_mask(params, {}) == {"table": True, "rate": False, "kernel": True}
    mask = decay_mask(params, {"rate": True, "kernel": True}, (r"^tab",))
    assert mask == {"table": False, "rate": True, "kernel": True}


def test_weight_decay_moves_what_the_mask_allows_and_nothing_else():
    config = OptimizerConfig(
        learning_rate=0.5, warmup_steps=0, weight_decay=0.1, schedule="constant"
    )
    optimizer = make_optimizer(config, 10, declared=DECLARED)
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = optimizer.update(zeros, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["stack"]["blocks"]["up"]["kernel"], -0.05, rtol=1e-6)
    updates["stack"]["blocks"]["up"]["kernel"] = jnp.zeros(())
    assert all(not jnp.any(leaf) for leaf in jax.tree.leaves(updates))


def test_rates_are_factors_by_step_on_what_a_pattern_matches_alone():
    config = OptimizerConfig(learning_rate=0.5, warmup_steps=0, schedule="constant")
    params = {"encoder": {"kernel": jnp.ones((2, 2))}, "decoder": {"kernel": jnp.ones((2, 2))}}
    rates = {r"params/encoder/.*": lambda step: (step < 2) * 0.25}
    plain, scaled = make_optimizer(config, 10), make_optimizer(config, 10, rates=rates)
    states = [optimizer.init(params) for optimizer in (plain, scaled)]
    for factor in (0.25, 0.25, 0.0, 0.0):
        gradient = jax.tree.map(lambda x: 0.1 * x, params)
        usual, states[0] = plain.update(gradient, states[0], params)
        found, states[1] = scaled.update(gradient, states[1], params)
        chex.assert_trees_all_equal(found["decoder"], usual["decoder"])
        assert jnp.all(usual["encoder"]["kernel"] < 0)
        expected = factor * usual["encoder"]["kernel"]
        np.testing.assert_array_equal(found["encoder"]["kernel"], expected)
    wrong = make_optimizer(config, 10, rates={"params/encodr/.*": lambda step: 1.0})
    with pytest.raises(ValueError, match=r"pattern of rates 'params/encodr/\.\*' matches no param"):
        wrong.init(params)


def test_adamw_first_step_by_hand():
    config = OptimizerConfig(
        learning_rate=0.5, warmup_steps=0, weight_decay=0.0, clip_norm=1.0, schedule="constant"
    )
    optimizer = make_optimizer(config, 10)
    params = {"kernel": jnp.zeros((2, 2))}
    gradient = {"kernel": jnp.array([[3.0, -3.0], [0.0, 1e-7]])}
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    clipped = np.array([[3.0, -3.0], [0.0, 1e-7]]) / np.linalg.norm([3.0, 3.0, 1e-7])
    expected = (
        -0.5 * clipped / (np.abs(clipped) + 1e-8)
    )  # bias correction cancels at the first step
    np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_both_optimizers_fit_a_linear_map(name):
    target = jax.random.normal(jax.random.key(0), (128, 128))
    optimizer = make_optimizer(
        OptimizerConfig(name=name, learning_rate=0.05, warmup_steps=5, weight_decay=0.0), 200
    )
    params = {"kernel": jnp.zeros((128, 128))}
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state):
        gradient = {"kernel": params["kernel"] - target}
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for _ in range(200):
        params, opt_state = step(params, opt_state)
    assert jnp.mean((params["kernel"] - target) ** 2) < 0.02 * jnp.mean(target**2)


def test_adafactor_factors_its_second_moment():
    optimizer = make_optimizer(OptimizerConfig(name="adafactor", b1=0.0, warmup_steps=1), 10)
    params = {"kernel": jnp.zeros((256, 512))}
    size = sum(leaf.size for leaf in jax.tree.leaves(optimizer.init(params)))
    assert size < 2 * (256 + 512)


def test_split_and_merge_frozen():
    mask = frozen_mask(PARAMS, (r"params/stack/.*",))
    trained, frozen = split_frozen(PARAMS, mask)
    assert len(jax.tree.leaves(trained)) == 2 and len(jax.tree.leaves(frozen)) == 3
    merged = merge_frozen(trained, frozen)
    assert jax.tree.structure(merged) == jax.tree.structure(PARAMS)


def test_a_frozen_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"'params/stak/\.\*' matches no parameter path.*params/"):
        frozen_mask(PARAMS, (r"params/stak/.*",))
    with pytest.raises(ValueError, match=r"leaves no parameter to train"):
        frozen_mask(PARAMS, (r"params/.*",))


@pytest.mark.parametrize(
    "change", [{"strategy": "ddp"}, {"accumulation": 0}, {"model_parallel": 2}, {"keep_latest": 0}]
)
def test_training_config_refuses(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingConfig(**change)


@pytest.mark.parametrize(
    "change", [{"name": "sgd"}, {"schedule": "step"}, {"learning_rate": 0.0}, {"b1": 1.0}]
)
def test_optimizer_config_refuses(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        OptimizerConfig(**change)
