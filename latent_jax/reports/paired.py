"""Comparison of two scores over the same seeds: the mean difference and its interval.

Runs of one seed read the same text in the same order, so an effect of the seed on both runs cancels
in their difference. The interval is Student's t interval for the mean of these differences. It
assumes that they are draws from a normal distribution.
"""

import dataclasses
import statistics
from collections.abc import Mapping

LEVEL = 0.95


def students_t(n: int, level: float = LEVEL) -> float:
    """Return half the width of an interval from `n` draws, at least 2, in standard errors."""
    from scipy import stats  # imported only when needed: it is the slowest import of training

    return float(stats.t.ppf(0.5 + level / 2, n - 1))


@dataclasses.dataclass(frozen=True)
class Effect:
    """The amount by which one score is lower than another, seed by seed.

    Attributes:
        differences: other score minus one score, for each seed that both have.
    """

    differences: tuple[float, ...]

    @classmethod
    def of(cls, one: Mapping[int, float], other: Mapping[int, float]) -> "Effect":
        """Return the effect of two scores; both map seed -> score."""
        return cls(tuple(other[seed] - one[seed] for seed in one if seed in other))

    @property
    def mean(self) -> float | None:
        """The mean difference; None without a common seed."""
        return statistics.fmean(self.differences) if self.differences else None

    def half_width(self, level: float = LEVEL) -> float | None:
        """Return half the width of the interval, which is the smallest detectable effect.

        None for fewer than two seeds, from which the spread cannot be estimated.
        """
        n = len(self.differences)
        if n < 2:
            return None
        return students_t(n, level) * statistics.stdev(self.differences) / n**0.5

    def is_positive(self, level: float = LEVEL) -> bool | None:
        """Return whether the interval lies above 0 (True), below 0 (False), or neither (None)."""
        width = self.half_width(level)
        if width is None or abs(self.mean) <= width:
            return None
        return self.mean > 0

    def is_within(self, bound: float, level: float = LEVEL) -> bool | None:
        """Return whether the interval lies within `bound` of 0, or outside; None if neither."""
        width = self.half_width(level)
        if width is None or abs(abs(self.mean) - bound) < width:
            return None
        return abs(self.mean) < bound
