import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from latent_jax.sharding_constraints import placed_on, rows, use_whole, whole
from latent_jax.training.mesh import make_mesh

X_ND = np.arange(32.0, dtype=np.float32).reshape(8, 4)


def product(weight, x):
    return x @ weight


def place(function, mesh, spec):
    """Return the spec of what a function makes of an array that was placed by `spec`."""
    x_ND = jax.device_put(X_ND, NamedSharding(mesh, spec))
    with placed_on(mesh, x_ND):
        return jax.jit(function)(x_ND).sharding.spec


def test_nothing_is_said_without_a_mesh_or_with_one_device():
    for mesh in (None, make_mesh("fsdp", devices=jax.devices()[:1])):
        for function in (rows, whole, lambda x: use_whole(product, x, jnp.ones((2, 8)))):
            weight = X_ND if mesh is None else jax.device_put(X_ND, NamedSharding(mesh, P("data")))
            with placed_on(mesh, weight) if mesh else contextlib.nullcontext():
                text = str(jax.make_jaxpr(function)(X_ND))
            assert "sharding_constraint" not in text and "remat" not in text


@pytest.mark.parametrize(("strategy", "model_parallel"), [("fsdp", 1), ("tensor", 2)])
def test_rows_are_split_over_data(strategy, model_parallel):
    mesh = make_mesh(strategy, model_parallel)
    assert place(rows, mesh, P())[0] == "data"
    assert tuple(place(lambda x: rows(x[:3]), mesh, P())) == (), "3 rows do not divide"


def test_a_weight_that_is_whole_already_is_left_alone():
    mesh = make_mesh("pmap")
    with placed_on(mesh, jax.device_put(X_ND, NamedSharding(mesh, P()))):
        jaxpr = jax.make_jaxpr(lambda x: use_whole(product, whole(x), jnp.ones((2, 8))))(X_ND)
    assert "sharding_constraint" not in str(jaxpr) and "remat" not in str(jaxpr)


def test_weights_are_gathered_under_fsdp_and_left_alone_under_tensor():
    assert tuple(place(whole, make_mesh("fsdp"), P("data"))) == ()
    assert place(whole, make_mesh("tensor", 2), P("model"))[0] == "model"


def test_a_gathered_weight_gives_the_same_product_and_gradients():
    mesh = make_mesh("fsdp")
    weight = jax.random.normal(jax.random.key(0), (8, 4))
    x = jax.random.normal(jax.random.key(1), (16, 8))

    def loss(weight, x):
        return jnp.sum(jnp.square(use_whole(product, weight, x)))

    function = jax.value_and_grad(loss, argnums=(0, 1))
    expected = function(weight, x)
    placed = jax.device_put((weight, x), NamedSharding(mesh, P("data")))
    with placed_on(mesh, placed):
        found = jax.jit(function)(*placed)
        assert "remat" in str(jax.make_jaxpr(function)(weight, x))
    chex.assert_trees_all_close(found, expected, rtol=1e-5)
