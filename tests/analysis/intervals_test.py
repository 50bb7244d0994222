"""Intervals over problems, against numbers worked out by hand."""

import numpy as np
import pytest

from latent_jax.analysis.intervals import ratio_interval, share_interval


def test_an_interval_is_of_problems():
    mean, half = ratio_interval(np.array([1.0, 3.0, 9.0]), np.array([1, 1, 0]))
    # The third problem has no result; of the others the standard error is sqrt(2) / sqrt(2).
    assert mean == 2 and half == pytest.approx(1.96, abs=1e-3)
    # Twice the tokens of one problem are one problem.
    assert ratio_interval(np.array([4.0]), np.array([2])) == (2.0, None)


def test_a_share_of_none_has_an_interval_too():
    z = 1.959964
    share, low, high = share_interval(np.zeros(4, bool))
    assert (share, low) == (0, pytest.approx(0, abs=1e-9)) and high == pytest.approx(
        z**2 / (4 + z**2)
    )
    share, low, high = share_interval(np.ones(4, bool))
    assert (share, high) == (1, pytest.approx(1)) and low == pytest.approx(4 / (4 + z**2))
    # The known interval of 10 of 20.
    np.testing.assert_allclose(share_interval(np.arange(20) < 10), (0.5, 0.2993, 0.7007), atol=1e-4)
