"""Straight-through and rotation: same value, the Jacobians of their papers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.quantizers import gradients


def _rotation_matrix(z, q):
    """The rotation from z to q, written from its two defining properties, not from the trick.

    In the basis (u, the part of v orthogonal to u) it is a plane rotation by the angle between
    them; on everything orthogonal to both it is the identity.
    """
    u, v = z / np.linalg.norm(z), q / np.linalg.norm(q)
    cos = u @ v
    p = v - cos * u
    sin = np.linalg.norm(p)
    p = p / sin
    plane = np.stack([u, p], axis=1)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.eye(len(z)) - plane @ plane.T + plane @ turn @ plane.T


@pytest.mark.parametrize("name", gradients.GRADIENTS)
def test_the_value_is_the_code_to_the_bit(name):
    z_NE, q_NE = jax.random.normal(jax.random.key(0), (2, 64, 8))
    chex.assert_trees_all_equal(gradients.GRADIENTS[name](z_NE, q_NE), q_NE)


def test_rotation_jacobian_is_the_scaled_rotation_and_straight_through_is_not():
    z, q = jax.random.normal(jax.random.key(1), (2, 5))
    q = 3.0 * q
    expected = np.linalg.norm(q) / np.linalg.norm(z) * _rotation_matrix(np.array(z), np.array(q))

    def jacobian(gradient):
        return jax.jacobian(lambda z: gradient(z[None], q[None])[0])(z)

    np.testing.assert_allclose(jacobian(gradients.rotation), expected, atol=1e-4)
    np.testing.assert_array_equal(jacobian(gradients.straight_through), np.eye(5))
    assert np.abs(expected - np.eye(5)).max() > 0.5


def test_no_gradient_reaches_the_code():
    z_NE, q_NE = jax.random.normal(jax.random.key(2), (2, 4, 3))
    for gradient in gradients.GRADIENTS.values():
        to_code = jax.grad(lambda q, g=gradient: jnp.sum(jnp.square(g(z_NE, q))))(q_NE)
        chex.assert_trees_all_equal(to_code, jnp.zeros_like(q_NE))


def test_rotation_is_finite_for_equal_opposite_and_zero_vectors():
    q_NE = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    z_NE = jnp.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    value, backward = jax.vjp(lambda z: gradients.rotation(z, q_NE), z_NE)
    (gradient,) = backward(jnp.ones_like(q_NE))
    chex.assert_trees_all_equal(value, q_NE)
    assert jnp.all(jnp.isfinite(gradient))
    np.testing.assert_allclose(gradient[0], [1.0, 1.0], atol=1e-6)
