"""The integer step and rows are compiled for a TPU: nothing in them is refused there."""

import functools

import jax
import jax.numpy as jnp
import pytest

from latent_jax.costs.target import make_target
from latent_jax.exact import operations
from latent_jax.models import integer_gpt
from latent_jax.models.integer_device import device_step, empty_rings, weight_tree
from tests.costs.targets import needs_libtpu
from tests.exact.models import integer_model

pytestmark = needs_libtpu


@pytest.fixture(scope="module")
def on_chip():
    device = make_target("v5e:2x2").devices[0]
    sharding = jax.sharding.SingleDeviceSharding(device)

    def described(tree):
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
        )

    return described


def test_a_step_is_compiled_for_a_tpu(on_chip):
    model = integer_model()
    ids_B = jnp.zeros(64, jnp.int32)
    arguments = weight_tree(model.arrays), empty_rings(model.config, 64), ids_B, ids_B
    step = functools.partial(device_step, dtype="bfloat16")
    text = jax.jit(step, donate_argnums=1).lower(*on_chip(arguments)).compile().as_text()
    assert "bf16" in text and "f64" not in text


def test_rows_are_compiled_for_a_tpu(on_chip):
    def rows(weights, ids_BT):
        return integer_gpt.row_logits(
            operations, weights, weights["attention_powers"], 16, ids_BT, "bfloat16"
        )

    arguments = weight_tree(integer_model().arrays), jnp.zeros((8, 128), jnp.int32)
    assert "bf16" in jax.jit(rows).lower(*on_chip(arguments)).compile().as_text()
