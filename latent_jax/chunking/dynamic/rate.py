"""Exact rate control: a threshold on a router's probabilities that follows a target.

H-Net cuts where p > 1/2 and leaves the rate to a loss, which misses its target: asked for 6 bytes
per chunk, it gives 4.8. Here a chunk begins where p is above a threshold, one number per stage.
Behind each training step the threshold moves towards the one that would have cut that batch as is
wanted, which is found by bisection:

    error     = threshold of the batch - threshold
    threshold <- threshold + drift + a error        drift <- drift + b error

While the router learns, its probabilities drift, and without the second line the threshold would
lag behind them (28 % too many chunks in a run of 129 steps). With it, a steady drift leaves no
error. It is an alpha-beta filter, critically damped: a = 1 - r^2, b = (1 - r)^2, r = 1 - 2 / N. It
averages over N steps, and N grows with the run. Boundaries that found no room in their row are no
chunks, and are not counted as such.

The threshold of training has to follow the router closely, and so has the noise of few batches. At
inference another one holds, so that cutting is causal: it is fitted to the thresholds of the last
batches, by straight lines over windows of several lengths, continued to the next step. The longest
window counts whose line agrees with those of all shorter ones within their noise (intersection of
confidence intervals; Goldenshluger and Nemirovski 1997). So it averages over few steps while the
router changes its mind, and over many when the learning rate has fallen. It is learned from text of
training alone.

A step is an observation here. With `training.accumulation` each micro-batch is one: thresholds move
behind each, and all windows but the two shortest are shares of the observations so far, so that
they hold as much text as without. Schedules are stated in optimizer steps and multiplied where the
model is made.

Threshold and probabilities are compared as log-odds. What follows (confidence, smoothing, ratio
loss) reads p moved by the threshold, sigmoid(logit p - threshold), whose boundary is 1/2 as in the
paper; a threshold of 0 is the paper's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

COLLECTION = "rate"
"""The Flax collection of thresholds."""

LONGEST = 2.0
"""An error in log-odds counts as this at most."""

SHORTEST = 5.0
"""Steps that the first thresholds average over."""

SHARE = 0.05
"""Of the steps done, those that the threshold of training averages over. With 0.15 the rate of
training was off by 5 to 15 % in the middle of a run of 300 steps of 2 kB, with 0.05 by 1 to 3 %."""

FIRST_WINDOW, GROWTH = 8, 1.5
"""Steps of the shortest line, and how much longer each next one is."""

WIDTH = 1.3
"""Half of an interval of confidence, in standard deviations of the end of its line."""

HELD_SHARE = 0.15
"""Of the steps done, those of the longest line."""

NOISE_STEPS = 40
"""The noise of an observation is taken from the differences of so many neighbours."""

MOST_STEPS = 1024
"""Observations that are kept at most."""

HALVINGS = 16
"""Of the log-odds from -LONGEST to LONGEST, which are then known to 6e-5."""

EDGE = 1e-6
"""Probabilities are clipped to [EDGE, 1 - EDGE] before log-odds are taken."""


def moved(p_BT: jax.Array, threshold: jax.Array) -> jax.Array:
    """Return sigmoid(logit p - threshold), float32; above 1/2 where p is above the threshold."""
    p_BT = jnp.clip(p_BT, EDGE, 1.0 - EDGE)
    weight_BT = p_BT * jnp.exp(-threshold)
    return weight_BT / (weight_BT + (1.0 - p_BT))


def error_of(
    threshold: jax.Array,
    p_BT: jax.Array,
    is_free_BT: jax.Array,
    starts_BT: jax.Array,
    n_wanted: jax.Array,
    capacity: int,
) -> jax.Array:
    """Return by how much the threshold is too low for a batch, in log-odds, float32 scalar.

    Where several thresholds cut as is wanted, the middle one counts.

    Args:
        threshold: log-odds.
        p_BT: float32, of the router.
        is_free_BT: bool, positions that the threshold decides: real, and no start of a document.
        starts_BT: bool, boundaries at starts of documents.
        n_wanted: chunks in all that the target asks for.
        capacity: chunks that a row has room for.
    """
    p_BT = jnp.clip(p_BT, EDGE, 1.0 - EDGE)
    log_odds_BT = jnp.log(p_BT) - jnp.log1p(-p_BT) - threshold

    def n_chunks(offset):
        is_boundary_BT = (is_free_BT & (log_odds_BT > offset)) | starts_BT
        n_B = jnp.minimum(jnp.sum(is_boundary_BT, axis=1), capacity)
        return jnp.sum(n_B).astype(jnp.float32)

    def halve(_, ends):
        """Narrow two intervals: where too many chunks end, and where too few begin."""
        (low, high), (least, most) = ends
        middle, other = (low + high) / 2.0, (least + most) / 2.0
        are_many, are_few = n_chunks(middle) > n_wanted, n_chunks(other) < n_wanted
        return (
            (jnp.where(are_many, middle, low), jnp.where(are_many, high, middle)),
            (jnp.where(are_few, least, other), jnp.where(are_few, other, most)),
        )

    whole = (jnp.float32(-LONGEST), jnp.float32(LONGEST))
    (_, first), (last, _) = jax.lax.fori_loop(0, HALVINGS, halve, (whole, whole))
    return (first + last) / 2.0


def gains(n_steps: jax.Array, longest: int) -> tuple[jax.Array, jax.Array]:
    """Return a and b of the filter behind a step, float32 scalars.

    Args:
        n_steps: steps done before.
        longest: N at most.
    """
    window = jnp.clip(SHARE * n_steps, SHORTEST, max(float(longest), SHORTEST))
    r = 1.0 - 2.0 / window
    return 1.0 - jnp.square(r), jnp.square(1.0 - r)


def lines(memory: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows, int[W], and for each the weights of its line one step on, float32[W, M].

    A line by least squares is a weighted sum of what it is fitted to; its noise is that of one
    observation times the length of the weights.

    Args:
        memory: M, observations that are kept, the newest last.
    """
    windows = [FIRST_WINDOW]
    while windows[-1] < memory:
        windows.append(min(memory, round(GROWTH * windows[-1])))
    weights_WM = np.zeros((len(windows), memory), np.float32)
    for weights_M, window in zip(weights_WM, windows, strict=True):
        places = np.stack([np.ones(window), np.arange(-window, 0.0)])
        weights_M[-window:] = np.linalg.pinv(places)[:, 0]  # the line at 0, behind the newest
    return np.array(windows), weights_WM


def fitted(past_M: jax.Array, n_seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return what the observations point to, and the steps of its line, 0 for none: scalars.

    Args:
        past_M: float32, the newest last.
        n_seen: how many there are.
    """
    windows, weights_WM = lines(past_M.shape[0])
    ends_W = jnp.sum(weights_WM * past_M[None], axis=1)
    step_N = past_M[1:][-NOISE_STEPS:] - past_M[:-1][-NOISE_STEPS:]
    is_seen_N = jnp.arange(step_N.shape[0], 0, -1) < n_seen
    square = jnp.sum(jnp.where(is_seen_N, jnp.square(step_N), 0.0)) / jnp.maximum(
        2.0 * jnp.sum(is_seen_N), 1.0
    )
    half_W = WIDTH * jnp.sqrt(square) * np.linalg.norm(weights_WM, axis=1)
    is_short_W = windows <= jnp.maximum(HELD_SHARE * n_seen, FIRST_WINDOW)
    low_W = jax.lax.cummax(ends_W - half_W)
    high_W = jax.lax.cummin(ends_W + half_W)
    n_agree = jnp.sum((low_W <= high_W) & (windows <= n_seen) & is_short_W)
    at = jnp.maximum(n_agree - 1, 0)
    return ends_W[at], jnp.where(n_agree > 0, jnp.asarray(windows)[at], 0)


class Threshold(nn.Module):
    """The thresholds of a stage, in the collection `COLLECTION`.

    Attributes:
        steps: observations that they average over at most; see `gains` and `fitted`.
    """

    steps: int

    def setup(self):
        """Create the state."""
        self.threshold, self.drift, self.held, self.n_steps = (
            self.variable(COLLECTION, name, jnp.zeros, (), jnp.float32)
            for name in ("threshold", "drift", "held", "n_steps")
        )
        memory = max(self.steps, FIRST_WINDOW)
        self.past = self.variable(COLLECTION, "past", jnp.zeros, memory, jnp.float32)

    @property
    def n_done(self) -> jax.Array:
        """Observations that it has followed, float32 scalar."""
        return self.n_steps.value

    def now(self, *, train: bool) -> jax.Array:
        """Return the threshold of training, or the one of inference, float32 scalar."""
        return self.threshold.value if train else self.held.value

    def follow(
        self,
        p_BT: jax.Array,
        is_free_BT: jax.Array,
        starts_BT: jax.Array,
        n_wanted: jax.Array,
        capacity: int,
    ) -> None:
        """Move both behind a batch of training; see `error_of`."""
        if self.is_initializing():
            return
        now, n_seen = self.threshold.value, self.n_steps.value + 1.0
        p_BT = jax.lax.stop_gradient(p_BT)
        error = error_of(now, p_BT, is_free_BT, starts_BT, n_wanted, capacity)
        a, b = gains(self.n_steps.value, self.steps)
        self.threshold.value = now + self.drift.value + a * error
        self.drift.value = self.drift.value + b * error
        self.past.value = jnp.concatenate([self.past.value[1:], (now + error)[None]])
        held, window = fitted(self.past.value, n_seen)
        self.held.value = jnp.where(window > 0, held, self.threshold.value)
        self.n_steps.value = n_seen
