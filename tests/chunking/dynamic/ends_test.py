"""Boundaries of inner stages in positions of the outermost one, by hand."""

import types

import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic.base import cut_at
from latent_jax.chunking.dynamic.ends import stage_ends


def stage(is_boundary, p, mask, capacity):
    cut = cut_at(jnp.asarray(is_boundary), capacity)
    row = types.SimpleNamespace(mask_BT=np.asarray(mask))
    return types.SimpleNamespace(p_BT=np.asarray(p, np.float32), cut=cut, row=row)


def test_a_stage_stands_at_the_boundaries_of_the_one_before():
    outer = stage(
        [[True, False, True, True, False, True, False], [True, True] + 5 * [False]],
        [[1, 0.1, 0.8, 0.7, 0.2, 0.9, 0.4], [1, 0.6] + 5 * [0]],
        [7 * [True], 3 * [True] + 4 * [False]],
        4,
    )
    inner = stage(
        [[True, False, True, False], [True, True, False, False]],
        [[1, 0.3, 0.75, 0.25], [1, 0.55, 0, 0]],
        outer.cut.mask_BK,
        2,
    )
    first, second = stage_ends([outer, inner])
    assert [list(np.flatnonzero(row)) for row in first.is_first_BT] == [[0, 2, 3, 5], [0, 1]]
    assert [list(np.flatnonzero(row)) for row in second.is_first_BT] == [[0, 3], [0, 1]]
    np.testing.assert_allclose(first.p_BT[0], outer.p_BT[0])
    assert np.isnan(first.p_BT[1, 3:]).all()
    n = np.nan
    np.testing.assert_allclose(second.p_BT[0], [1, n, 0.3, 0.75, n, 0.25, n])
    assert (first.n_chunks, second.n_chunks) == (6, 4)
    assert (first.n_dropped, second.n_dropped) == (0, 0)


def test_boundaries_that_found_no_room_are_counted_and_none():
    (found,) = stage_ends([stage([[True, True, True]], [[1, 0.9, 0.9]], [3 * [True]], 2)])
    assert found.is_first_BT.tolist() == [[True, True, False]]
    assert (found.n_chunks, found.n_dropped) == (2, 1)
