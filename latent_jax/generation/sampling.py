"""From logits to one id: repetition penalty, temperature, top-k and the nucleus (top-p), in turn.

Top-k sampling is Fan et al. 2018 ("Hierarchical Neural Story Generation", section 5.4), nucleus
sampling Holtzman et al. 2020 ("The Curious Case of Neural Text Degeneration", section 3.1). Fifty
2025 samples latents with temperature 0.9, top-p 0.95 and top-k 50. The repetition penalty is that
of Keskar et al. 2019 ("CTRL", section 4.1), which divides the logits of ids that were seen before.
Negative logits are multiplied instead, as Hugging Face does: division would make ids likelier.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from latent_jax.ranges import check

ROUNDING = 4e-6
"""Share of `top_p` by which a float32 sum of probabilities may miss it: 32 steps of float32, more
than a softmax over 65,536 ids and a sum over its largest lose (a test measures it)."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How ids are drawn.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest id (greedy).
        top_k: only the `top_k` likeliest ids can be drawn; 0 = all. Of equally likely ids the one
            with the lower number is taken.
        top_p: of those, only the smallest set of the likeliest whose probabilities sum to at least
            this, within `ROUNDING`; 1 = all. At least one id is left.
        repetition_penalty: lowers the logits of ids that a lane has read in its prompt or drawn,
            see `penalized`; 1 = off, 1.2 in the paper. The separator before a prompt does not count
            as read.

    Raises:
        ValueError: a number is outside its range.
    """

    temperature: float = 0.9
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.0

    def __post_init__(self):
        """Check ranges."""
        check("top_k", self.top_k, int)
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be at least 0; got {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0 (0 = all ids); got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1; got {self.top_p}")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise ValueError(
                f"repetition_penalty must be above 0 (1 = off); got {self.repetition_penalty}"
            )

    @property
    def needs_seen(self) -> bool:
        """Whether sampling needs the ids that each lane has seen."""
        return self.repetition_penalty != 1


def penalized(logits_BV: jax.Array, seen_BV: jax.Array, penalty: float) -> jax.Array:
    """Return logits float32[B, V] with a penalty on seen ids.

    A seen id's logit is divided by the penalty if it is above 0, else multiplied by it.

    Args:
        logits_BV: float32.
        seen_BV: bool, True where the lane has seen the id; how often does not matter.
        penalty: above 0; above 1 it makes seen ids less likely.
    """
    pushed_BV = jnp.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return jnp.where(seen_BV, pushed_BV, logits_BV)


def log_probabilities(
    logits_BV: jax.Array, sampling: Sampling, seen_BV: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return the ids that can be drawn, likeliest first, and their log-probabilities.

    Args:
        logits_BV: float32.
        sampling: how ids are drawn. K below is `top_k`; it is V if that is 0 or more than V, and 1
            if the choice is greedy.
        seen_BV: bool, the ids that each lane has seen; read only if `sampling.needs_seen`.

    Returns:
        Log-probabilities float32[B, K], -inf outside of the nucleus, and ids int32[B, K].

    Raises:
        ValueError: there is a repetition penalty and no `seen_BV`.
    """
    if sampling.needs_seen:
        if seen_BV is None:
            raise ValueError(
                f"repetition_penalty={sampling.repetition_penalty} needs the ids that each lane "
                "has seen: start the lanes with tracks_seen=True"
            )
        logits_BV = penalized(logits_BV, seen_BV, sampling.repetition_penalty)
    n_ids = logits_BV.shape[-1]
    k = 1 if sampling.temperature == 0 else min(sampling.top_k or n_ids, n_ids)
    logits_BK, ids_BK = jax.lax.top_k(logits_BV.astype(jnp.float32), k)
    if sampling.temperature == 0:
        return jnp.zeros_like(logits_BK), ids_BK
    log_p_BK = jax.nn.log_softmax(logits_BK / sampling.temperature, axis=-1)
    if sampling.top_p < 1:
        is_inside_BK = in_nucleus(jnp.exp(log_p_BK), sampling.top_p)
        log_p_BK = jax.nn.log_softmax(jnp.where(is_inside_BK, log_p_BK, -jnp.inf), axis=-1)
    return log_p_BK, ids_BK


def in_nucleus(p_BK: jax.Array, top_p: float) -> jax.Array:
    """Return bool[B, K]: the first ids whose probabilities reach `top_p`, one at least.

    An id is inside if the sum of those before it is less than `top_p`. Probabilities are float32
    and come from logits, so that a sum that equals `top_p` on paper lies a little beside it: it
    counts as reached within `ROUNDING`, or one id too many would be kept.

    Args:
        p_BK: float32, likeliest first; their sum is 1.
        top_p: above 0.
    """
    sum_BK = jnp.cumsum(p_BK, axis=-1)
    before_BK = jnp.pad(sum_BK[:, :-1], ((0, 0), (1, 0)))
    return (before_BK < top_p * (1.0 - ROUNDING)).at[:, 0].set(True)


def sample(
    keys_B: jax.Array, logits_BV: jax.Array, sampling: Sampling, seen_BV: jax.Array | None = None
) -> jax.Array:
    """Draw one id per lane, int32[B].

    Args:
        keys_B: typed keys, one per lane, so that a lane's draw does not depend on its neighbours.
        logits_BV: float32.
        sampling: how ids are drawn.
        seen_BV: see `log_probabilities`.

    Raises:
        ValueError: see `log_probabilities`.
    """
    log_p_BK, ids_BK = log_probabilities(logits_BV, sampling, seen_BV)
    if sampling.temperature == 0:
        return ids_BK[:, 0]
    at_B = jax.vmap(jax.random.categorical)(keys_B, log_p_BK)
    return jnp.take_along_axis(ids_BK, at_B[:, None], axis=1)[:, 0]
