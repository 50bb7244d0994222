import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.dense import Dense, residual_init


def test_it_computes_what_dense_general_computes():
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    ours = Dense((4, 3), (2, 6))
    theirs = nn.DenseGeneral((2, 6), axis=(-2, -1))
    variables = ours.init(jax.random.key(1), x)
    variables["params"]["bias"] = jax.random.normal(jax.random.key(2), (2, 6))

    def both(module):
        def loss(variables, x):
            return jnp.sum(jnp.sin(module.apply(variables, x)))

        return module.apply(variables, x), jax.grad(loss, argnums=(0, 1))(variables, x)

    chex.assert_shape(ours.apply(variables, x), (2, 5, 2, 6))
    chex.assert_trees_all_close(both(ours), both(theirs), atol=1e-5)


def test_parameters_stay_float32_under_bfloat16():
    x = jnp.ones((2, 3, 4))
    module = Dense((4,), (6,), "bfloat16")
    y, variables = module.init_with_output(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_gpt2_initialization():
    variables = Dense((400,), (500,)).init(jax.random.key(0), jnp.ones((1, 400)))
    np.testing.assert_allclose(jnp.std(variables["params"]["kernel"]), 0.02, rtol=0.02)
    assert not jnp.any(variables["params"]["bias"])
    scaled = residual_init(8)(jax.random.key(0), (400, 500), jnp.float32)
    np.testing.assert_allclose(jnp.std(scaled), 0.02 / 4, rtol=0.02)
