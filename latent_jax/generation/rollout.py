"""Solutions that a reasoner writes by itself: text, where it thinks, and how long.

A solution grows by segments. Each round reads the text so far once, without thoughts; thinks, in
every lane that has opened a block; and writes until the lane opens the next block or ends. So what
is written reads what it read in training, and every lane of every round is one compiled program.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.generation.sampling import Sampling, sample
from latent_jax.generation.segment_view import SegmentView
from latent_jax.generation.solution_arrays import Rollout
from latent_jax.models.reasoner import END
from latent_jax.models.thinking import read_text, think_by
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


def rollout_flops(thinker: Thinker) -> float:
    """Return the forward FLOPs of writing a solution, at most: rounds end when all lanes have.

    Each of J + 1 rounds reads the whole text, one block of slots, and writes as many tokens as all
    segments have on average.
    """
    config, layout = thinker.config, thinker.config.layout
    model = config.model

    def stack(n_positions: int, n_keys: int) -> float:
        return n_positions * sum(model.stack_flops(n_keys).values())

    n_rounds = 1 + layout.n_blocks if thinker.has_blocks else 1
    n_slots = thinker.n_slots + 1 if thinker.has_blocks else 1
    per_round = stack(layout.text, layout.text)
    if thinker.has_blocks:
        per_round += stack(n_slots, layout.text + n_slots)
    writing = stack(layout.text, layout.text + n_slots + layout.text // n_rounds)
    return n_rounds * per_round + writing + layout.text * 2.0 * model.d_model * model.vocab_size


class _Lanes(NamedTuple):
    """The state of a round: the solutions, and which lanes wait for a block."""

    rollout: Rollout
    opened_B: jax.Array


@functools.partial(jax.jit, static_argnames=("thinker", "decoding"))
def roll_out(
    thinker: Thinker,
    params: Mapping[str, Any],
    prompts_BT: jax.Array,
    lengths_B: jax.Array,
    keys_B: jax.Array,
    decoding: Decoding,
    seeds_B: jax.Array | None = None,
) -> Rollout:
    """Write a solution behind every prompt.

    Args:
        thinker: the reasoner.
        params: its collection "params".
        prompts_BT: int32, T as in the layout, separators behind each prompt.
        lengths_B: int32, tokens of each prompt, at least 1.
        keys_B: typed keys; a lane draws with its own, whatever its neighbours are.
        decoding: how.
        seeds_B: int32, of the noise in each lane's thoughts; None = they have none.
    """
    trunks, layout = Trunks(thinker.config, params), thinker.config.layout
    n_rows = prompts_BT.shape[0]
    rollout = Rollout(
        ids_BT=jnp.where(
            jnp.arange(layout.text)[None] < lengths_B[:, None], prompts_BT, thinker.separator_id
        ),
        n_text_B=lengths_B,
        segment_BT=jnp.zeros_like(prompts_BT),
        opens_BT=jnp.zeros_like(prompts_BT),
        n_BJ=jnp.zeros((n_rows, layout.n_blocks), jnp.int32),
        written_BJK=jnp.full(
            (n_rows, layout.n_blocks, layout.n_slots), thinker.separator_id, jnp.int32
        ),
        nats_BT=jnp.zeros(prompts_BT.shape, jnp.float32),
        is_ended_B=jnp.zeros(n_rows, bool),
    )
    sizes = layout.n_blocks, thinker.n_slots, thinker.config.model.d_model
    if seeds_B is not None and thinker.noise.kind == "gaussian":
        rollout = rollout._replace(thoughts_BJKD=jnp.zeros((n_rows, *sizes), jnp.float32))

    def round_(state):
        number, lanes = state
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys_B, number)
        drawn_BKD = None
        if seeds_B is not None:
            drawn_BJKD = thinker.noise.draw(seeds_B, *sizes)
            drawn_BKD = jax.lax.dynamic_index_in_dim(drawn_BJKD, number - 1, 1, keepdims=False)
        lanes = _write_round(thinker, trunks, decoding, lanes, lengths_B, number, keys, drawn_BKD)
        return number + 1, lanes

    def goes_on(state):
        number, lanes = state
        return (number <= layout.n_blocks) & lanes.opened_B.any()

    # The first round has no block: every lane writes behind its prompt.
    lanes = _Lanes(rollout, jnp.ones(n_rows, bool))
    _, lanes = jax.lax.while_loop(goes_on, round_, (jnp.int32(0), lanes))
    return lanes.rollout


def _write_round(
    thinker, trunks, decoding, lanes: _Lanes, lengths_B, number, keys_B, drawn_BKD
) -> _Lanes:
    """Think in the lanes that have opened a block, and write their next segment."""
    rollout = lanes.rollout
    text = read_text(trunks, rollout.ids_BT, thinker.separator_id)
    is_block = number > 0
    opens_B = jnp.where(is_block & lanes.opened_B, rollout.n_text_B, 0)
    key_of = functools.partial(_keys, keys_B)
    if thinker.has_blocks:
        thoughts, n_B, written_BK = _think(
            thinker, trunks, decoding, text, opens_B, key_of, drawn_BKD
        )
        cache = thoughts.cache
        is_here_BJ = (jnp.arange(rollout.n_BJ.shape[1]) == number - 1)[None] & (opens_B > 0)[
            :, None
        ]
        rollout = rollout._replace(
            n_BJ=jnp.where(is_here_BJ, n_B[:, None], rollout.n_BJ),
            written_BJK=jnp.where(is_here_BJ[..., None], written_BK[:, None], rollout.written_BJK),
        )
        if rollout.thoughts_BJKD is not None:
            v_B1KD = thoughts.v_BSJD[:, 1:, 0][:, None].astype(jnp.float32)
            is_here_BJ11 = is_here_BJ[..., None, None]
            rollout = rollout._replace(
                thoughts_BJKD=jnp.where(is_here_BJ11, v_B1KD, rollout.thoughts_BJKD)
            )
    else:
        cache, n_B = trunks.config.model.empty_cache(len(opens_B), 1), jnp.zeros_like(opens_B)
    behind_B = jnp.where(is_block, opens_B, lengths_B)
    # Where the token before the first one stands: the prompt's last token, or the end of a block.
    before_B = jnp.where(is_block, opens_B + 2 + n_B, lengths_B)
    view = SegmentView(behind_B, before_B, opens_B, n_B, is_block, decoding.segment)
    own = trunks.config.model.empty_cache(len(opens_B), decoding.segment + 1)
    end_BD = jnp.broadcast_to(trunks.mark(END), (len(opens_B), trunks.config.model.d_model))
    x_BD, own = view.step(trunks, text, cache, own, end_BD, jnp.int32(0))
    plain_BD = jnp.take_along_axis(text.x_BTD, behind_B[:, None, None], axis=1)[:, 0]
    x_BD = jnp.where(is_block, x_BD, plain_BD)
    layout = thinker.config.layout
    can_open = decoding.thinks and thinker.has_blocks
    # The room that the steps behind breakpoints have in a row.
    room_B = jnp.where(
        is_block, layout.blocks_text - jnp.sum(rollout.segment_BT > 1, axis=1), layout.text
    )

    def write(state):
        at, x_BD, own, rollout, is_active_B, opened_B = state
        if can_open:
            start_B = trunks.start_logits(x_BD)
            opens_now_B = _decide(start_B, key_of(at, 0), decoding.sampling.temperature) & (at > 0)
            opens_now_B &= is_active_B & (number < layout.n_blocks)
            last_BT = jnp.arange(layout.text)[None] == rollout.n_text_B[:, None] - 1
            rollout = rollout._replace(
                opens_BT=jnp.where(last_BT & opens_now_B[:, None], number + 1, rollout.opens_BT)
            )
            opened_B |= opens_now_B
            is_active_B &= ~opens_now_B
        logits_BV = logits(trunks, x_BD[:, None])[:, 0]
        ids_B = sample(key_of(at, 1), logits_BV, decoding.sampling)
        nats_B = -jnp.take_along_axis(jax.nn.log_softmax(logits_BV), ids_B[:, None], 1)[:, 0]
        is_next_BT = jnp.arange(layout.text)[None] == rollout.n_text_B[:, None]
        is_next_BT &= is_active_B[:, None]
        is_ended_B = is_active_B & (ids_B == thinker.separator_id)
        rollout = rollout._replace(
            ids_BT=jnp.where(is_next_BT, ids_B[:, None], rollout.ids_BT),
            segment_BT=jnp.where(is_next_BT, number + 1, rollout.segment_BT),
            nats_BT=jnp.where(is_next_BT, nats_B[:, None], rollout.nats_BT),
            n_text_B=rollout.n_text_B + is_active_B,
            is_ended_B=rollout.is_ended_B | is_ended_B,
        )
        is_active_B &= ~is_ended_B & (rollout.n_text_B < layout.text) & (at + 1 < room_B)
        x_BD, own = view.step(trunks, text, cache, own, trunks.embed(ids_B), at + 1)
        return at + 1, x_BD, own, rollout, is_active_B, opened_B

    def goes_on(state):
        at, *_, is_active_B, _ = state
        return (at < decoding.segment) & is_active_B.any()

    nobody_B = jnp.zeros_like(lanes.opened_B)
    is_active_B = lanes.opened_B & (rollout.n_text_B < layout.text) & (room_B > 0)
    state = (jnp.int32(0), x_BD, own, rollout, is_active_B, nobody_B)
    *_, rollout, _, opened_B = jax.lax.while_loop(goes_on, write, state)
    return _Lanes(rollout, opened_B)


def _think(thinker, trunks, decoding, text, opens_B, key_of, drawn_BKD):
    """Return one block of thoughts per lane, its slots in use, and what was written."""
    n_slots, n_laid_out = thinker.n_slots, thinker.config.layout.n_slots
    opens_B1 = opens_B[:, None]
    is_written, k = thinker.slots == "written", thinker.n_thoughts
    given_D = empty_slots(trunks, thinker.slots, thinker.filler_id)

    def choose(h_B1D, slot):
        if is_written:
            ids_B = sample(key_of(slot[0], 2), logits(trunks, h_B1D)[:, 0], decoding.sampling)
            return trunks.embed(ids_B)[:, None], ids_B
        nothing_B = jnp.full(len(h_B1D), thinker.separator_id, jnp.int32)
        if thinker.slots == "latent":
            made_B1D = trunks.project(h_B1D)
            if drawn_BKD is not None:
                made_B1D = thinker.noise.disturb(made_B1D, slot[1])
            return made_B1D, nothing_B
        return jnp.broadcast_to(given_D, h_B1D.shape), nothing_B

    # The last step fills the last slot, and nothing follows it.
    drawn = ()
    if drawn_BKD is not None:
        drawn = (jnp.pad(drawn_BKD, ((0, 0), (0, 1), (0, 0))).swapaxes(0, 1)[:, :, None],)
    thoughts, chosen_SB = think_by(trunks, text, opens_B1, choose, drawn, n_slots)
    n_B = jnp.full(len(opens_B), n_slots if is_written else k, jnp.int32)
    if thinker.ends:
        end_SB = trunks.end_logits(thoughts.h_BSJD[:, :, 0]).swapaxes(0, 1)
        numbers_S = jnp.arange(n_slots + 1)
        is_over_SB = jax.vmap(
            lambda end_B, at: _decide(end_B, key_of(at, 3), decoding.sampling.temperature)
        )(end_SB, numbers_S)
        is_over_SB |= (numbers_S >= n_B[0])[:, None]
        n_B = jnp.argmax(is_over_SB, axis=0).astype(jnp.int32)
    if decoding.limit >= 0:
        n_B = jnp.minimum(n_B, decoding.limit)
    written_BK = jnp.pad(
        chosen_SB[:-1].swapaxes(0, 1),
        ((0, 0), (0, n_laid_out - n_slots)),
        constant_values=thinker.separator_id,
    )
    return thoughts, n_B, written_BK


def _keys(keys_B: jax.Array, at: jax.Array, kind: int) -> jax.Array:
    """Return a key per lane for a place and a kind of decision."""
    fold = jax.vmap(jax.random.fold_in, (0, None))
    return fold(fold(keys_B, at), kind)


def _decide(logits_B: jax.Array, keys_B: jax.Array, temperature: float) -> jax.Array:
    """Return yes or no per lane, bool[B]."""
    if not temperature:
        return logits_B > 0
    uniform_B = jax.vmap(jax.random.uniform)(keys_B)
    return uniform_B < jax.nn.sigmoid(logits_B / temperature)
