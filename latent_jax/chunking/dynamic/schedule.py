"""What rate a run aims at by step: from one number of positions per chunk to another.

ATDC (arXiv 2605.30080) trains H-Net with a curriculum on N, by which chunks grow with the run. Here
the aim moves linearly in log N, so that equal parts of the way multiply it by equal factors. It
counts the observations that a threshold has followed, so that it is part of what is saved: one of
each training step, or of each micro-batch. `methods.hierarchical_family` counts `steps` likewise.
"""

import jax
import jax.numpy as jnp


def aim(rate: float, first: float, steps: int, n_done: jax.Array) -> float | jax.Array:
    """Return the positions per chunk that are aimed at; a float where that never changes.

    Args:
        rate: at the end, and from `steps` on.
        first: at the first one; 0 = `rate`.
        steps: observations in which it moves.
        n_done: float32 scalar, observations before.
    """
    if not first:
        return rate
    share = jnp.clip(n_done / steps, 0.0, 1.0)
    return first * jnp.power(rate / first, share)


def check_schedule(first: float, steps: int, prefix: str = "") -> None:
    """Raise ValueError unless both numbers are given, or none, and the first is a rate.

    Args:
        first: `rate_from`.
        steps: `rate_steps`.
        prefix: stands before names of fields.
    """
    if bool(first) != bool(steps):
        raise ValueError(
            f"{prefix}rate_from={first:g} and {prefix}rate_steps={steps} go together: give the "
            "positions per chunk that a run begins with and the steps in which they move to n, or "
            "leave both 0"
        )
    if first and first <= 1:
        raise ValueError(
            f"{prefix}rate_from must be 0, or more than 1 position per chunk; got {first:g}"
        )
