"""The task of hierarchical models: sums, rates of learning, thresholds, devices."""

import dataclasses
import functools
import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import make_optimizer, path_name
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.step import compile_train_step
from tests.latent_fixtures import T
from tests.small_hierarchy import make_config

CONFIG = make_config(stages=2, widths=(8, 16), width=16, rate=3.0, slack=1.5, control_steps=10)
TASK = HierarchicalLanguageModeling(CONFIG, row_length=T, bytes_per_token=1.0)


@pytest.fixture(scope="module")
def variables(batch):
    return jax.jit(TASK.init)(jax.random.key(0), batch)


@functools.partial(jax.jit, static_argnames=("task", "train"))
def loss_of(task, variables, batch, train=False):
    return task.loss(variables, batch, jax.random.key(0), jnp.int32(0), train)


@functools.partial(jax.jit, static_argnames="task")
def evaluate(task, variables, batch):
    return task.evaluate(variables, batch)


def test_the_loss_is_nats_per_id_and_the_ratio_losses(variables, batch):
    loss, (scores, state) = loss_of(TASK, variables, batch)
    plain, _ = loss_of(dataclasses.replace(TASK, boundary_weight=0.0), variables, batch)
    assert plain == pytest.approx(float(scores["nats"] / scores["weight"]), rel=1e-6)
    assert 0.03 < float(loss - plain) < 0.2, "two losses of about 1, weighted by 0.03"
    chex.assert_trees_all_equal(state["rate"], variables["rate"])
    evaluated = evaluate(TASK, variables, batch)
    for name, value in scores.items():
        assert evaluated[name] == pytest.approx(float(value), rel=1e-6), name
    metrics = TASK.summarize(jax.device_get(evaluated))
    n_bytes = float(batch["n_bytes"].sum())
    assert metrics["bits_per_byte"] == pytest.approx(
        float(scores["nats"]) / math.log(2) / n_bytes, rel=1e-6
    )
    assert metrics["bytes_per_chunk_2"] > metrics["bytes_per_chunk_1"] > 1
    assert metrics["bytes_per_chunk_1"] == pytest.approx(n_bytes / scores["n_chunks_1"])
    assert 0 <= metrics["overflow_share_1"] < 1 and metrics["uniform_bits_per_byte"] == 8.0


def test_training_moves_the_thresholds_by_what_was_cut(variables, batch):
    _, (scores, state) = loss_of(TASK, variables, batch, train=True)
    for stage, tree in ((1, state["rate"]["stage"]), (2, state["rate"]["stage"]["inner"])):
        wanted = (batch["n_bytes"].sum() if stage == 1 else scores["n_chunks_1"]) / 3.0
        cut = scores[f"n_chunks_{stage}"]
        moved = tree["chunker"]["threshold"]["threshold"]
        assert np.sign(moved) == np.sign(float(cut - wanted)) != 0
        assert tree["chunker"]["threshold"]["n_steps"] == 1


def test_without_control_there_is_no_state(batch):
    config = make_config(rate=3.0, slack=1.5)
    task = HierarchicalLanguageModeling(config, row_length=T, bytes_per_token=1.0)
    drawn = jax.jit(task.init)(jax.random.key(0), batch)
    assert set(drawn) == {"params"}
    assert loss_of(task, drawn, batch, train=True)[1][1] == {}


def test_every_parameter_learns(variables, batch):
    gradient = jax.jit(
        jax.grad(
            lambda params: TASK.loss(
                {**variables, "params": params}, batch, jax.random.key(0), jnp.int32(0), True
            )[0]
        )
    )(variables["params"])
    chex.assert_tree_all_finite(gradient)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert float(jnp.abs(leaf).max()) > 0, path_name(path)


def test_each_parameter_has_the_rate_of_its_stage(variables):
    task = dataclasses.replace(TASK, stage_rates="hnet")
    found = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"]):
        name = "params/" + path_name(path)
        (pattern,) = [pattern for pattern in task.rates if re.fullmatch(pattern, name)]
        depth = len(re.findall("inner/", name))
        found.setdefault(depth, set()).add(float(task.rates[pattern](jnp.int32(7))))
    # H-Net, section 2.3: widths 8, 16, 16, and three positions per chunk at both stages.
    expected = {0: math.sqrt(4.6 * 16 / 8), 1: math.sqrt(4.6 / 3), 2: math.sqrt(4.6 / 9)}
    for depth, factors in found.items():
        assert len(factors) == 1 and factors.pop() == pytest.approx(expected[depth])
    assert TASK.rates == {}


def test_stacks_are_those_of_attention():
    assert [n for _, n in TASK.stacks] == [8]
    task = dataclasses.replace(TASK, model_config=make_config(outer="attention", slack=1.5))
    assert [n for _, n in task.stacks] == [32, 32, 16]


def test_eight_devices_train_as_one(batch):
    rows = {name: np.concatenate([x, x[::-1]]) for name, x in jax.device_get(batch).items()}
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=1, epsilon=1e-3), 9)
    ends = []
    for strategy, n_devices in (("pmap", 1), ("pmap", 8), ("fsdp", 8)):
        mesh = make_mesh(strategy, 1, jax.devices()[:n_devices])
        init = initial_state(TASK, optimizer, rows, 0)
        state = create_state(init, abstract_state(init, mesh, strategy))
        step = compile_train_step(TASK, optimizer, state, rows, 1, mesh)
        losses = []
        for _ in range(2):
            state, metrics = step(state, jax.device_put(rows, batch_sharding(mesh)))
            losses.append(float(metrics.loss))
        ends.append((losses, jax.device_get(state.state), jax.device_get(metrics.scores)))
    for other in ends[1:]:
        chex.assert_trees_all_close(other, ends[0], rtol=1e-4)
    assert ends[0][0][1] < ends[0][0][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(stage_rates="hent"), "unknown stage_rates 'hent' .did you mean 'hnet'"),
        (dict(boundary_weight=-0.5), "boundary_weight must be at least 0"),
        (
            dict(model_config=make_config("spikes", stages=2)),
            "spikes is taught boundaries of bytes, which only the first stage has",
        ),
        (dict(head="auto"), "unknown head 'auto'"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TASK, **words)
