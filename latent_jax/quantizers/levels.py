"""The levels of a finite scalar quantizer, chosen for a codebook size.

Mentzer et al. 2023 (arXiv 2309.15505).
"""

import functools
import math

_LEAST_LEVELS = 5  # the paper's rule: at least 5 levels per dimension
_MOST_LEVELS = 16
_BEST_LEVELS = 7.0  # the paper's own choices (its table 1) lie between 5 and 8


def levels_of(codebook_size: int) -> tuple[int, ...]:
    """Return levels, largest first, whose product is exactly the codebook size.

    Of all products of numbers from 5 to 16 that give the size, it is the one whose numbers are
    closest to 7. For every size in the paper's table these are the paper's levels: 240 = 8 x 6 x 5,
    1000 = 8 x 5 x 5 x 5, 1920, 4375, 15360, 64000, and 512 = 8 x 8 x 8, 4096 = 8 x 8 x 8 x 8.

    Raises:
        ValueError: no levels have this product; the message names the nearest sizes that work.
    """
    found = _factorizations(codebook_size, _MOST_LEVELS)
    if not found:
        near = [
            next((n for n in sizes if _factorizations(n, _MOST_LEVELS)), None)
            for sizes in (
                range(codebook_size - 1, _LEAST_LEVELS - 1, -1),
                range(codebook_size + 1, 2 * codebook_size + _LEAST_LEVELS),
            )
        ]
        near = " or ".join(str(n) for n in near if n)
        raise ValueError(
            f"no FSQ levels from {_LEAST_LEVELS} to {_MOST_LEVELS} multiply to codebook_size = "
            f"{codebook_size}; the nearest sizes that work are {near}, or set fsq_levels yourself"
        )

    def strangeness(levels):
        distances = [abs(math.log(n / _BEST_LEVELS)) for n in levels]
        return max(distances), sum(distances)

    return min(found, key=strangeness)


@functools.cache
def _factorizations(n: int, largest: int) -> list[tuple[int, ...]]:
    """Return all non-increasing products of allowed levels, none above `largest`, that give n."""
    found = [(n,)] if _LEAST_LEVELS <= n <= largest else []
    for first in range(_LEAST_LEVELS, min(largest, n // _LEAST_LEVELS) + 1):
        if n % first == 0:
            found += [(first, *rest) for rest in _factorizations(n // first, first)]
    return found
