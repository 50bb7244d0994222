"""Solutions that were rolled out: their arrays, and the rows of a batch that they make."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.data.problem_rows import FIELDS, ProblemLayout
from latent_jax.data.problems import END_MARK
from latent_jax.tokenizers import Tokenizer


def texts_of(tokenizer: Tokenizer, ids_BT: np.ndarray, is_answer_BT: np.ndarray) -> list[str]:
    """Return the answers in rows as text; bytes that are no UTF-8 are kept apart.

    Args:
        tokenizer: of the ids.
        ids_BT: int32, of a text.
        is_answer_BT: bool, the tokens of the answer; a separator among them is no text.
    """
    rows = [
        ids[mask & (ids != tokenizer.separator_id)]
        for ids, mask in zip(ids_BT, is_answer_BT, strict=True)
    ]
    return [text.decode("utf-8", "surrogateescape") for text in tokenizer.decode_batch(rows)]


def answer_of(worked: str) -> str:
    """Return what the last line of a problem's worked answer states."""
    return worked.rpartition(END_MARK)[2].strip()


class Rollout(NamedTuple):
    """Solutions.

    Attributes:
        ids_BT: int32, prompt, solution, and separators behind it.
        n_text_B: int32, tokens of prompt and solution, its separator included.
        segment_BT: int32, s + 1 for a token of segment s of the solution, 0 for others.
        opens_BT: int32, the block that was opened behind a token, 0 = none.
        n_BJ: int32, slots in use of each block.
        written_BJK: int32, the tokens that were written into slots.
        nats_BT: float32, -log p of each token under the model, at temperature 1.
        is_ended_B: bool, whether the lane wrote the separator.
        thoughts_BJKD: float32, thoughts that were drawn, K of a block; None where they are no
            actions.
    """

    ids_BT: jax.Array
    n_text_B: jax.Array
    segment_BT: jax.Array
    opens_BT: jax.Array
    n_BJ: jax.Array
    written_BJK: jax.Array
    nats_BT: jax.Array
    is_ended_B: jax.Array
    thoughts_BJKD: jax.Array | None = None

    def fields(self, layout: ProblemLayout, separator_id: int) -> dict[str, jax.Array]:
        """Return the solutions as fields of a batch, laid out as `data.problem_rows` says.

        No token is marked as a result. The slots of a block count as written where they are in use.
        """
        n_rows, length = self.ids_BT.shape
        at_1T = jnp.arange(length)[None]
        is_step_BT = self.segment_BT > 1
        first_B = jnp.argmax(is_step_BT, axis=1)
        from_BN = first_B[:, None] + jnp.arange(layout.blocks_text)[None]
        is_in_BN = (from_BN < length) & is_step_BT.any(axis=1)[:, None]
        from_BN = jnp.minimum(from_BN, length - 1)
        block_BN = jnp.where(is_in_BN, jnp.take_along_axis(self.segment_BT, from_BN, 1) - 1, 0)
        block_BN = jnp.maximum(block_BN, 0)
        ids_BN = jnp.where(block_BN > 0, jnp.take_along_axis(self.ids_BT, from_BN, 1), separator_id)
        # The place in a segment: how far its first token is behind.
        starts_BT = jnp.where(
            self.segment_BT != jnp.pad(self.segment_BT[:, :-1], ((0, 0), (1, 0))), at_1T, 0
        )
        start_BT = jax.lax.cummax(starts_BT, axis=1)
        place_BN = jnp.where(block_BN > 0, from_BN - jnp.take_along_axis(start_BT, from_BN, 1), 0)
        slot_11K = jnp.arange(layout.n_slots)[None, None]
        number_1J1 = jnp.arange(1, layout.n_blocks + 1)[None, :, None]
        used_BJK = jnp.where(slot_11K < self.n_BJ[..., None], number_1J1, 0)
        slots_BJK = jnp.broadcast_to(slot_11K, used_BJK.shape)
        nothing = jnp.zeros_like(self.ids_BT), jnp.zeros_like(block_BN), jnp.zeros_like(used_BJK)
        parts = {
            "ids": (self.ids_BT, ids_BN, self.written_BJK),
            "segment": (self.segment_BT, block_BN, used_BJK),
            "place": (nothing[0], place_BN, slots_BJK),
            "opens": (self.opens_BT, *nothing[1:]),
            "result": nothing,
        }
        return {
            name: jnp.concatenate([x.reshape(n_rows, -1) for x in parts[name]], axis=1)
            for name in FIELDS
        }
