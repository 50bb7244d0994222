import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.reports.style import bytes_unit, smooth, spread


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(0, (1.0, "bytes")), (999, (1.0, "bytes")), (1000, (1e3, "kB")), (4.9e6, (1e6, "MB"))],
)
def test_units_follow_the_largest_value(largest, expected):
    assert bytes_unit(largest) == expected


def test_smoothing_is_the_mean_over_the_window():
    ys = np.array([9.0, 4.0, 1.0, 4.0, 7.0, 1.0])
    expected = [9.0, 14 / 3, 3.0, 4.0, 4.0, 4.0]
    np.testing.assert_allclose(smooth(ys, 3), expected)
    np.testing.assert_array_equal(smooth(ys, 1), ys)


@given(st.integers(1, 50), st.integers(1, 9))
def test_smoothing_keeps_straight_lines_where_the_window_is_whole(n, window):
    ys = 3.0 * np.arange(n)
    whole = n - window // 2
    np.testing.assert_allclose(smooth(ys, window)[:whole], ys[:whole], atol=1e-9)


def test_places_that_do_not_touch_stay():
    assert spread([10, 50, 90], [10, 10, 10], 0, 100) == [10, 50, 90]


def test_places_that_touch_move_apart_around_their_mean():
    assert spread([50, 50], [10, 10], 0, 100) == [45, 55]
    assert spread([0, 2], [10, 10], 0, 100) == [5, 15]


@given(
    st.lists(st.tuples(st.floats(-50, 250), st.floats(1, 20)), min_size=1, max_size=9),
)
def test_places_never_overlap_and_stay_inside(wishes):
    wishes = sorted(wishes)
    wanted, heights = zip(*wishes, strict=True)
    places = spread(wanted, heights, 0, 200)
    edges = np.stack([np.array(places) - np.array(heights) / 2, places + np.array(heights) / 2])
    assert np.all(edges[0, 1:] >= edges[1, :-1] - 1e-6)
    assert edges.min() >= -1e-6 and edges.max() <= 200 + 1e-6
