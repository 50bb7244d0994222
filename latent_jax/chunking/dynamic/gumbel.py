"""Boundaries learned from end to end by a relaxed sample, with a prior on how many there are.

Nawrot et al. 2023 (arXiv 2211.09761), section 2.2, "Gumbel sigmoid". In training a boundary is
drawn by the relaxed Bernoulli distribution (Maddison et al. 2017, arXiv 1611.00712), l the
predictor's log-odds, u uniform, at temperature 0.5:

    s_t = sigmoid((l_t + log u - log(1 - u)) / 0.5)        b_t = 1 where s_t > 1/2

so that b_t is 1 with the predictor's probability. Gradients take b_t for s_t. The prior is that
the number of boundaries of a row of T positions is binomial:

    L = -1/T log Binomial(sum_t b_t; T, alpha)    alpha = 1 / rate

Evaluation has a boundary where p > 1/2, or where the threshold says so. The threshold does not
move the draws: the prior holds the rate of training, and both would push against each other.

What is ours: log-odds are counted from those of the alpha that training begins with, not from 0. A
predictor that knows nothing then draws as many boundaries as are aimed at, also where the rate
moves with the run, and a row has room for them. The authors begin with half of all positions and
arrays that are as long as needed. Boundaries at the starts of documents count.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from latent_jax.chunking.dynamic.parts import Sight
from latent_jax.chunking.dynamic.predictor import Predictor
from latent_jax.chunking.dynamic.rate import EDGE
from latent_jax.chunking.dynamic.registry import register

TEMPERATURE = 0.5


@register
class Gumbel(Predictor):
    """Boundaries drawn by a relaxed Bernoulli distribution, under a binomial prior."""

    kind = "gumbel"
    draws = True
    is_relaxed = True

    def __call__(self, sight: Sight) -> jax.Array:
        """Return p_t; see `Router`."""
        first = self.first_rate or self.rate
        return jax.nn.sigmoid(self.log_odds(sight) - jnp.log(first - 1.0))

    def draw(self, p_BT: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return b_t and s_t; see `Router`."""
        p_BT = jnp.clip(p_BT, EDGE, 1.0 - EDGE)
        noise_BT = jax.random.logistic(key, p_BT.shape, jnp.float32)
        soft_BT = jax.nn.sigmoid((jnp.log(p_BT) - jnp.log1p(-p_BT) + noise_BT) / TEMPERATURE)
        return soft_BT > 0.5, soft_BT

    @staticmethod
    def loss(is_boundary_BT, p_BT, mask_BT, rate):
        """Return the prior, the mean over rows that are not all padding; see `Router`."""
        hard_BT = is_boundary_BT.astype(jnp.float32)
        through_BT = hard_BT + p_BT - jax.lax.stop_gradient(p_BT)
        n_B = jnp.sum(mask_BT, axis=1).astype(jnp.float32)
        count_B = jnp.sum(jnp.where(mask_BT, through_BT, 0.0), axis=1)
        nats_B = binomial_nats(count_B, n_B, 1.0 / rate) / jnp.maximum(n_B, 1.0)
        return jnp.sum(nats_B) / jnp.maximum(jnp.sum(n_B > 0), 1).astype(jnp.float32)


def binomial_nats(count_B: jax.Array, n_B: jax.Array, alpha: float) -> jax.Array:
    """Return -log Binomial(count; n, alpha), float32[B]; its derivative in count is defined.

    Args:
        count_B: float32, 0 to n.
        n_B: float32, whole numbers.
        alpha: probability of one.
    """
    ways_B = gammaln(n_B + 1.0) - gammaln(count_B + 1.0) - gammaln(n_B - count_B + 1.0)
    return -(ways_B + count_B * jnp.log(alpha) + (n_B - count_B) * jnp.log1p(-alpha))
