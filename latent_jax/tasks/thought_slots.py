"""What the slots of a block hold in training and in evaluation, and what its states must say.

A curriculum replaces written thoughts by vectors from the front (Hao et al. 2024, "Coconut",
section 3.1). At stage s the first s slots are vectors, and the rest of the written thought follows:

    stage 0    w1 w2 w3          written
    stage 1    z1 w2 w3
    stage k    z1 .. zk          nothing is written

With k vectors for m written tokens, stage s has taken away ceil(s m / k) of them.
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
    """

    n_thoughts: Natural = 0
    steps: Natural = 0
    first: FirstStage = 0.5

    def __post_init__(self):
        check_fields(self, "curriculum ")

    def __call__(self, step: jax.Array) -> jax.Array:
        """Return the stage at a step, int32."""
        if not self.steps:
            return jnp.int32(self.n_thoughts)
        n_first = min(round(self.first * self.steps), self.steps - 1)
        stage = 1 + (step - n_first) * self.n_thoughts // (self.steps - n_first)
        return jnp.where(step < n_first, 0, jnp.minimum(stage, self.n_thoughts)).astype(jnp.int32)


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
    stage: jax.Array,
    filler_id: int,
    limit_BJ: jax.Array | None = None,
) -> Slots:
    """Return what the slots hold.

    Args:
        trunks: of the reasoner.
        problems: the batch.
        kind: one of `KINDS` except "none".
        n_thoughts: k, slots in use of a kind other than "written".
        stage: int32 scalar, slots of kind "latent" that hold thoughts.
        filler_id: the id of kind "filler".
        limit_BJ: int32, the slots in use of each block, at most; None = no limit.
    """
    written_BJK, n_written_BJ = problems.written_BJK, problems.n_written_BJ
    slot_11K = jnp.arange(written_BJK.shape[-1])[None, None]
    n_written_BJ1, is_block_BJ = n_written_BJ[..., None], problems.breakpoints_BJ > 0
    if kind == "written":
        stage, n_thoughts = jnp.int32(0), 1
    if kind in ("pause", "filler"):
        vector_D = empty_slots(trunks, kind, filler_id)
        given_BJKD = jnp.broadcast_to(vector_D, (*written_BJK.shape, vector_D.shape[-1]))
        nothing_BJK = jnp.zeros(written_BJK.shape, bool)
        n_BJ = jnp.where(is_block_BJ, n_thoughts, 0)
        taken_BJK = is_written_BJK = is_thought_BJK = nothing_BJK
        taken_BJK = taken_BJK.astype(jnp.int32)
    else:
        gone_BJ = -(-stage * n_written_BJ // n_thoughts)
        n_BJ = jnp.where(is_block_BJ, stage + n_written_BJ - gone_BJ, 0)
        is_thought_BJK = jnp.broadcast_to(slot_11K < stage, written_BJK.shape)
        share_BJK = last_of_share(slot_11K, n_written_BJ1, n_thoughts)
        left_BJK = slot_11K - stage + gone_BJ[..., None]
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


def last_of_share(slot, n_written, n_slots):
    """Return the number of the written token that a slot stands for: the last one of its share.

    With n slots for m written tokens, slot i stands for token ceil((i + 1) m / n) - 1, both counted
    from 0; -1 where nothing is written. Takes integers, or arrays of NumPy or JAX that broadcast.
    """
    return -(-(slot + 1) * n_written // n_slots) - 1


def empty_slots(trunks: Trunks, kind: str, filler_id: int) -> jax.Array:
    """Return the vector of slots that hold neither a thought nor a written token, [D]."""
    return trunks.embed(jnp.int32(filler_id)) if kind == "filler" else trunks.mark(PAUSE)


SlotKind = Annotated[str, one_of(KINDS)]
"""A word of `KINDS`, for dataclasses."""
