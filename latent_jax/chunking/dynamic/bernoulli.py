"""The router of ConceptMoE: the cosine of H-Net, and boundaries of training that are drawn.

Huang et al. 2026, "ConceptMoE: Adaptive Token-to-Concept Compression for Implicit Compute
Allocation" (arXiv 2601.21420); equations as in the authors' demo (ChunkModule). A boundary of
training is drawn with the sharpened probability

    p^(1 / tau)             where p > 1/2
    1 - (1 - p)^(1 / tau)   elsewhere, tau = 6

so that most draws are those of evaluation, p > 1/2, and positions near 1/2 try both. What follows,
the ratio loss too, reads p as it is. The demo has no weight of the loss; that of H-Net stands here.
"""

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.cosine import Cosine
from latent_jax.chunking.dynamic.registry import register

SHARPNESS = 6.0
"""tau; 1 leaves probabilities as they are."""


@register
class Bernoulli(Cosine):
    """The cosine of neighbours, with boundaries of training drawn near it."""

    kind = "bernoulli"
    draws = True

    def draw(self, p_BT: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return drawn boundaries, and p as it is; see `Router`."""
        return jax.random.bernoulli(key, sharpened(p_BT)), p_BT


def sharpened(p_BT: jax.Array, sharpness: float = SHARPNESS) -> jax.Array:
    """Return probabilities pulled to 0 or 1, whichever is nearer, float32 without a gradient."""
    p_BT, power = jax.lax.stop_gradient(p_BT), 1.0 / sharpness
    return jnp.where(p_BT > 0.5, p_BT**power, 1.0 - (1.0 - p_BT) ** power)
