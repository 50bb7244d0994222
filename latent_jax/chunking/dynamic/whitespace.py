"""Chunks that begin where a word has ended.

Slagle 2024, "SpaceByte" (arXiv 2404.14408), section 2: a byte is spacelike if it is no letter, no
digit and no continuation byte of UTF-8; a boundary is at a spacelike byte behind one that is not.
The network over chunks runs when the byte behind a word has been read, and so predicts words.

The text decides the rate, and not n, which then only sets the capacity.
"""

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register

IS_SPACELIKE = np.array(
    [not (byte < 128 and chr(byte).isalnum()) and not 128 <= byte < 192 for byte in range(256)]
)
"""For each byte."""


@register
class Whitespace(Router):
    """A boundary at the first byte behind a word."""

    kind = "whitespace"
    is_soft = False
    learns = False
    weight = 0.0
    reads_ids = True

    def __call__(self, sight: Sight) -> jax.Array:
        """Return 1 at a spacelike byte behind one that is not; see `Router`."""
        return (is_spacelike(sight.ids_BT) & ~is_spacelike(sight.before_BT)).astype(jnp.float32)


def is_spacelike(ids_BT: jax.Array) -> jax.Array:
    """Return bool[B, T]; the separator is, because it is no byte of a word."""
    table = jnp.asarray(IS_SPACELIKE)
    return jnp.where(ids_BT < 256, table[jnp.minimum(ids_BT, 255)], True)
