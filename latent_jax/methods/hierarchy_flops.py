"""The rate at which a model that cuts its input costs so many FLOPs per byte."""

import math
from collections.abc import Callable

LEAST = 1.01
"""Positions per chunk at least: the model then costs the most."""

DIGITS = 4
"""Of the rate that is found, so that a name states it in full."""

HALVINGS = 40


def rate_of(cost: Callable[[float], float], target: float, most: float, name: str) -> float:
    """Return the positions per chunk whose cost is nearest to `target`, to `DIGITS` digits.

    All stages have this rate. The logarithm of the rate is bisected: what costs less has longer
    chunks.

    Args:
        cost: forward FLOPs per byte at a rate.
        target: likewise.
        most: positions per chunk at most, those of a row.
        name: of the method, for the message.

    Raises:
        ValueError: no rate costs as much, or as little; the message has the range.
    """
    low, high = math.log(LEAST), math.log(most)
    dearest, cheapest = cost(LEAST), cost(most)
    if not cheapest <= target <= dearest:
        raise ValueError(
            f"{name} costs from {cheapest:.4g} FLOPs per byte, with {most:g} bytes per chunk, to "
            f"{dearest:.4g}, with {LEAST}: hierarchy.flops_per_byte={target:.4g} is not within"
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if cost(math.exp(middle)) > target else (low, middle)
    return max(float(f"{math.exp(high):.{DIGITS}g}"), LEAST)
