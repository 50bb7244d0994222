"""Language modeling: exact sums, the shift, and bits per byte against known answers."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.gpt import GPTConfig
from latent_jax.tasks.language_modeling import LanguageModeling, shift_right
from tests.latent_fixtures import T


@pytest.fixture(scope="module")
def task():
    config = GPTConfig(vocab_size=257, max_length=T, n_layers=1, d_model=16, n_heads=2)
    return LanguageModeling(config, separator_id=256, row_length=T, bytes_per_token=1.0)


def test_shift_right():
    ids = jnp.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(shift_right(ids, 9), [[9, 1, 2], [9, 4, 5]])


def test_a_uniform_model_costs_log_v(task, batch):
    """With a zero embedding table the tied head gives every id the same logit."""
    variables = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0), batch))
    metrics = task.summarize(jax.device_get(task.evaluate(variables, batch)))
    assert metrics["bits_per_byte"] == pytest.approx(math.log2(257), rel=1e-5)
    assert metrics["uniform_bits_per_byte"] == pytest.approx(math.log2(257), rel=1e-6)


def test_unigram_baseline_is_the_entropy_of_the_ids(task, batch):
    variables = task.init(jax.random.key(0), batch)
    metrics = task.summarize(jax.device_get(task.evaluate(variables, batch)))
    real = np.asarray(batch["ids"])[np.asarray(batch["weights"]) > 0]
    p = np.unique(real, return_counts=True)[1] / real.size
    entropy = -(p * np.log2(p)).sum() * real.size / int(batch["n_bytes"].sum())
    assert metrics["unigram_bits_per_byte"] == pytest.approx(entropy, rel=1e-5)


def test_every_id_is_predicted_from_those_before_it_only(task, batch):
    """Changing the last id of a row changes what that id costs, and nothing else."""
    variables = task.init(jax.random.key(0), batch)
    before = task._nats(variables, batch, train=False)
    after = task._nats(variables, {**batch, "ids": batch["ids"].at[0, -1].add(1)}, train=False)
    chex.assert_trees_all_equal(before[:, :-1], after[:, :-1])
    assert float(before[0, -1]) != float(after[0, -1])


def test_loss_is_the_mean_over_scored_ids(task, batch):
    variables = task.init(jax.random.key(0), batch)
    loss, (scores, state) = task.loss(variables, batch, jax.random.key(0), jnp.int32(0), False)
    assert state == {}
    assert float(scores["weight"]) == 3 * T + 21
    assert float(loss) == pytest.approx(float(scores["nats"] / scores["weight"]))


def test_bytes_per_token_enters_the_flops_only(task):
    flops = sum(task.model_config.forward_flops(T).values())
    assert task.flops_per_byte == flops
