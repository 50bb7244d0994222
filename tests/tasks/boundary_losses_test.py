"""What routers are taught: spikes, ends of pieces and cross-entropy by hand, and who learns."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.base import cut_at
from latent_jax.chunking.dynamic.row import Row
from latent_jax.models.entropy_model import entropy
from latent_jax.models.stage import Boundaries
from latent_jax.tasks.boundary_losses import (
    ends_read,
    spikes,
    taught_loss,
    taught_metrics,
    taught_sums,
)
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.training.optimizer import path_name
from tests.latent_fixtures import T
from tests.small_hierarchy import make_config


def test_a_spike_is_above_the_two_values_before_it():
    h = jnp.array([[5.0, 3.0, 4.0, 6.0, 6.0, 7.0, 2.0, 3.0, 9.0, 1.0]])
    starts = jnp.zeros(h.shape, bool).at[0, 0].set(True)
    #          -  3<5  4<5  6>4,3  6=6  7>6,6  -  3<7  9>3,2  -
    expected = [1, 0, 0, 1, 0, 1, 0, 0, 1, 0]
    np.testing.assert_array_equal(spikes(h, starts)[0].astype(int), expected)
    # With a document that starts at the seventh value, 3 is above all that is before it.
    starts = starts.at[0, 6].set(True)
    expected = [1, 0, 0, 1, 0, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(spikes(h, starts)[0].astype(int), expected)


def test_the_entropy_is_in_nats_and_that_of_the_prediction():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [1.0, 1e-30, 1e-30]]]))
    np.testing.assert_allclose(entropy(logits)[0], [1.5 * math.log(2), 0.0], atol=1e-6)


def test_a_position_reads_the_id_before_the_one_it_is_scored_on():
    ends = jnp.array([[False, True, False, True]])
    np.testing.assert_array_equal(ends_read(ends)[0], [True, False, True, False])


def test_sums_are_over_the_positions_where_the_router_decides():
    own = jnp.array([[0.9, 0.2, 0.6, 0.5, 0.7, 0.3]])
    starts = jnp.array([[1, 0, 0, 0, 1, 0]], bool)
    mask = jnp.array([[1, 1, 1, 1, 1, 0]], bool)
    targets = jnp.array([[1, 1, 1, 0, 0, 1]], bool)
    cut = cut_at(jnp.array([[1, 0, 1, 1, 1, 0]], bool), 8)
    row = Row(jnp.zeros(own.shape, jnp.int32), starts, mask, None, jnp.float32(5))
    # The threshold has moved what the loss must not read.
    found = Boundaries(jnp.zeros_like(own), cut, row, own)
    sums = taught_sums(targets, found)
    expected = -(math.log(0.2) + math.log(0.6) + math.log(0.5))
    assert float(sums["boundary_nats"]) == pytest.approx(expected, rel=1e-6)
    assert {name: float(x) for name, x in sums.items() if name != "boundary_nats"} == {
        "n_decided": 3,
        "n_targets": 2,
        "n_cut": 2,
        "n_hits": 1,
    }
    assert float(taught_loss(sums)) == pytest.approx(expected / 3, rel=1e-6)
    assert taught_metrics(sums) == pytest.approx(
        {
            "boundary_nats_per_token": expected / 3,
            "boundary_precision": 0.5,
            "boundary_recall": 0.5,
        }
    )
    # Descending the gradient raises the probability of what is a target, and lowers the others.
    g = jax.grad(lambda own: taught_loss(taught_sums(targets, found._replace(own_BT=own))))(own)
    np.testing.assert_allclose(g[0], [0, -1 / 0.2 / 3, -1 / 0.6 / 3, 1 / 0.5 / 3, 0, 0], rtol=1e-5)


@functools.cache
def task_of(kind, weight=-1.0):
    parts = dict(pooling="mean", way_back="repeat", residual="identity")
    config = make_config(kind, rate=3.0, slack=1.5, control_steps=5, **parts)
    return HierarchicalLanguageModeling(config, T, 1.0, boundary_weight=weight)


@functools.partial(jax.jit, static_argnames="task")
def gradient(task, variables, batch):
    def loss(params):
        return task.loss({**variables, "params": params}, batch, jax.random.key(0), 0, True)

    return jax.value_and_grad(loss, has_aux=True)(variables["params"])


def marked(batch):
    return {**batch, "boundaries": batch["ids"] == 32}


@pytest.mark.parametrize("kind", ["gumbel", "spikes", "taught"])
def test_every_parameter_learns_and_the_predictor_by_its_loss_alone(kind, batch):
    task, batch = task_of(kind), marked(batch)
    assert task.fields == (("ids", "boundaries") if kind == "taught" else ("ids",))
    variables = jax.jit(task.init)(jax.random.key(0), batch)
    (loss, (scores, state)), g = gradient(task, variables, batch)
    chex.assert_tree_all_finite(g)
    for path, leaf in jax.tree_util.tree_leaves_with_path(g):
        assert float(jnp.abs(leaf).max()) > 0, path_name(path)
    threshold = state["rate"]["stage"]["chunker"]["threshold"]["threshold"]
    assert float(threshold) != 0
    own = float(loss - scores["nats"] / scores["weight"])
    evaluated = jax.jit(task.evaluate)(variables, batch)
    metrics = task.summarize(jax.device_get(evaluated))
    (less, _), without = gradient(task_of(kind, 0.0), variables, batch)
    assert float(loss - less) == pytest.approx(own, rel=1e-4) and own > 0.01
    predictor = jax.tree.leaves(without["stage"]["chunker"]["router"])
    if kind == "gumbel":  # the mean feels where its chunks end
        assert all(float(jnp.abs(leaf).max()) > 0 for leaf in predictor)
        assert "boundary_precision" not in metrics
    else:
        assert all((leaf == 0).all() for leaf in predictor)
        assert own == pytest.approx(float(taught_loss(scores)), rel=1e-4)
        for name, value in scores.items():
            assert evaluated[name] == pytest.approx(float(value), rel=1e-4), name
        assert 0 < metrics["boundary_recall"] < 1 and metrics["boundary_nats_per_token"] > 0
    if kind == "taught":
        inner = marked(batch)["boundaries"][:, :-1] & (batch["ids"][:, :-1] != 256)
        assert scores["n_targets"] == inner.sum()
