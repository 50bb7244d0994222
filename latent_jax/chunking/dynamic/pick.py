"""The pooling of H-Net: the vector of a chunk is that of its boundary.

Hwang et al. 2025 (arXiv 2507.07955), section 2.2, the downsampler.
"""

from latent_jax.chunking.dynamic.base import pick
from latent_jax.chunking.dynamic.parts import Pooling
from latent_jax.chunking.dynamic.registry import register


@register
class Pick(Pooling):
    """The vector at the boundary."""

    kind = "pick"

    def __call__(self, x_BTD, p_BT, cut):
        """Return the vectors at boundaries; see `Pooling`."""
        del p_BT
        return pick(x_BTD, cut)

    def step(self, x_BD, is_first_B, state):
        """Return the vector of the position; see `Pooling`."""
        del is_first_B
        return x_BD, state
