"""The gate between tokens and thoughts: where it begins, and what trains it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.gate import STEEPNESS, Gate

E_ND, Z_ND = jax.random.normal(jax.random.key(0), (2, 5, 8))


@pytest.mark.parametrize("start", [0.02, 0.6, 0.99])
def test_it_begins_at_the_share_that_it_is_told(start):
    made, _ = Gate(start).init_with_output(jax.random.key(1), E_ND, Z_ND)
    expected = start * E_ND + np.sqrt(1 - start**2) * Z_ND
    chex.assert_trees_all_close(made, expected, atol=2e-5)


def test_it_is_the_formula_of_the_paper_but_for_the_factor_of_the_input():
    params = Gate(0.9).init(jax.random.key(1), E_ND, Z_ND)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    moved = [x + jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, moved)
    e, z, p = (jax.tree.map(np.array, tree) for tree in (E_ND, Z_ND, params))

    def gate(name):
        return 1 / (1 + np.exp(-(e @ p[name]["kernel"] + p[name]["bias"])))

    a = np.exp(-STEEPNESS * np.log1p(np.exp(p["decay"])) * gate("recurrence"))
    expected = a * e + np.sqrt(1 - a**2) * 2 * gate("input") * z
    found = Gate(0.9).apply({"params": params}, E_ND, Z_ND)
    chex.assert_trees_all_close(found, expected, atol=1e-5)


def test_a_gradient_reaches_every_parameter_from_the_first_step_on():
    params = Gate(0.99).init(jax.random.key(1), E_ND, Z_ND)

    def loss(params):
        return jnp.square(Gate(0.99).apply(params, E_ND, Z_ND) - 1.0).sum()

    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(params)):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 1e-4, path
