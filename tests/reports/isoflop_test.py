"""The isoFLOP fit on curves whose lowest point is known."""

import numpy as np
import pytest

from latent_jax.reports.isoflop import fit_lowest, isoflop_table


def curve(xs, best, noise=0.0):
    draws = np.random.default_rng(0).normal(0, noise, len(xs))
    return 1.2 + 0.05 * (np.log(xs) - np.log(best)) ** 2 + draws


def test_an_exact_parabola_gives_its_lowest_point():
    xs = np.geomspace(5, 400, 7)
    fit = fit_lowest(xs, curve(xs, 60.0))
    assert fit["best"] == pytest.approx(60.0) and fit["bits_per_byte"] == pytest.approx(1.2)
    assert fit["low"] == pytest.approx(60.0) and fit["high"] == pytest.approx(60.0)
    assert fit["n_cells"] == 7 and fit["opens_upward_share"] == 1.0


def test_noise_widens_the_interval_which_holds_the_truth():
    xs = np.geomspace(5, 400, 24)
    few, many = (fit_lowest(xs, curve(xs, 60.0, noise)) for noise in (0.005, 0.02))
    for fit in (few, many):
        assert fit["low"] < 60.0 < fit["high"]
    assert np.log(many["high"] / many["low"]) > 1.5 * np.log(few["high"] / few["low"])


def test_a_lowest_point_outside_of_what_was_measured_is_not_stated():
    xs = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    for best, where, edge in ((60.0, "above", 16.0), (0.1, "below", 1.0)):
        fit = fit_lowest(xs, curve(xs, best))
        assert fit["best"] is None and fit["bits_per_byte"] is None and fit["where"] == where
        assert fit["low"] == fit["high"] == pytest.approx(edge)
        assert (fit["measured_from"], fit["measured_to"]) == pytest.approx((1.0, 16.0))
    assert fit_lowest(xs, curve(xs, 4.0))["where"] == "within"


def test_where_there_is_no_lowest_point_there_is_no_fit():
    xs = np.geomspace(5, 400, 7)
    assert fit_lowest(xs, -curve(xs, 60.0)) is None
    assert fit_lowest(xs[:3], curve(xs[:3], 60.0)) is None
    assert fit_lowest([5, 5, 9, 9], [1, 1, 2, 2]) is None


def test_a_sweep_at_equal_flops_has_a_row_for_each_method_and_one_over_ratios():
    def cell(method, ratio, per_parameter, bits):
        return {
            "budget": "flops:1e+12",
            "method": method,
            "bytes_per_token": ratio,
            "bytes_seen": per_parameter * 1000,
            "n_parameters": 1500,
            "n_embedding_parameters": 500,
            "bits_per_byte": bits,
        }

    xs = np.geomspace(5, 400, 5)
    ratios = (1.0, 2.0, 4.0, 8.0)
    records = [
        cell(f"m{ratio}", ratio, x, bits + 0.1 * np.log(ratio / 3.0) ** 2)
        for ratio in ratios
        for x, bits in zip(xs, curve(xs, 60.0), strict=True)
    ]
    other = {**records[0], "budget": "tokens:100"}
    rows = isoflop_table([*records, other])
    assert [row["axis"] for row in rows] == ["bytes_per_parameter"] * 4 + ["bytes_per_token"]
    assert all(row["best"] == pytest.approx(60.0) for row in rows[:4])
    assert rows[4]["best"] == pytest.approx(3.0, rel=0.02)
    assert isoflop_table([other]) == []
