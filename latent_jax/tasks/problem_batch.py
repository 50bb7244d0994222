"""A batch of problems, taken apart on the device; `data.problem_rows` has its layout."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

from latent_jax.contracts import Batch
from latent_jax.data.problem_rows import ProblemLayout


class Problems(NamedTuple):
    """The regions of a batch of problems. T, N, J and K are the four sizes of its layout.

    Attributes:
        ids_BT: int32, the text: question, answer and separator.
        segment_BT: int32, s + 1 for a token of segment s of the answer, 0 for others.
        is_result_BT: bool, tokens that state a result.
        opens_BT: int32, the block behind a token, 0 = none.
        block_ids_BN: int32, the tokens of segments 1, 2, ... once more.
        block_BN: int32, their blocks, from 1; 0 = padding.
        place_BN: int32, their places in the segment.
        block_is_result_BN: bool.
        written_BJK: int32, the tokens of the written thoughts.
        n_written_BJ: int32, how many.
        is_scored_B: bool, rows that count; the others may still lend their thoughts.
    """

    ids_BT: jax.Array
    segment_BT: jax.Array
    is_result_BT: jax.Array
    opens_BT: jax.Array
    block_ids_BN: jax.Array
    block_BN: jax.Array
    place_BN: jax.Array
    block_is_result_BN: jax.Array
    written_BJK: jax.Array
    n_written_BJ: jax.Array
    is_scored_B: jax.Array

    @classmethod
    def of(cls, batch: Batch, layout: ProblemLayout) -> Self:
        """Return the regions of a batch."""
        text = slice(0, layout.text_end)
        blocks = slice(layout.text_end, layout.blocks_end)
        written = slice(layout.blocks_end, layout.length)
        shape = (len(batch["ids"]), layout.n_blocks, layout.n_slots)
        is_written_BJK = batch["segment"][:, written].reshape(shape) > 0
        return cls(
            ids_BT=batch["ids"][:, text],
            segment_BT=batch["segment"][:, text],
            is_result_BT=batch["result"][:, text] > 0,
            opens_BT=batch["opens"][:, text],
            block_ids_BN=batch["ids"][:, blocks],
            block_BN=batch["segment"][:, blocks],
            place_BN=batch["place"][:, blocks],
            block_is_result_BN=batch["result"][:, blocks] > 0,
            written_BJK=batch["ids"][:, written].reshape(shape),
            n_written_BJ=jnp.sum(is_written_BJK, axis=-1, dtype=jnp.int32),
            is_scored_B=(batch["weights"] > 0).any(axis=1),
        )

    @property
    def is_answer_BT(self) -> jax.Array:
        """Whether a token of the text is one of the answer's and counts, bool."""
        return (self.segment_BT > 0) & self.is_scored_B[:, None]

    @property
    def is_block_token_BN(self) -> jax.Array:
        """Whether a token of a segment is no padding and counts, bool."""
        return (self.block_BN > 0) & self.is_scored_B[:, None]

    @property
    def is_block_BJ(self) -> jax.Array:
        """Whether a block is there and counts, bool."""
        return (self.breakpoints_BJ > 0) & self.is_scored_B[:, None]

    @property
    def breakpoints_BJ(self) -> jax.Array:
        """The inputs before each block, the separator included, int32; 0 where there is none.

        It is the position of the text, as `models.thinking` counts, behind which the block hangs.
        """
        n_blocks = self.n_written_BJ.shape[1]
        is_here_BTJ = self.opens_BT[..., None] == jnp.arange(1, n_blocks + 1)[None, None]
        behind_1T1 = jnp.arange(1, self.ids_BT.shape[1] + 1)[None, :, None]
        return jnp.sum(jnp.where(is_here_BTJ, behind_1T1, 0), axis=1, dtype=jnp.int32)

    @property
    def n_step_BJ(self) -> jax.Array:
        """The tokens of the segment of each block, int32."""
        numbers_1J1 = jnp.arange(1, self.n_written_BJ.shape[1] + 1)[None, :, None]
        return jnp.sum(self.block_BN[:, None] == numbers_1J1, axis=-1, dtype=jnp.int32)

    @property
    def n_question_B(self) -> jax.Array:
        """The tokens before the answer, int32; 0 where there is no problem."""
        return jnp.argmax(self.segment_BT > 0, axis=1).astype(jnp.int32)

    @property
    def opens_next_BN(self) -> jax.Array:
        """Whether the next block hangs behind a token of a segment, bool."""
        following_BN = jnp.pad(self.block_BN[:, 1:], ((0, 0), (0, 1)))
        return (self.block_BN > 0) & (following_BN == self.block_BN + 1)

    @property
    def asks_start_BT(self) -> jax.Array:
        """Whether a writer decides, behind a token of the text, if a block opens there, bool.

        It writes segment 0 in the text, and all others in blocks.
        """
        is_followed_BT = jnp.pad(self.segment_BT[:, 1:] > 0, ((0, 0), (0, 1)))
        return (self.segment_BT == 1) & (is_followed_BT | (self.opens_BT > 0))

    @property
    def asks_start_BN(self) -> jax.Array:
        """The same behind a token of a segment: the last block opens no other."""
        n_blocks = self.n_written_BJ.shape[1]
        return (self.block_BN > 0) & (self.block_BN < n_blocks) & ~self.ends_BN

    def ends_with(self, separator_id: int) -> jax.Array:
        """Return whether the answer of a row holds its end, bool[B].

        A solution that was cut has separators behind it too, but they are no part of its answer.
        """
        return ((self.segment_BT > 0) & (self.ids_BT == separator_id)).any(axis=1)

    @property
    def ends_BN(self) -> jax.Array:
        """Whether a token of a segment is the end of its text, bool."""
        following_BN = jnp.pad(self.block_BN[:, 1:], ((0, 0), (0, 1)))
        return (self.block_BN > 0) & (following_BN == 0)
