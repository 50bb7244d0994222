"""The fused head gives the sums and gradients of whole logits, however it is cut."""

import chex
import jax
import jax.numpy as jnp
import pytest

from latent_jax.tasks.fused import fused_cross_entropy
from latent_jax.tasks.losses import log_partition, token_nats

B, T, D = 4, 11, 6


def drawn(n_ids, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 4)
    x_BTD = jax.random.normal(keys[0], (B, T, D), dtype)
    table_VD = jax.random.normal(keys[1], (n_ids, D))
    ids_BT = jax.random.randint(keys[2], (B, T), 0, n_ids)
    weights_BT = jax.random.bernoulli(keys[3], 0.7, (B, T)).astype(jnp.float32)
    return x_BTD, table_VD, ids_BT, weights_BT


def whole(x_BTD, table_VD, ids_BT, weights_BT, z_loss):
    logits_BTV = x_BTD @ table_VD.T
    nats_BT, log_z_BT = token_nats(logits_BTV, ids_BT), log_partition(logits_BTV)
    nats = jnp.sum(nats_BT * weights_BT)
    return nats + z_loss * jnp.sum(jnp.square(log_z_BT) * weights_BT), nats


@pytest.mark.parametrize(
    ("n_ids", "logits_bytes", "z_loss"),
    [
        (128, 2**30, 0.0),
        (257, 2**30, 0.3),
        (128, 4 * 257 * B * 3, 0.3),
        (257, 4 * 257 * B * 3, 0.0),
        (128, 1, 0.0),
        (257, 1, 0.3),
    ],
)
def test_it_equals_whole_logits(n_ids, logits_bytes, z_loss):
    arrays = drawn(n_ids)

    def objective(function, *words):
        def scaled(x, table):
            value, nats = function(x, table, *arrays[2:], z_loss, *words)
            return value / 7.0, nats

        return jax.jit(jax.value_and_grad(scaled, argnums=(0, 1), has_aux=True))(*arrays[:2])

    fused = objective(fused_cross_entropy, logits_bytes)
    chex.assert_trees_all_close(fused, objective(whole), rtol=2e-5, atol=1e-6)
    without_gradient = jax.jit(lambda *arrays: fused_cross_entropy(*arrays, z_loss, logits_bytes))(
        *arrays
    )
    chex.assert_trees_all_close(without_gradient, whole(*arrays, z_loss), rtol=1e-5)
    if z_loss:
        assert float(without_gradient[0] - without_gradient[1]) > 1.0


def test_what_has_no_weight_changes_nothing():
    x_BTD, table_VD, ids_BT, weights_BT = drawn(40)
    other_BT = jnp.where(weights_BT > 0, ids_BT, (ids_BT + 1) % 40)

    @jax.jit
    def gradient(ids_BT):
        return jax.grad(lambda x: fused_cross_entropy(x, table_VD, ids_BT, weights_BT)[0])(x_BTD)

    chex.assert_trees_all_equal(gradient(ids_BT), gradient(other_BT))
    assert float(jnp.abs(gradient(ids_BT) - gradient((ids_BT + 1) % 40)).max()) > 1e-2
    assert not float(jnp.abs(gradient(ids_BT) * (1 - weights_BT)[..., None]).max())


def test_matmuls_take_operands_in_the_compute_dtype_and_keep_no_logits():
    x_BTD, table_VD, ids_BT, weights_BT = drawn(257, jnp.bfloat16)

    def loss(x, table):
        return fused_cross_entropy(x, table, ids_BT, weights_BT, 0.0, 4 * B * 384)[0]

    jaxpr = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(x_BTD, table_VD)
    dots = [line for line in str(jaxpr).splitlines() if "dot_general" in line]
    assert len(dots) == 3, "one product forward, two backward"
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    gradients = gradient(x_BTD, table_VD)
    assert gradients[0].dtype == jnp.bfloat16 and gradients[1].dtype == jnp.float32
    exact = gradient(x_BTD.astype(jnp.float32), table_VD)
    chex.assert_trees_all_close(
        jax.tree.map(lambda g: g.astype(jnp.float32), gradients), exact, rtol=0.05, atol=0.05
    )
    _, backward = jax.vjp(loss, x_BTD, table_VD)
    assert max(leaf.size for leaf in jax.tree.leaves(backward)) == 257 * D
