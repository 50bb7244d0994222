"""Blocks of a vocabulary give the losses and gradients of whole logits, whatever divides what."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.gpt import GPTConfig
from latent_jax.tasks.blockwise import blockwise_nats
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tasks.losses import log_partition, token_nats
from tests.latent_fixtures import T

N, D = 7, 5
VOCAB = 8192


@jax.jit
def whole_nats(x_ND, table_VD, ids_N):
    logits_1NV = (x_ND @ table_VD.T)[None]
    return token_nats(logits_1NV, ids_N[None])[0], log_partition(logits_1NV)[0]


def drawn(n_ids, scale=1.0):
    keys = jax.random.split(jax.random.key(0), 3)
    x_ND = scale * jax.random.normal(keys[0], (N, D))
    table_VD = jax.random.normal(keys[1], (n_ids, D))
    # The first and the last id stand at the edges of blocks.
    ids_N = jax.random.randint(keys[2], (N,), 0, n_ids).at[0].set(0).at[1].set(n_ids - 1)
    return x_ND, table_VD, ids_N


@pytest.mark.parametrize(("n_ids", "block"), [(24, 8), (25, 8), (23, 8), (3, 8), (24, 24)])
def test_values_and_gradients_are_those_of_whole_logits(n_ids, block):
    x_ND, table_VD, ids_N = drawn(n_ids)
    weights_N = jnp.arange(N) / N

    def loss(nats_of):
        def value(x_ND, table_VD):
            nats_N, log_z_N = nats_of(x_ND, table_VD, ids_N)
            return jnp.sum(nats_N * weights_N) + 0.1 * jnp.sum(log_z_N**2)

        return value

    def in_blocks(*arguments):
        return blockwise_nats(*arguments, block)

    expected = whole_nats(x_ND, table_VD, ids_N)
    found = jax.jit(in_blocks)(x_ND, table_VD, ids_N)
    chex.assert_trees_all_close(found, expected, rtol=1e-5)
    gradients = [
        jax.jit(jax.grad(loss(nats_of), argnums=(0, 1)))(x_ND, table_VD)
        for nats_of in (whole_nats, in_blocks)
    ]
    chex.assert_trees_all_close(*gradients, rtol=1e-4, atol=1e-5)
    without_z = jax.jit(jax.grad(lambda x: jnp.sum(in_blocks(x, table_VD, ids_N)[0] * weights_N)))(
        x_ND
    )
    assert float(jnp.max(jnp.abs(without_z - gradients[0][0]))) > 1e-2


def test_large_logits_stay_finite():
    x_ND, table_VD, ids_N = drawn(40, scale=300.0)
    nats_N, log_z_N = jax.jit(blockwise_nats, static_argnums=3)(x_ND, table_VD, ids_N, 16)
    chex.assert_trees_all_close(
        (nats_N, log_z_N), whole_nats(x_ND, table_VD, ids_N), rtol=1e-5, atol=1e-3
    )
    assert float(jnp.max(log_z_N)) > 100.0  # exp overflows from 89 on


def test_bfloat16_features_give_float32_losses():
    x_ND, table_VD, ids_N = drawn(40)
    in_blocks = jax.jit(blockwise_nats, static_argnums=3)
    nats_N, log_z_N = in_blocks(x_ND.astype(jnp.bfloat16), table_VD, ids_N, 16)
    assert nats_N.dtype == log_z_N.dtype == jnp.float32
    expected, _ = whole_nats(x_ND, table_VD, ids_N)
    np.testing.assert_allclose(nats_N, expected, atol=0.1)
    assert float(jnp.max(jnp.abs(nats_N - expected))) > 1e-5
    x_gradient = jax.jit(jax.grad(lambda x: jnp.sum(blockwise_nats(x, table_VD, ids_N, 16)[0])))(
        x_ND.astype(jnp.bfloat16)
    )
    assert x_gradient.dtype == jnp.bfloat16


@pytest.mark.parametrize("head", ["blocks", "fused"])
def test_the_task_scores_alike_with_every_head(batch, head):
    config = GPTConfig(vocab_size=257, max_length=T, n_layers=1, d_model=16, n_heads=2)
    task = LanguageModeling(config, 256, T, 1.0, z_loss=0.1, head="whole")
    blocks = dataclasses.replace(task, head=head)
    variables = jax.jit(task.init)(jax.random.key(0), batch)
    scores = [jax.jit(t.evaluate)(variables, batch) for t in (task, blocks)]
    chex.assert_trees_all_close(*scores, rtol=1e-5)

    def loss_and_gradient(task):
        def loss(params):
            return task.loss({"params": params}, batch, jax.random.key(0), 0, False)[0]

        return jax.jit(jax.value_and_grad(loss))(variables["params"])

    (loss, gradient), (same_loss, same_gradient) = map(loss_and_gradient, (task, blocks))
    assert float(loss) == pytest.approx(float(same_loss), rel=1e-5)
    chex.assert_trees_all_close(gradient, same_gradient, rtol=1e-4, atol=1e-6)


def test_no_whole_logits_are_in_the_program_of_a_large_vocabulary(batch):
    def logits_of(head):
        config = GPTConfig(vocab_size=VOCAB, max_length=T, n_layers=1, d_model=16, n_heads=2)
        task = LanguageModeling(config, 256, T, 1.0, head=head)
        variables = jax.eval_shape(task.init, jax.random.key(0), batch)
        step = jax.make_jaxpr(lambda v: task.loss(v, batch, jax.random.key(0), 0, False)[0])
        return f",{VOCAB}]" in str(step(variables))

    assert logits_of("whole") and not logits_of("blocks")


def test_an_unknown_head_is_refused_by_name():
    config = GPTConfig(vocab_size=257, max_length=T, n_layers=1, d_model=16, n_heads=2)
    with pytest.raises(ValueError, match=r"unknown head 'hole' \(did you mean 'whole'\?\)"):
        LanguageModeling(config, 256, T, 1.0, head="hole")
