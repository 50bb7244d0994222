"""What one round of a roll-out draws: slots, how many of them, tokens, and where blocks open.

Two streams and inline rows share it. A round writes one segment in every lane: it thinks, and
writes until the lane opens the next block or ends.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from latent_jax.generation.sampling import Sampling, sample
from latent_jax.generation.solution_arrays import Rollout
from latent_jax.models.trunks import Trunks
from latent_jax.ranges import at_least, check_fields
from latent_jax.tasks.reasoning_scores import logits
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_slots import empty_slots

GREEDY = Sampling(temperature=0.0)
"""The likeliest token, and what is likelier of yes and no."""


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How a solution is drawn.

    Attributes:
        segment: tokens of a segment, at most; a lane that needs more ends there.
        sampling: how tokens are drawn; its temperature is also that of the decisions to open a
            block and to end thinking.
        thinks: whether blocks may be opened at all.
        limit: slots in use of a block, at most; -1 = as many as the reasoner was trained with.
    """

    segment: Annotated[int, at_least(1)]
    sampling: Sampling = GREEDY
    thinks: bool = True
    limit: Annotated[int, at_least(-1)] = -1

    def __post_init__(self):
        check_fields(self, "decoding ")
        if self.sampling.needs_seen:
            raise ValueError(
                f"repetition_penalty={self.sampling.repetition_penalty} is not for solutions, "
                "which repeat numbers: leave it at 1"
            )


@dataclasses.dataclass(frozen=True)
class Round:
    """The decisions of a round.

    Attributes:
        thinker: the reasoner.
        trunks: the same with parameters.
        decoding: how it draws.
        keys_B: typed keys of this round, one for each lane.
    """

    thinker: Thinker
    trunks: Trunks
    decoding: Decoding
    keys_B: jax.Array

    def next_slot(self, h_B1D: jax.Array, slot: Any) -> tuple[jax.Array, jax.Array]:
        """Return what the next slot holds, [B, 1, D], and the ids that were written into it.

        Args:
            h_B1D: the states behind the slot before.
            slot: its number, and the numbers of `slot_noise` where thoughts have noise.
        """
        thinker, trunks = self.thinker, self.trunks
        if thinker.draws_tokens:
            logits_BV = logits(trunks, h_B1D)[:, 0]
            ids_B = sample(self._keys(slot[0], 2), logits_BV, self.decoding.sampling)
            if thinker.noise.has_tokens:
                return trunks.mix(ids_B[:, None], h_B1D), ids_B
            return trunks.embed(ids_B)[:, None], ids_B
        nothing_B = jnp.full(len(h_B1D), thinker.separator_id, jnp.int32)
        if thinker.slots == "latent":
            made_B1D = trunks.project(h_B1D)
            if len(slot) > 1:
                made_B1D = thinker.noise.disturb(made_B1D, slot[1])
            return made_B1D, nothing_B
        given_D = empty_slots(trunks, thinker.slots, thinker.filler_id)
        return jnp.broadcast_to(given_D, h_B1D.shape), nothing_B

    def in_use(self, h_BSD: jax.Array) -> jax.Array:
        """Return the slots in use of each lane, int32[B], from the states behind slots."""
        thinker, most = self.thinker, self.thinker.most_in_use
        n_B = jnp.full(len(h_BSD), most, jnp.int32)
        if thinker.ends:
            end_SB = self.trunks.end_logits(h_BSD).swapaxes(0, 1)
            numbers_S = jnp.arange(thinker.n_slots + 1)
            is_over_SB = jax.vmap(lambda end_B, at: self._decide(end_B, at, 3))(end_SB, numbers_S)
            is_over_SB |= (numbers_S >= most)[:, None]
            n_B = jnp.argmax(is_over_SB, axis=0).astype(jnp.int32)
        if self.decoding.limit >= 0:
            n_B = jnp.minimum(n_B, self.decoding.limit)
        return n_B

    def with_block(
        self,
        rollout: Rollout,
        number: jax.Array,
        is_here_B: jax.Array,
        n_B: jax.Array,
        chosen_SB: jax.Array,
        held_BKD: jax.Array,
    ) -> Rollout:
        """Return the solutions with the block of a round in the lanes that have one.

        Args:
            rollout: the solutions.
            number: int32 scalar, of the block, from 1.
            is_here_B: bool, which lanes have it.
            n_B: slots in use.
            chosen_SB: the second result of `next_slot`, of all slots.
            held_BKD: what the slots hold; kept where thoughts are actions.
        """
        n_laid_out = rollout.written_BJK.shape[2]
        # The last step fills the last slot, and nothing follows it.
        written_BK = jnp.pad(
            chosen_SB[:-1].swapaxes(0, 1),
            ((0, 0), (0, n_laid_out - self.thinker.n_slots)),
            constant_values=self.thinker.separator_id,
        )
        is_block_1J = (jnp.arange(rollout.n_BJ.shape[1]) == number - 1)[None]
        is_here_BJ = is_block_1J & is_here_B[:, None]
        if rollout.thoughts_BJKD is not None:
            held_B1KD = held_BKD[:, None].astype(jnp.float32)
            is_here_BJ11 = is_here_BJ[..., None, None]
            rollout = rollout._replace(
                thoughts_BJKD=jnp.where(is_here_BJ11, held_B1KD, rollout.thoughts_BJKD)
            )
        return rollout._replace(
            n_BJ=jnp.where(is_here_BJ, n_B[:, None], rollout.n_BJ),
            written_BJK=jnp.where(is_here_BJ[..., None], written_BK[:, None], rollout.written_BJK),
        )

    def write(
        self,
        rollout: Rollout,
        number: jax.Array,
        is_active_B: jax.Array,
        room_B: jax.Array,
        x_BD: jax.Array,
        read: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]],
        memory: Any,
    ) -> tuple[Rollout, jax.Array, Any]:
        """Write a segment in every lane that has opened a block.

        Args:
            rollout: the solutions.
            number: int32 scalar, of the segment.
            is_active_B: bool, the lanes that write.
            room_B: int32, tokens that a lane may write.
            x_BD: the states from which the first tokens are drawn.
            read: called with the memory, the vectors of the tokens [B, D] and how many tokens they
                are; returns the memory with them and the states behind them.
            memory: before the first token.

        Returns:
            The solutions, which lanes have opened the next block, and the memory.
        """
        layout, separator_id = self.thinker.config.layout, self.thinker.separator_id
        can_open = self.decoding.thinks and self.thinker.has_blocks
        at_1T = jnp.arange(layout.text)[None]

        def step(state):
            at, x_BD, memory, rollout, is_active_B, opened_B = state
            if can_open:
                opens_now_B = self._decide(self.trunks.start_logits(x_BD), at, 0) & (at > 0)
                opens_now_B &= is_active_B & (number < layout.n_blocks)
                is_here_BT = (at_1T == rollout.n_text_B[:, None] - 1) & opens_now_B[:, None]
                rollout = rollout._replace(
                    opens_BT=jnp.where(is_here_BT, number + 1, rollout.opens_BT)
                )
                opened_B |= opens_now_B
                is_active_B &= ~opens_now_B
            logits_BV = logits(self.trunks, x_BD[:, None])[:, 0]
            ids_B = sample(self._keys(at, 1), logits_BV, self.decoding.sampling)
            nats_B = -jnp.take_along_axis(jax.nn.log_softmax(logits_BV), ids_B[:, None], 1)[:, 0]
            is_next_BT = (at_1T == rollout.n_text_B[:, None]) & is_active_B[:, None]
            is_ended_B = is_active_B & (ids_B == separator_id)
            rollout = rollout._replace(
                ids_BT=jnp.where(is_next_BT, ids_B[:, None], rollout.ids_BT),
                segment_BT=jnp.where(is_next_BT, number + 1, rollout.segment_BT),
                nats_BT=jnp.where(is_next_BT, nats_B[:, None], rollout.nats_BT),
                n_text_B=rollout.n_text_B + is_active_B,
                is_ended_B=rollout.is_ended_B | is_ended_B,
            )
            is_active_B &= ~is_ended_B & (rollout.n_text_B < layout.text) & (at + 1 < room_B)
            memory, x_BD = read(memory, self.trunks.embed(ids_B), at + 1)
            return at + 1, x_BD, memory, rollout, is_active_B, opened_B

        def goes_on(state):
            at, *_, is_active_B, _ = state
            return (at < self.decoding.segment) & is_active_B.any()

        is_active_B &= (rollout.n_text_B < layout.text) & (room_B > 0)
        state = (jnp.int32(0), x_BD, memory, rollout, is_active_B, jnp.zeros_like(is_active_B))
        _, _, memory, rollout, _, opened_B = jax.lax.while_loop(goes_on, step, state)
        return rollout, opened_B, memory

    def _keys(self, at: jax.Array, kind: int) -> jax.Array:
        """Return a key per lane for a place and a kind of decision."""
        fold = jax.vmap(jax.random.fold_in, (0, None))
        return fold(fold(self.keys_B, at), kind)

    def _decide(self, logits_B: jax.Array, at: jax.Array, kind: int) -> jax.Array:
        """Return yes or no per lane, bool[B]."""
        temperature = self.decoding.sampling.temperature
        if not temperature:
            return logits_B > 0
        uniform_B = jax.vmap(jax.random.uniform)(self._keys(at, kind))
        return uniform_B < jax.nn.sigmoid(logits_B / temperature)


def slot_noise(drawn_BKD: jax.Array | None) -> tuple[jax.Array, ...]:
    """Return what `Round.next_slot` reads beside the number of a slot, with an axis of slots."""
    if drawn_BKD is None:
        return ()
    return (jnp.pad(drawn_BKD, ((0, 0), (0, 1), (0, 0))).swapaxes(0, 1)[:, :, None],)
