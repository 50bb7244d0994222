"""Language modeling: exact sums, the shift, and bits per byte against known answers."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.tasks.language_modeling import LanguageModeling, shift_right
from latent_jax.tasks.losses import token_nats
from latent_jax.tasks.snippets import Snippets
from tests.latent_fixtures import T


@pytest.fixture(scope="module")
def task():
    config = GPTConfig(vocab_size=257, max_length=T, n_layers=1, d_model=16, n_heads=2)
    return LanguageModeling(config, separator_id=256, row_length=T, bytes_per_token=1.0)


@pytest.fixture(scope="module")
def variables(task, batch):
    return jax.jit(task.init)(jax.random.key(0), batch)


@functools.partial(jax.jit, static_argnames="task")
def evaluate(task, variables, batch):
    return task.evaluate(variables, batch)


@functools.partial(jax.jit, static_argnames="task")
def loss_of(task, variables, batch):
    return task.loss(variables, batch, jax.random.key(0), jnp.int32(0), False)


def test_shift_right():
    ids = jnp.array([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(shift_right(ids, 9), [[9, 1, 2], [9, 4, 5]])


def test_a_uniform_model_costs_log_v(task, variables, batch):
    """With a zero embedding table the tied head gives every id the same logit."""
    zeros = jax.tree.map(jnp.zeros_like, variables)
    metrics = task.summarize(jax.device_get(evaluate(task, zeros, batch)))
    assert metrics["bits_per_byte"] == pytest.approx(math.log2(257), rel=1e-5)
    # Of 256 ids: the separator, which the model also has to rule out, is none of the text's.
    assert metrics["uniform_bits_per_byte"] == pytest.approx(8.0, rel=1e-6)


def test_the_unigram_baseline_is_that_of_the_ids_of_text_and_needs_enough_of_them(
    task, variables, batch
):
    sums = jax.device_get(evaluate(task, variables, batch))
    assert "unigram_bits_per_byte" not in task.summarize(sums), "117 bytes"
    real = np.asarray(batch["ids"])[np.asarray(batch["weights"]) > 0]
    p = np.unique(real, return_counts=True)[1] / real.size
    entropy = -(p * np.log2(p)).sum()
    # A thousand times the text, and two documents that end: separators are counted and not paid.
    counts = 1000.0 * sums["token_counts"]
    counts[256] = 2.0
    more = {**sums, "token_counts": counts, "n_bytes": 1000 * sums["n_bytes"]}
    metrics = task.summarize(more)
    correction = (len(p) - 1) / (2 * math.log(2) * 1000 * real.size)
    assert metrics["unigram_bits_per_byte"] == pytest.approx(entropy + correction, rel=1e-6)
    assert metrics["uniform_bits_per_byte"] == pytest.approx(8.0)


@functools.partial(jax.jit, static_argnames="task")
def nats_of(task, variables, ids_BT):
    """Return -log p of every id, float32[B, T]."""
    inputs_BT = shift_right(ids_BT, task.separator_id)
    return token_nats(GPT(task.model_config).apply(variables, inputs_BT), ids_BT)


def test_every_id_is_predicted_from_those_before_it_only(task, variables, batch):
    """Changing the last id of a row changes what that id costs, and nothing else."""
    before = nats_of(task, variables, batch["ids"])
    after = nats_of(task, variables, batch["ids"].at[0, -1].add(1))
    chex.assert_trees_all_equal(before[:, :-1], after[:, :-1])
    assert float(before[0, -1]) != float(after[0, -1])


def test_loss_is_the_mean_over_scored_ids(task, variables, batch):
    loss, (scores, state) = loss_of(task, variables, batch)
    assert state == {}
    assert float(scores["weight"]) == 3 * T + 21
    assert float(loss) == pytest.approx(float(scores["nats"] / scores["weight"]))


def test_bytes_per_token_enters_the_flops_only(task):
    flops = sum(task.model_config.forward_flops(T).values())
    assert task.flops_per_byte == flops


def test_z_loss_is_paid_in_the_loss_and_in_no_score(task, variables, batch):
    plain, (scores, _) = loss_of(task, variables, batch)
    loss, (same_scores, _) = loss_of(dataclasses.replace(task, z_loss=0.1), variables, batch)
    chex.assert_trees_all_equal(scores, same_scores)
    # At the start every logit is near 0, so log Z is near log V.
    assert float(loss - plain) == pytest.approx(0.1 * math.log(257) ** 2, rel=1e-2)


def test_snippets_begin_without_context(task, variables, batch):
    """Cut rows cost what the same snippets cost as rows of their own; whole rows are untouched."""
    batch = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf])[:4], batch)
    cutting = dataclasses.replace(task, snippets=Snippets(every=2, length=T // 4))
    _, (scores, _) = loss_of(cutting, variables, batch)
    ids, weights = batch["ids"], batch["weights"]
    whole = jnp.sum(nats_of(task, variables, ids)[1::2] * weights[1::2])
    cut = nats_of(task, variables, ids[::2].reshape(-1, T // 4))
    cut *= weights[::2].reshape(-1, T // 4)
    np.testing.assert_allclose(scores["nats"], whole + jnp.sum(cut), rtol=1e-5)
    _, (uncut, _) = loss_of(task, variables, batch)
    assert abs(float(uncut["nats"] - scores["nats"])) > 1e-3
    sums = jax.device_get(evaluate(cutting, variables, batch))
    all_cut = nats_of(task, variables, ids.reshape(-1, T // 4)) * weights.reshape(-1, T // 4)
    np.testing.assert_allclose(sums["snippet_nats"], jnp.sum(all_cut), rtol=1e-5)
    metrics = cutting.summarize(sums)
    assert metrics["snippet_bits_per_byte"] != metrics["bits_per_byte"]


def test_every_row_may_be_cut(task, variables, batch):
    cutting = dataclasses.replace(task, snippets=Snippets(every=1, length=T // 2))
    _, (scores, _) = loss_of(cutting, variables, batch)
    sums = evaluate(cutting, variables, batch)
    np.testing.assert_allclose(scores["nats"], sums["snippet_nats"], rtol=1e-5)


def test_snippets_cost_the_flops_of_their_length(task):
    def flops(length):
        return sum(task.model_config.forward_flops(length).values())

    cutting = dataclasses.replace(task, snippets=Snippets(every=4, length=T // 4))
    assert cutting.flops_per_byte == pytest.approx(0.75 * flops(T) + 0.25 * flops(T // 4))


def test_snippets_that_do_not_fit_are_refused(task, variables, batch):
    with pytest.raises(ValueError, match=f"snippets.length={T - 1} does not divide row_length={T}"):
        dataclasses.replace(task, snippets=Snippets(every=2, length=T - 1))
    with pytest.raises(ValueError, match=r"snippets.every must be at least 0; got -1"):
        Snippets(every=-1)
    with pytest.raises(ValueError, match="z_loss must be at least 0"):
        dataclasses.replace(task, z_loss=-1.0)
    odd = dataclasses.replace(task, snippets=Snippets(every=3, length=T))
    batch = jax.tree.map(lambda leaf: leaf[:2], batch)
    with pytest.raises(ValueError, match="does not divide the 2 rows"):
        odd.loss(variables, batch, jax.random.key(0), jnp.int32(0), False)
