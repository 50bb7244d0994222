"""95 % intervals over problems, or groups of documents, each of which is one observation.

Both are drawn; what is said of problems here holds for groups too. Of groups there are few, so that
`reports.paired.students_t` stands in place of the normal distribution of many problems.
"""

import math

import numpy as np

_Z = 1.959964
"""Of a 95 % interval of the normal distribution."""


def ratio_error(x_P: np.ndarray, n_P: np.ndarray) -> tuple[float, float | None]:
    """Return sum(x) / sum(n), and its standard error over problems.

    Problems are drawn, not tokens: each is one observation of a ratio estimator (Cochran 1977,
    "Sampling Techniques", section 6.4), whose error is normal for many problems. None for fewer
    than two problems that have tokens.
    """
    is_there_P = n_P > 0
    x_P, n_P = x_P[is_there_P], n_P[is_there_P]
    n_problems = len(n_P)
    mean = float(x_P.sum() / n_P.sum())
    if n_problems < 2:
        return mean, None
    residual_P = x_P - mean * n_P
    variance = (residual_P**2).sum() * n_problems / (n_problems - 1)
    return mean, math.sqrt(variance) / float(n_P.sum())


def ratio_interval(difference_P: np.ndarray, n_P: np.ndarray) -> tuple[float, float | None]:
    """Return sum(difference) / sum(n), and half of its 95 % interval; see `ratio_error`."""
    mean, error = ratio_error(difference_P, n_P)
    return mean, None if error is None else _Z * error


def added_error(
    x_P: np.ndarray, n_P: np.ndarray, own_P: np.ndarray, n_own_P: np.ndarray
) -> tuple[float, float | None]:
    """Return sum(x) / sum(n) - sum(own) / sum(n_own), and its standard error over problems.

    Problems are pairs: both ratios are measured on each, so that what makes some problems harder
    than others cancels. The error is that of the linearized difference (Cochran 1977, sections 6.4
    and 6.5). None for fewer than two problems.
    """
    ratio, own_ratio = x_P.sum() / n_P.sum(), own_P.sum() / n_own_P.sum()
    added, n_problems = float(ratio - own_ratio), len(n_P)
    if n_problems < 2:
        return added, None
    residual_P = (x_P - ratio * n_P) / n_P.sum() - (own_P - own_ratio * n_own_P) / n_own_P.sum()
    variance = (residual_P**2).sum() * n_problems / (n_problems - 1)
    return added, math.sqrt(variance)


def share_interval(is_so_P: np.ndarray) -> tuple[float, float, float]:
    """Return the share of problems of which something is so, and its 95 % interval.

    By Wilson (1927, "Probable inference, the law of succession, and statistical inference"), which
    has a width where all problems are alike, as `ratio_interval` has not.

    Args:
        is_so_P: bool, of at least one problem.
    """
    n, share = len(is_so_P), float(is_so_P.mean())
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    # Rounding would put the end at 0 or 1 a little beyond it.
    return share, max(middle - half, 0.0), min(middle + half, 1.0)
