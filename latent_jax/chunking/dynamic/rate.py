"""Exact rate control: a threshold on a router's probabilities that follows a target.

H-Net cuts where p > 1/2 and leaves the rate to a loss, which misses its target: asked for 6 bytes
per chunk, it gives 4.8. Here a chunk begins where p is above a threshold, one number per stage.
Behind each training step the threshold moves by the error of the count of boundaries (dual ascent
on the constraint), divided by the density of positions around it, so that the error is the one of
Newton's method for a quantile:

    error     = (boundaries - wanted) / density
    threshold <- threshold + drift + a error        drift <- drift + b error

While the router learns, its probabilities drift, and without the second line the threshold would
lag behind them (28 % too many chunks in a run of 129 steps). With it, a steady drift leaves no
error. It is an alpha-beta filter, critically damped: a = 1 - r^2, b = (1 - r)^2, r = 1 - 2 / N. It
averages over N steps, and N grows with the run.

The mean error goes to 0 whatever the density is: it only sets how fast. At inference the threshold
stays, so that cutting is causal.

Threshold and probabilities are compared as log-odds. What follows (confidence, smoothing, ratio
loss) reads p moved by the threshold, sigmoid(logit p - threshold), whose boundary is 1/2 as in the
paper; a threshold of 0 is the paper's.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

COLLECTION = "rate"
"""The Flax collection of thresholds."""

REACH = 0.5
"""Positions whose log-odds are nearer to the threshold than this make its density."""

LONGEST = 2.0
"""An error in log-odds counts as this at most."""

SHORTEST = 5.0
"""Steps that the first thresholds average over."""

SHARE = 0.15
"""Of the steps done, those that the threshold averages over: long enough against the noise of
batches, and short against what the router has learned in all."""

FARS = tuple(LONGEST * 0.5**k for k in range(12))
"""Distances at which it is looked whether a batch has as many boundaries as wanted. No error is
further than the first of them at which it has: where all log-odds lie in less than `REACH`, their
density is more than it seems, and thresholds would jump from one side of them to the other."""

LEAST_DENSITY = 1e-3
"""Least density, as a share of all positions per unit of log-odds."""

EDGE = 1e-6
"""Probabilities are clipped to [EDGE, 1 - EDGE] before log-odds are taken."""


def moved(p_BT: jax.Array, threshold: jax.Array) -> jax.Array:
    """Return sigmoid(logit p - threshold), float32; above 1/2 where p is above the threshold."""
    weight_BT = p_BT * jnp.exp(-threshold)
    return weight_BT / (weight_BT + (1.0 - p_BT))


def error_of(
    threshold: jax.Array,
    p_BT: jax.Array,
    is_free_BT: jax.Array,
    n_forced: jax.Array,
    n_wanted: jax.Array,
) -> jax.Array:
    """Return by how much the threshold is too low for a batch, in log-odds, float32 scalar.

    Args:
        threshold: log-odds.
        p_BT: float32, of the router.
        is_free_BT: bool, positions that the threshold decides: real, and no start of a document.
        n_forced: boundaries at starts of documents.
        n_wanted: boundaries in all that the target asks for.
    """
    p_BT = jnp.clip(p_BT, EDGE, 1.0 - EDGE)
    log_odds_BT = jnp.log(p_BT) - jnp.log1p(-p_BT)

    def count(threshold):
        return jnp.sum(is_free_BT & (log_odds_BT > threshold)).astype(jnp.float32)

    def excess_at(threshold):
        return count(threshold) + n_forced - n_wanted

    density = (count(threshold - REACH) - count(threshold + REACH)) / (2.0 * REACH)
    least = jnp.maximum(LEAST_DENSITY * jnp.sum(is_free_BT), 1.0)
    excess = excess_at(threshold)
    side = jnp.sign(excess)
    ends = (jnp.where(side * excess_at(threshold + side * far) <= 0, far, LONGEST) for far in FARS)
    most = functools.reduce(jnp.minimum, ends)
    return jnp.clip(excess / jnp.maximum(density, least), -most, most)


def gains(n_steps: jax.Array, longest: int) -> tuple[jax.Array, jax.Array]:
    """Return a and b of the filter behind a step, float32 scalars.

    Args:
        n_steps: steps done before.
        longest: N at most.
    """
    window = jnp.clip(SHARE * n_steps, SHORTEST, max(float(longest), SHORTEST))
    r = 1.0 - 2.0 / window
    return 1.0 - jnp.square(r), jnp.square(1.0 - r)


class Threshold(nn.Module):
    """The threshold of a stage, in the collection `COLLECTION`.

    Attributes:
        steps: training steps over which it averages at most; see `gains`.
    """

    steps: int

    @nn.compact
    def __call__(
        self,
        p_BT: jax.Array,
        is_free_BT: jax.Array,
        n_forced: jax.Array,
        n_wanted: jax.Array,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Return the threshold that holds for this batch; in training it moves behind it.

        See `error_of`.
        """
        names = ("threshold", "drift", "n_steps")
        scalars = (self.variable(COLLECTION, name, jnp.zeros, (), jnp.float32) for name in names)
        threshold, drift, n_steps = scalars
        now = threshold.value
        if train and not self.is_initializing():
            p_BT = jax.lax.stop_gradient(p_BT)
            error = error_of(now, p_BT, is_free_BT, n_forced, n_wanted)
            a, b = gains(n_steps.value, self.steps)
            threshold.value = now + drift.value + a * error
            drift.value = drift.value + b * error
            n_steps.value = n_steps.value + 1.0
        return now
