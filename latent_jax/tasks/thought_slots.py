"""What the slots of a block hold in training and in evaluation, and what its states must say.

A curriculum replaces written thoughts by vectors from the front (Hao et al. 2024, "Coconut",
section 3.1). At stage s the first s slots are vectors, and the rest of the written thought follows:

    stage 0    w1 w2 w3          written
    stage 1    z1 w2 w3
    stage k    z1 .. zk          nothing is written

With k vectors for m written tokens, stage s has taken away ceil(s m / k) of them.

Where all rows change their stage in one step, a state that results were read off is gone at once,
and the loss jumps. A mixed curriculum changes row by row: its stages follow a line, and each row
draws one of the two next to it.
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.models.reasoner import PAUSE
from latent_jax.models.thinking import Contents
from latent_jax.models.trunks import Trunks
from latent_jax.ranges import Natural, check_fields, one_of, within
from latent_jax.tasks.problem_batch import Problems

KINDS = ("none", "pause", "filler", "written", "latent")
"""What the slots of a trained reasoner hold: there are no blocks; a learned vector; a word; the
written calculation; thoughts."""


FirstStage = Annotated[float, within("[0, 1)")]
"""A share, for dataclasses."""


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """How many slots hold thoughts, over training.

    Attributes:
        n_thoughts: k, at its end.
        steps: optimizer steps of the stages from 0 to k; 0 = all slots hold thoughts from the first
            step on.
        first: the share of them of stage 0, in which written thoughts are learned. The other stages
            are equally long, and the last one goes on. Coconut's first stage is longer than the
            others (section 4.1).
        mixed: whether rows draw their stages next to a line that rises from 0, behind stage 0, to k
            at the end.
    """

    n_thoughts: Natural = 0
    steps: Natural = 0
    first: FirstStage = 0.5
    mixed: bool = False

    def __post_init__(self):
        check_fields(self, "curriculum ")

    def __call__(self, step: jax.Array, key: jax.Array, n_rows: int) -> jax.Array:
        """Return the stage of each row at a step, int32[B]; only mixed stages draw from the key."""
        k = self.n_thoughts
        if not self.steps:
            return jnp.full(n_rows, k, jnp.int32)
        n_first = min(round(self.first * self.steps), self.steps - 1)
        n_behind, n_steps = step - n_first, self.steps - n_first
        if self.mixed:
            line = jnp.clip(n_behind / n_steps, 0.0, 1.0) * k
            return jnp.floor(line + jax.random.uniform(key, n_rows)).astype(jnp.int32)
        stage = jnp.where(n_behind < 0, 0, jnp.minimum(1 + n_behind * k // n_steps, k))
        return jnp.broadcast_to(stage, n_rows).astype(jnp.int32)


class Slots(NamedTuple):
    """The slots of a batch.

    Attributes:
        contents: what they hold.
        named_BJK: int32, the written token that the state before each slot should name.
        is_written_BJK: bool, slots that hold a written token.
        is_thought_BJK: bool, slots that hold a thought.
    """

    contents: Contents
    named_BJK: jax.Array
    is_written_BJK: jax.Array
    is_thought_BJK: jax.Array

    def first(self, n_slots: int) -> "Slots":
        """Return the first slots of each block."""
        contents = self.contents
        return Slots(
            Contents(
                contents.is_thought_BJK[:, :, :n_slots],
                contents.given_BJKD[:, :, :n_slots],
                jnp.minimum(contents.n_BJ, n_slots),
            ),
            *(x_BJK[..., :n_slots] for x_BJK in self[1:]),
        )


def fill_slots(
    trunks: Trunks,
    problems: Problems,
    kind: str,
    n_thoughts: int,
    stage_B: jax.Array,
    filler_id: int,
    limit_BJ: jax.Array | None = None,
) -> Slots:
    """Return what the slots hold.

    Args:
        trunks: of the reasoner.
        problems: the batch.
        kind: one of `KINDS` except "none".
        n_thoughts: k, slots in use of a kind other than "written".
        stage_B: int32, slots of kind "latent" that hold thoughts in each row.
        filler_id: the id of kind "filler".
        limit_BJ: int32, the slots in use of each block, at most; None = no limit.
    """
    written_BJK, n_written_BJ = problems.written_BJK, problems.n_written_BJ
    slot_11K = jnp.arange(written_BJK.shape[-1])[None, None]
    n_written_BJ1, is_block_BJ = n_written_BJ[..., None], problems.breakpoints_BJ > 0
    if kind == "written":
        stage_B, n_thoughts = jnp.zeros_like(stage_B), 1
    if kind in ("pause", "filler"):
        vector_D = empty_slots(trunks, kind, filler_id)
        given_BJKD = jnp.broadcast_to(vector_D, (*written_BJK.shape, vector_D.shape[-1]))
        nothing_BJK = jnp.zeros(written_BJK.shape, bool)
        n_BJ = jnp.where(is_block_BJ, n_thoughts, 0)
        taken_BJK = is_written_BJK = is_thought_BJK = nothing_BJK
        taken_BJK = taken_BJK.astype(jnp.int32)
    else:
        stage_B1 = stage_B[:, None]
        gone_BJ = -(-stage_B1 * n_written_BJ // n_thoughts)
        n_BJ = jnp.where(is_block_BJ, stage_B1 + n_written_BJ - gone_BJ, 0)
        is_thought_BJK = jnp.broadcast_to(slot_11K < stage_B1[..., None], written_BJK.shape)
        # A thought stands for the last written token of its share.
        share_BJK = -(-(slot_11K + 1) * n_written_BJ1 // n_thoughts) - 1
        left_BJK = slot_11K - (stage_B1 - gone_BJ)[..., None]
        taken_BJK = jnp.clip(
            jnp.where(is_thought_BJK, share_BJK, left_BJK), 0, written_BJK.shape[-1] - 1
        )
        is_written_BJK = ~is_thought_BJK & (left_BJK < n_written_BJ1)
        text_BJKD = trunks.embed(jnp.take_along_axis(written_BJK, taken_BJK, axis=-1))
        pause_BJKD = jnp.broadcast_to(trunks.mark(PAUSE), text_BJKD.shape)
        given_BJKD = jnp.where(is_written_BJK[..., None], text_BJKD, pause_BJKD)
    if limit_BJ is not None:
        n_BJ = jnp.minimum(n_BJ, limit_BJ)
    is_used_BJK = slot_11K < n_BJ[..., None]
    return Slots(
        Contents(is_thought_BJK, given_BJKD, n_BJ),
        jnp.take_along_axis(written_BJK, taken_BJK, axis=-1),
        is_written_BJK & is_used_BJK,
        is_thought_BJK & is_used_BJK,
    )


def empty_slots(trunks: Trunks, kind: str, filler_id: int) -> jax.Array:
    """Return the vector of slots that hold neither a thought nor a written token, [D]."""
    return trunks.embed(jnp.int32(filler_id)) if kind == "filler" else trunks.mark(PAUSE)


SlotKind = Annotated[str, one_of(KINDS)]
"""A word of `KINDS`, for dataclasses."""
