"""The isoFLOP fit: the best bytes per parameter and compression ratio at equal training FLOPs.

At each budget of FLOPs, a parabola in the logarithm of bytes per parameter is fitted to the bits
per byte of several sizes. Its lowest point is the best allocation (Hoffmann et al. 2022, approach
2; "Compute Optimal Tokenization", arXiv 2605.01188, with bytes in place of tokens). Another
parabola is fitted over the bytes per token of several methods. Intervals come from the bootstrap
over cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WITHIN, BELOW, ABOVE = "within", "below", "above"
"""Position of the lowest point of a fit relative to the measured range."""

LEAST_POINTS = 4
"""Fewest points for a fit: three for a parabola, and one degree of freedom."""


def fit_lowest(
    xs: Sequence[float], ys: Sequence[float], *, n_resamples: int = 1000, seed: int = 0
) -> dict[str, float] | None:
    """Return the lowest point of a parabola in log x, with a 95 % bootstrap interval.

    Args:
        xs: positive numbers; at least `LEAST_POINTS`, with at least three different values.
        ys: bits per byte.
        n_resamples: number of bootstrap samples (cells drawn with replacement). Samples whose
            parabola has no lowest point are left out of the interval.
        seed: seed of the bootstrap.

    Returns:
        "best"; its interval "low" and "high"; "bits_per_byte" at the best; the measured range
        "measured_from" and "measured_to"; "where" the best lies relative to it; "n_cells"; and
        "opens_upward_share", the share of bootstrap samples that have a lowest point. The fit is
        not extrapolated. If the lowest point is outside of the measured range, "best" and
        "bits_per_byte" are None. The interval is clipped to the measured range. The result is None
        if there are too few points or the parabola has no lowest point.
    """
    log_x, y = np.log(np.asarray(xs, np.float64)), np.asarray(ys, np.float64)
    if len(log_x) < LEAST_POINTS or len(np.unique(log_x)) < 3:
        return None
    best = _lowest(log_x, y)
    if best is None:
        return None
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_resamples):
        drawn = rng.integers(0, len(y), len(y))
        if len(np.unique(log_x[drawn])) >= 3:
            found.append(_lowest(log_x[drawn], y[drawn]))
    lowest = [place for place in found if place is not None]
    least, most = log_x.min(), log_x.max()
    ends = np.quantile([x for x, _ in lowest], (0.025, 0.975))
    low, high = np.clip(ends, least, most)
    where = ABOVE if best[0] > most else BELOW if best[0] < least else WITHIN
    return {
        "best": float(np.exp(best[0])) if where == WITHIN else None,
        "low": float(np.exp(low)),
        "high": float(np.exp(high)),
        "measured_from": float(np.exp(least)),
        "measured_to": float(np.exp(most)),
        "where": where,
        "bits_per_byte": float(best[1]) if where == WITHIN else None,
        "n_cells": len(y),
        "opens_upward_share": len(lowest) / max(len(found), 1),
    }


def _lowest(log_x: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    """Return the lowest point of the least-squares parabola, or None where it opens downward."""
    middle = log_x.mean()
    curvature, slope, level = np.polyfit(log_x - middle, y, 2)
    if curvature <= 0:
        return None
    place = -slope / (2 * curvature)
    return place + middle, level - slope**2 / (4 * curvature)


def isoflop_table(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the fits of a sweep with budgets of FLOPs.

    There is one row per budget and method for the fit over bytes per parameter, and one row per
    budget for the fit over bytes per token.

    Args:
        records: records of cells; those with other budgets are left out, and those that read
            problems, whose rows hold no text of some length.
    """
    rows = []
    cells = [
        record
        for record in records
        if record["budget"].startswith("flops:") and "problems_seen" not in record
    ]
    for budget in dict.fromkeys(record["budget"] for record in cells):
        peers = [record for record in cells if record["budget"] == budget]
        for method in dict.fromkeys(record["method"] for record in peers):
            own = [record for record in peers if record["method"] == method]
            rows += _row(budget, method, "bytes_per_parameter", own)
        best = {}
        for record in peers:
            kept = best.get(record["method"])
            if kept is None or record["bits_per_byte"] < kept["bits_per_byte"]:
                best[record["method"]] = record
        rows += _row(budget, "the best size of each", "bytes_per_token", [*best.values()])
    return rows


def _row(budget, method, axis, records) -> list[dict[str, Any]]:
    fit = fit_lowest(
        [_place(record, axis) for record in records],
        [record["bits_per_byte"] for record in records],
    )
    return [] if fit is None else [{"budget": budget, "method": method, "axis": axis, **fit}]


def _place(record: Mapping[str, Any], axis: str) -> float:
    if axis == "bytes_per_token":
        return record["bytes_per_token"]
    return record["bytes_seen"] / (record["n_parameters"] - record["n_embedding_parameters"])
