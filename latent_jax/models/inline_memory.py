"""Where the parts of an inline row are, what was read of them, and who reads what.

A row is question, segment 0, then start, thoughts, end and a segment for each block; see
`models.inline_thinking`. Keys of blocks are kept in a `Memory` of static size, in which blocks have
equal room, and `before` says which of them a block reads.
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.layers.cache import Cache
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.ranges import at_least, check_fields


@dataclasses.dataclass(frozen=True)
class Inline:
    """What the inline layout is told.

    Attributes:
        step: W, tokens of a segment behind a block, at most; its separator counts.
        hides_steps: whether only thoughts carry what earlier segments said.

    Raises:
        ValueError: a value is out of range.
    """

    step: Annotated[int, at_least(1)]
    hides_steps: bool = False

    def __post_init__(self):
        check_fields(self, "Inline.")


class Rows(NamedTuple):
    """Where the blocks of rows are, as far as it is known.

    Attributes:
        opens_BJ: int32, the position of the plain text behind which each block hangs; 0 = no block.
        n_BJ: int32, slots in use behind start; those of later blocks do not matter.
        n_step_BJ: int32, tokens of each segment; those of this and later blocks do not matter.
        n_question_B: int32, tokens of the question.
    """

    opens_BJ: jax.Array
    n_BJ: jax.Array
    n_step_BJ: jax.Array
    n_question_B: jax.Array

    @property
    def starts_BJ(self) -> jax.Array:
        """The position of each start: the text before it, and all slots and marks before it."""
        taken_BJ = self.n_BJ + 2
        return self.opens_BJ + 1 + jnp.cumsum(taken_BJ, axis=1) - taken_BJ


class Memory(NamedTuple):
    """Keys and values of blocks, whole blocks one after the other.

    Attributes:
        slots: of start and thoughts by the trunk that thinks, [L, B, G, J S, d].
        sent: the same by the language trunk, where it reads thoughts as inputs; else None.
        steps: of end and W tokens of each segment, [L, B, G, J (W + 1), d].
    """

    slots: Cache
    sent: Cache | None
    steps: Cache

    @classmethod
    def empty(cls, config: ReasonerConfig, n_rows: int, n_slots: int, inline: Inline) -> "Memory":
        """Return the memory before the first block; n_slots is K."""
        n_blocks = config.layout.n_blocks
        slots = config.model.empty_cache(n_rows, n_blocks * (n_slots + 1))
        steps = config.model.empty_cache(n_rows, n_blocks * (inline.step + 1))
        return cls(slots, slots if config.has_message_pass else None, steps)

    @property
    def heard(self) -> Cache:
        """What the language trunk reads of slots."""
        return self.slots if self.sent is None else self.sent


def before(
    inline: Inline,
    memory: Memory,
    rows: Rows,
    block: jax.Array,
    n_positions: int,
    *,
    by_thoughts: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return which keys of text, slots and steps are read, bool[B, T], [B, M] and [B, M].

    Segments read the slots of their block; the rest of the own block is left to the caller.

    Args:
        inline: of the layout.
        memory: of the rows.
        rows: where blocks are.
        block: int32 scalar, the block that reads, from 0.
        n_positions: T, of the plain text.
        by_thoughts: whether start and thoughts read, and not end and segment.
    """
    n_rows, n_blocks = rows.opens_BJ.shape
    number_1J1 = jnp.arange(n_blocks)[None, :, None]
    slot_11S, place_11P = (
        jnp.arange(cache.k_BGSd.shape[3] // n_blocks)[None, None]
        for cache in (memory.slots, memory.steps)
    )
    is_earlier_1J1 = number_1J1 < block
    is_read_1J1 = is_earlier_1J1 if by_thoughts else number_1J1 <= block
    slots_BJS = is_read_1J1 & (slot_11S <= rows.n_BJ[..., None])
    steps_BJP = is_earlier_1J1 & (place_11P <= rows.n_step_BJ[..., None])
    n_text_B = rows.opens_BJ[:, 0]
    if inline.hides_steps:
        n_text_B = jnp.where((block == 0) & by_thoughts, n_text_B, rows.n_question_B)
        steps_BJP &= (place_11P == 0) | ((number_1J1 == block - 1) & by_thoughts)
    text_BT = jnp.arange(n_positions)[None] <= n_text_B[:, None]
    is_here_B1 = (of_block(rows.opens_BJ, block) > 0)[:, None]
    masks = (text_BT, slots_BJS.reshape(n_rows, -1), steps_BJP.reshape(n_rows, -1))
    return tuple(mask_BM & is_here_B1 for mask_BM in masks)


def of_block(x_BJ: jax.Array, block: jax.Array) -> jax.Array:
    """Return the column of a block, [B]."""
    return jax.lax.dynamic_index_in_dim(x_BJ, block, 1, keepdims=False)
