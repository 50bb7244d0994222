"""Exact rate control: a threshold on a router's probabilities that follows a target.

H-Net cuts where p > 1/2 and leaves the rate to a loss, which misses its target: asked for 6 bytes
per chunk, it gives 4.8. Here a chunk begins where p is above a threshold, one number per stage.
After each training step the threshold moves by the error of the count of boundaries (dual ascent on
the constraint), divided by the density of positions around it, so that a step is the one of Newton
for a quantile:

    threshold <- threshold + gain (boundaries - wanted) / density

The error of the mean count goes to 0 whatever the density is: it only sets how fast. At inference
the threshold stays, so that cutting is causal.

Threshold and probabilities are compared as log-odds. What follows (confidence, smoothing, ratio
loss) reads p moved by the threshold, sigmoid(logit p - threshold), whose boundary is 1/2 as in the
paper; a threshold of 0 is the paper's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

COLLECTION = "rate"
"""The Flax collection of thresholds."""

REACH = 0.5
"""Positions whose log-odds are nearer to the threshold than this make its density."""

LONGEST = 2.0
"""A step changes log-odds by this at most."""

LEAST_DENSITY = 1e-3
"""Least density, as a share of all positions per unit of log-odds."""

EDGE = 1e-6
"""Probabilities are clipped to [EDGE, 1 - EDGE] before log-odds are taken."""


def moved(p_BT: jax.Array, threshold: jax.Array) -> jax.Array:
    """Return sigmoid(logit p - threshold), float32; above 1/2 where p is above the threshold."""
    weight_BT = p_BT * jnp.exp(-threshold)
    return weight_BT / (weight_BT + (1.0 - p_BT))


def follow(
    threshold: jax.Array,
    p_BT: jax.Array,
    is_free_BT: jax.Array,
    n_forced: jax.Array,
    n_wanted: jax.Array,
    gain: jax.Array,
) -> jax.Array:
    """Return the threshold after a step, float32 scalar.

    Args:
        threshold: log-odds.
        p_BT: float32, of the router.
        is_free_BT: bool, positions that the threshold decides: real, and no start of a document.
        n_forced: boundaries at starts of documents.
        n_wanted: boundaries in all that the target asks for.
        gain: share of the error that is corrected.
    """
    p_BT = jnp.clip(p_BT, EDGE, 1.0 - EDGE)
    log_odds_BT = jnp.log(p_BT) - jnp.log1p(-p_BT)

    def count(threshold):
        return jnp.sum(is_free_BT & (log_odds_BT > threshold)).astype(jnp.float32)

    density = (count(threshold - REACH) - count(threshold + REACH)) / (2.0 * REACH)
    least = jnp.maximum(LEAST_DENSITY * jnp.sum(is_free_BT), 1.0)
    step = (count(threshold) + n_forced - n_wanted) / jnp.maximum(density, least)
    return threshold + gain * jnp.clip(step, -LONGEST, LONGEST)


class Threshold(nn.Module):
    """The threshold of a stage, in the collection `COLLECTION`.

    Attributes:
        steps: training steps over which it averages: its gain is 1 / steps, and more in the first
            ones, 1 / (steps done + 1).
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

        See `follow`.
        """
        threshold = self.variable(COLLECTION, "threshold", jnp.zeros, (), jnp.float32)
        n_steps = self.variable(COLLECTION, "n_steps", jnp.zeros, (), jnp.float32)
        now = threshold.value
        if train and not self.is_initializing():
            gain = jnp.maximum(1.0 / (n_steps.value + 1.0), 1.0 / self.steps)
            p_BT = jax.lax.stop_gradient(p_BT)
            threshold.value = follow(now, p_BT, is_free_BT, n_forced, n_wanted, gain)
            n_steps.value = n_steps.value + 1.0
        return now
