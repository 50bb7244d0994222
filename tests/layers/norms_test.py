import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.config import NORMS
from latent_jax.layers.norms import EPSILON, NORM_MODULES, LayerNorm, layer_norm, rms_norm


def test_it_equals_the_layer_norm_of_flax():
    x = 3.0 * jax.random.normal(jax.random.key(0), (2, 5, 16)) + 2.0
    scale, bias = jax.random.normal(jax.random.key(1), (2, 16))
    flax_norm = nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False)
    expected = flax_norm.apply({"params": {"scale": scale, "bias": bias}}, x)
    np.testing.assert_allclose(layer_norm(x, scale, bias), expected, atol=1e-5)


def test_rms_norm_equals_that_of_flax():
    x = 3.0 * jax.random.normal(jax.random.key(0), (2, 5, 16)) + 2.0
    scale = jax.random.normal(jax.random.key(1), (16,))
    expected = nn.RMSNorm(epsilon=EPSILON).apply({"params": {"scale": scale}}, x)
    np.testing.assert_allclose(rms_norm(x, scale), expected, atol=1e-5)
    assert float(jnp.abs(layer_norm(x, scale, jnp.zeros(16)) - expected).max()) > 0.1


@pytest.mark.parametrize(
    ("dtype", "epsilon"), [("float32", EPSILON), ("bfloat16", EPSILON), ("float32", 0.5)]
)
def test_gradients_equal_those_of_flax(dtype, epsilon):
    x = (3.0 * jax.random.normal(jax.random.key(0), (2, 5, 16)) + 2.0).astype(dtype)
    scale, bias = jax.random.normal(jax.random.key(1), (2, 16))
    weights = jax.random.normal(jax.random.key(2), x.shape)
    layer = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False)
    rms = nn.RMSNorm(epsilon=epsilon)

    def of(norm):
        def loss(x, *params):
            return jnp.sum(norm(x, *params).astype(jnp.float32) * weights)

        return loss

    def flax_layer(x, scale, bias):
        return layer.apply({"params": {"scale": scale, "bias": bias}}, x)

    def flax_rms(x, scale):
        return rms.apply({"params": {"scale": scale}}, x)

    tolerance = {"float32": 1e-5, "bfloat16": 5e-2}[dtype]
    for ours, theirs, params in (
        (layer_norm, flax_layer, (scale, bias)),
        (rms_norm, flax_rms, (scale,)),
    ):
        arguments = tuple(range(1 + len(params)))
        found = jax.grad(of(lambda *a, norm=ours: norm(*a, epsilon)), arguments)(x, *params)
        assert [leaf.dtype for leaf in found] == [x.dtype, *(p.dtype for p in params)]
        expected = jax.grad(of(theirs), arguments)(x.astype(jnp.float32), *params)
        found, expected = (
            jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree) for tree in (found, expected)
        )
        chex.assert_trees_all_close(found, expected, atol=tolerance, rtol=tolerance)


def test_every_word_has_a_module():
    assert tuple(NORM_MODULES) == NORMS


def test_statistics_are_float32_under_bfloat16():
    x = (1000.0 + jax.random.normal(jax.random.key(0), (2, 4, 64))).astype(jnp.bfloat16)
    y, variables = LayerNorm().init_with_output(jax.random.key(1), x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    # In bfloat16 the mean of numbers around 1000 would be off by several standard deviations.
    chex.assert_trees_all_close(jnp.mean(y.astype(jnp.float32), -1), jnp.zeros((2, 4)), atol=2e-2)
