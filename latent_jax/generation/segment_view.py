"""Tokens of a segment that are written one by one: their positions, and what they may read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.layers.cache import Cache, put
from latent_jax.layers.view import View
from latent_jax.models.thinking import Text, sees_text
from latent_jax.models.trunks import Trunks


class SegmentView(NamedTuple):
    """Where the tokens of each lane's segment stand, and what they read.

    Attributes:
        behind_B: int32, the position of the text that the segment reads up to.
        before_B: int32, the position before its first token.
        opens_B: int32, the position behind which its block hangs; 0 = it has none.
        n_B: int32, slots in use of the block.
        is_block: bool scalar, whether this round has blocks.
        n_tokens: tokens of the segment, at most.
    """

    behind_B: jax.Array
    before_B: jax.Array
    opens_B: jax.Array
    n_B: jax.Array
    is_block: jax.Array
    n_tokens: int

    def step(self, trunks: Trunks, text: Text, slots: Cache, own: Cache, x_BD, at):
        """Read one vector per lane; number 0 is the end of a block, which the first round lacks."""
        slot = jnp.arange(slots.k_BGSd.shape[3])[None]
        place = jnp.arange(self.n_tokens + 1)[None]
        is_used_BS = (slot <= self.n_B[:, None]) & (self.opens_B > 0)[:, None]
        is_before_BS = (place < at) & ((place > 0) | self.is_block)
        view = View(
            (self.before_B + at)[:, None],
            jnp.ones((len(x_BD), 1, 1), bool),
            (
                sees_text(self.behind_B[:, None], text.x_BTD.shape[1]),
                is_used_BS[:, None],
                jnp.broadcast_to(is_before_BS, (len(x_BD), self.n_tokens + 1))[:, None],
            ),
        )
        x_B1D, new = trunks.language(x_BD[:, None], (text.language, slots, own), view)
        return put(own, new, at), x_B1D[:, 0]
