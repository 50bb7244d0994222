"""The ratio loss against values computed by hand from H-Net's formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.ratio import ratio_loss

MASK = jnp.array([[True] * 4, [True] * 4])


def test_values_computed_by_hand():
    first = jnp.array([[1, 0, 0, 1], [1, 0, 0, 0]], bool)  # F = 3/8
    p = jnp.array([[1.0, 0.2, 0.4, 0.6], [1.0, 0.1, 0.3, 0.4]])  # G = 1/2
    # N = 4: 4/3 (3 x 3/8 x 1/2 + 5/8 x 1/2) = 7/6
    assert ratio_loss(first, p, MASK, 4.0) == pytest.approx(7 / 6)
    # N = 2: 2 (3/8 x 1/2 + 5/8 x 1/2) = 1
    assert ratio_loss(first, p, MASK, 2.0) == pytest.approx(1.0)
    # Without the second row: F = 1/2, G = 11/20; N = 4: 4/3 (33/40 + 9/40) = 7/5
    mask = MASK.at[1].set(False)
    assert ratio_loss(first, p, mask, 4.0) == pytest.approx(7 / 5)


def test_its_gradient_is_zero_at_the_rate_and_pulls_towards_it():
    p = jnp.full((2, 4), 0.3)

    def slope(n_first):
        first = (jnp.arange(8) < n_first).reshape(2, 4)
        gradient = jax.grad(lambda p: ratio_loss(first, p, MASK, 4.0))(p)
        return np.unique(np.asarray(gradient))

    np.testing.assert_allclose(slope(2), 0.0, atol=1e-7)  # F = 1/4
    assert (slope(1) < 0).all(), "too few boundaries: p rises"
    assert (slope(4) > 0).all(), "too many: p falls"


def test_a_batch_of_padding_has_a_finite_loss():
    nothing = jnp.zeros((2, 4), bool)
    assert np.isfinite(ratio_loss(nothing, jnp.full((2, 4), 0.3), nothing, 4.0))
