"""The joint objective: its parts, where its gradients go, and what is frozen."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import latent_lm
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.methods import tasks
from latent_jax.tasks.beta_schedule import BetaSchedule
from latent_jax.tasks.latent_language import LatentLanguage
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.task_optimizer import optimizer_of
from tests.latent_fixtures import CODES, C, T, make_batch, make_config

ENCODER = ("encoder", "compressor")


def make_task(**words):
    config_words = {k: words.pop(k) for k in ("quantizer", "codes", "kind") if k in words}
    return LatentLanguage(make_config(**config_words), row_length=T, **words)


@functools.cache
def compiled(task, method):
    """A method of a task, compiled once for all tests; compiling is what these tests cost."""
    return jax.jit(getattr(task, method), static_argnames=("train",) if method == "loss" else ())


def run_loss(task, variables, batch, *, seed=1, step=1, train):
    return compiled(task, "loss")(
        variables, batch, jax.random.key(seed), jnp.int32(step), train=train
    )


def evaluate(task, variables, batch):
    return compiled(task, "evaluate")(variables, batch)


def trained_variables(task, batch):
    """Variables after the first training step has filled the codebook."""
    variables = compiled(task, "init")(jax.random.key(0), batch)
    _, (_, state) = run_loss(task, variables, batch, step=0, train=True)
    return {**variables, **state}


@functools.cache
def language_model_gradient(lm_gradient):
    """Gradient of beta x LM loss alone: the difference between two betas."""
    task, batch = make_task(lm_gradient=lm_gradient), make_batch()
    variables = trained_variables(make_task(), batch)

    # With a linear schedule beta is the step: 0 at step 0, 1 at step 1, in one compiled function.
    task = dataclasses.replace(task, beta=BetaSchedule(1.0, "linear", warmup_steps=1))

    @jax.jit
    @jax.grad
    def gradient(params, step):
        return task.loss(
            {**variables, "params": params}, batch, jax.random.key(2), step, train=False
        )[0]

    without, with_lm = (gradient(variables["params"], jnp.int32(step)) for step in (0, 1))
    return jax.tree.map(lambda a, b: a - b, with_lm, without)


def norm(tree):
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))


def encoder_norm(gradient):
    return norm([gradient["autoencoder"][part] for part in ENCODER])


def test_from_a_step_on_the_codes_of_a_text_stay_as_they_are(batch):
    task = make_task(freeze_step=3, kind="ssm")
    optimizer = optimizer_of(task, batch, OptimizerConfig(warmup_steps=0, weight_decay=0.1), 6)

    @jax.jit
    def train(variables, opt_state, step):
        collections = dict(variables)
        params = collections.pop("params")

        def loss(params):
            key = jax.random.fold_in(jax.random.key(5), step)
            return task.loss({"params": params, **collections}, batch, key, step, True)

        gradient, (_, state) = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return {"params": optax.apply_updates(params, updates), **state}, opt_state

    def parts(variables):
        autoencoder = variables["params"]["autoencoder"]
        coded = {k: v for k, v in autoencoder.items() if k in (*ENCODER, "quantizer")}
        decoded = {k: v for k, v in autoencoder.items() if k not in coded}
        others = {k: v for k, v in variables["params"].items() if k != "autoencoder"}
        return {**coded, "codebook": variables["codebook"]}, {**decoded, **others}

    variables = compiled(task, "init")(jax.random.key(0), batch)
    opt_state = optimizer.init(variables["params"])
    for step in range(6):
        before = parts(variables)
        variables, opt_state = train(variables, opt_state, jnp.int32(step))
        (codes, rest), (codes_before, rest_before) = parts(variables), before
        changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), codes, codes_before)
        if step < 3:
            assert all(any(jax.tree.leaves(part)) for part in changed.values()), step
        else:
            assert not any(jax.tree.leaves(changed)), step
        moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), rest, rest_before)
        assert all(any(jax.tree.leaves(part)) for part in moved.values()), step


def test_the_share_of_a_run_after_which_codes_stay_is_made_a_step():
    config = latent_lm.get_config("size=nano,codes=16")
    config.budget.update(bytes=0.0, steps=300.0)
    vocabulary = assumed_vocabulary(config, 1.0)
    assert tasks.make_task(config, vocabulary).freeze_step == 0
    config.latent.freeze_after = 0.6
    task = tasks.make_task(config, vocabulary)
    assert task.freeze_step == 180 and len(task.rates) == 1
    assert list(task.milestones) == [180] and "encoder and codebook stay" in task.milestones[180]
    frozen = dataclasses.replace(task, freeze=("encoder",))
    assert frozen.rates == frozen.milestones == {}


def test_the_code_length_is_the_sum_of_its_parts(batch):
    task = make_task()
    scores = evaluate(task, trained_variables(task, batch), batch)
    metrics = task.summarize(jax.device_get(scores))
    n_bytes = int(batch["n_bytes"].sum())
    assert int(scores["n_bytes"]) == n_bytes == 3 * T + 21
    assert float(scores["n_latents"]) == 3 * T // C + math.ceil(21 / C)
    nats = float(scores["reconstruction_nats"] + scores["language_model_nats"])
    assert metrics["bits_per_byte"] == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-6)
    assert metrics["bits_per_byte"] == pytest.approx(
        metrics["reconstruction_bits_per_byte"] + metrics["language_model_bits_per_byte"]
    )
    uniform = float(scores["n_latents"]) * math.log2(CODES) / n_bytes
    assert metrics["uniform_bits_per_byte"] == pytest.approx(uniform)
    assert "unigram_bits_per_byte" not in metrics, "16 codes need 541 bytes"
    assert 0 <= metrics["reconstruction_accuracy"] <= 1
    assert metrics["language_model_choice_nats_per_byte"] > 0


def test_the_language_models_gradient_goes_as_far_as_it_is_told():
    norms = {
        word: encoder_norm(language_model_gradient(word))
        for word in ("none", "input", "input_and_target")
    }
    assert norms["none"] == 0.0
    assert norms["input"] > 0.0
    assert abs(norms["input_and_target"] - norms["input"]) > 1e-3 * norms["input"]


def test_the_target_gradient_changes_no_value(batch):
    tasks = [make_task(lm_gradient=word) for word in ("input", "input_and_target")]
    variables = trained_variables(tasks[0], batch)
    losses = [run_loss(t, variables, batch, train=False)[0] for t in tasks]
    chex.assert_trees_all_close(losses[0], losses[1], rtol=1e-6)


def test_the_language_model_never_moves_the_decoder():
    gradient = language_model_gradient("input")
    assert norm([gradient["autoencoder"][p] for p in ("decompressor", "decoder", "byte_head")]) == 0
    assert norm(gradient["language_model"]) > 0


def test_padding_has_no_influence(batch):
    task = make_task()
    variables = trained_variables(task, batch)
    scores = evaluate(task, variables, batch)
    other = {**batch, "ids": batch["ids"].at[-1, 22:].set(7)}
    changed = evaluate(task, variables, other)
    chex.assert_trees_all_close(scores, changed, rtol=1e-5)
    real = {**batch, "ids": batch["ids"].at[-1, 20].set(7)}
    assert float(evaluate(task, variables, real)["reconstruction_nats"]) != pytest.approx(
        float(scores["reconstruction_nats"]), rel=1e-6
    )


def test_two_halves_score_as_the_whole(batch):
    task = make_task()
    variables = trained_variables(task, batch)
    whole = evaluate(task, variables, batch)
    first, second = (jax.tree.map(lambda x: x[:2], batch), jax.tree.map(lambda x: x[2:], batch))
    halves = [evaluate(task, variables, half) for half in (first, second)]
    chex.assert_trees_all_close(whole, jax.tree.map(jnp.add, *halves), rtol=1e-5)


def test_a_frozen_encoder_keeps_its_codebook(batch):
    free, frozen = make_task(), make_task(freeze=("encoder",))
    variables = trained_variables(free, batch)
    states = [run_loss(task, variables, batch, train=True)[1][1] for task in (free, frozen)]
    before = {name: variables[name] for name in states[1]}
    chex.assert_trees_all_equal(states[1], before)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(states[0], before)
    assert any("encoder" in pattern for pattern in frozen.frozen)
    assert free.frozen == ()


def test_every_frozen_path_names_parameters(batch):
    import re

    task = make_task(freeze=("encoder", "decoder", "language_model"))
    params = jax.eval_shape(task.init, jax.random.key(0), batch)["params"]
    paths = [
        "params/" + "/".join(key.key for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    for pattern in task.frozen:
        assert any(re.fullmatch(pattern, path) for path in paths), pattern
    # Together the three parts are the whole model.
    assert all(any(re.fullmatch(p, path) for p in task.frozen) for path in paths)


def test_beta_schedule():
    warm = BetaSchedule(2.0, "linear", warmup_steps=4)
    values = [float(warm(jnp.int32(step))) for step in (0, 1, 4, 9)]
    np.testing.assert_allclose(values, [0.0, 0.5, 2.0, 2.0])
    assert float(BetaSchedule(2.0)(jnp.int32(0))) == 2.0


def test_continuous_latents_report_no_code_length(batch):
    task = make_task(quantizer="none", codes=0)
    variables = trained_variables(task, batch)
    metrics = task.summarize(jax.device_get(evaluate(task, variables, batch)))
    assert "reconstruction_bits_per_byte" in metrics
    assert "bits_per_byte" not in metrics


def test_dropout_is_on_in_training_only(batch):
    task = LatentLanguage(make_config(dropout=0.5), row_length=T)
    variables = trained_variables(task, batch)

    def loss(seed, train):
        return float(run_loss(task, variables, batch, seed=seed, train=train)[0])

    assert loss(0, True) != loss(1, True)
    assert loss(0, False) == loss(1, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(lm_gradient="both"), "unknown lm_gradient 'both'"),
        (dict(freeze=("head",)), "unknown part to freeze"),
    ],
)
def test_unknown_words_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        make_task(**words)


def test_a_linear_beta_needs_a_length():
    with pytest.raises(ValueError, match="warmup_steps"):
        BetaSchedule(1.0, "linear")
    with pytest.raises(ValueError, match="constant"):
        BetaSchedule(1.0, "cubic")
