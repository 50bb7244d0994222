"""Two scores compared over the same seeds: the mean difference, its interval, and what it can tell.

Runs of one seed read the same text in the same order, so what a seed does to both sides cancels in
their difference. The interval is Student's for the mean of these differences, which takes them as
draws from a normal distribution.
"""

import dataclasses
import statistics
from collections.abc import Mapping

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Effect:
    """By how much one score is lower than another, seed by seed.

    Attributes:
        differences: the other one's score minus the one's, for each seed that both have.
    """

    differences: tuple[float, ...]

    @classmethod
    def of(cls, one: Mapping[int, float], other: Mapping[int, float]) -> "Effect":
        """Return the effect of two scores by seed."""
        return cls(tuple(other[seed] - one[seed] for seed in one if seed in other))

    @property
    def mean(self) -> float | None:
        """The mean difference; None without a common seed."""
        return statistics.fmean(self.differences) if self.differences else None

    def half_width(self, level: float = LEVEL) -> float | None:
        """Return half the width of the interval: the smallest effect that could have been seen.

        None for fewer than two seeds, which say nothing about the spread.
        """
        n = len(self.differences)
        if n < 2:
            return None
        from scipy import stats  # here, because it takes longest of all that training imports

        t = float(stats.t.ppf(0.5 + level / 2, n - 1))
        return t * statistics.stdev(self.differences) / n**0.5

    def is_positive(self, level: float = LEVEL) -> bool | None:
        """Return whether the interval lies above 0 (True), below 0 (False), or neither (None)."""
        width = self.half_width(level)
        if width is None or abs(self.mean) <= width:
            return None
        return self.mean > 0
