"""Solutions that a reasoner writes by itself: text, where it thinks, and how long.

A solution grows by segments. Each round reads the text so far once, without thoughts; thinks, in
every lane that has opened a block; and writes until the lane opens the next block or ends. So what
is written reads what it read in training, and every lane of every round is one compiled program.
Inline rows have rounds of their own (`rollout_inline`).
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.generation.rollout_inline import inline_rollout_flops, write_inline
from latent_jax.generation.rollout_steps import Decoding, Round, slot_noise
from latent_jax.generation.segment_view import SegmentView
from latent_jax.generation.solution_arrays import Rollout
from latent_jax.models.reasoner import END
from latent_jax.models.thinking import Contents, Text, read_text, think_by, think_jacobi
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_slots import empty_slots


def rollout_flops(thinker: Thinker, segment: int) -> float:
    """Return the forward FLOPs of writing a solution, at most: rounds end when all lanes have.

    Each of J + 1 rounds reads the whole text and one block of slots, and writes a segment.

    Args:
        thinker: the reasoner.
        segment: tokens of a segment, at most; see `Decoding`.
    """
    config, layout = thinker.config, thinker.config.layout
    model = config.model

    def stack(n_positions: int, n_keys: int) -> float:
        return n_positions * sum(model.stack_flops(n_keys).values())

    if thinker.inline:
        return inline_rollout_flops(thinker, segment)
    n_rounds = 1 + layout.n_blocks if thinker.has_blocks else 1
    n_slots = thinker.n_slots + 1 if thinker.has_blocks else 1
    head = 2.0 * model.d_model * model.vocab_size
    # Behind the last token of a segment there is a step more, whose state nobody reads.
    per_round = stack(layout.text, layout.text) + segment * head
    per_round += stack(segment + 1, layout.text + n_slots + segment + 1)
    if thinker.has_blocks:
        passes = 1 + thinker.iterations if thinker.slots == "latent" else 1
        per_round += passes * stack(n_slots, layout.text + n_slots)
        per_round += n_slots * head * thinker.draws_tokens
    return n_rounds * per_round


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

    drawn_BJKD = None
    if seeds_B is not None:
        drawn_BJKD = thinker.noise.draw(seeds_B, *sizes)
    if thinker.inline:
        return write_inline(thinker, trunks, decoding, rollout, lengths_B, keys_B, drawn_BJKD)

    def round_(state):
        number, lanes = state
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys_B, number)
        drawn_BKD = None
        if drawn_BJKD is not None:
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


def _think(decisions: Round, text: Text, opens_B1: jax.Array, drawn_BKD: jax.Array | None):
    """Return the thoughts of a block per lane, and the ids that were written into slots."""
    thinker, trunks = decisions.thinker, decisions.trunks
    if thinker.slots != "latent" or not thinker.iterations:
        noise = slot_noise(drawn_BKD)
        return think_by(trunks, text, opens_B1, decisions.next_slot, noise, thinker.n_slots)
    # As in training, thoughts are improved side by side, and begin empty.
    n_rows, n_slots = len(opens_B1), thinker.n_slots
    empty_D = empty_slots(trunks, thinker.slots, thinker.filler_id)
    given_BJKD = jnp.broadcast_to(empty_D, (n_rows, 1, n_slots, len(empty_D)))
    is_thought_11K = (jnp.arange(n_slots) < thinker.n_thoughts)[None, None]
    is_thought_BJK = jnp.broadcast_to(is_thought_11K, given_BJKD.shape[:3])
    n_BJ = jnp.full((n_rows, 1), thinker.n_thoughts, jnp.int32)
    held = Contents(is_thought_BJK, given_BJKD, n_BJ)
    thoughts = think_jacobi(trunks, text, opens_B1, held, thinker.iterations)
    return thoughts, jnp.full((n_slots + 1, n_rows), thinker.separator_id, jnp.int32)


def _write_round(
    thinker, trunks, decoding, lanes: _Lanes, lengths_B, number, keys_B, drawn_BKD
) -> _Lanes:
    """Think in the lanes that have opened a block, and write their next segment."""
    rollout, layout = lanes.rollout, thinker.config.layout
    text = read_text(trunks, rollout.ids_BT, thinker.separator_id)
    is_block = number > 0
    opens_B = jnp.where(is_block & lanes.opened_B, rollout.n_text_B, 0)
    decisions = Round(thinker, trunks, decoding, keys_B)
    if thinker.has_blocks:
        thoughts, chosen_SB = _think(decisions, text, opens_B[:, None], drawn_BKD)
        cache, n_B = thoughts.cache, decisions.in_use(thoughts.h_BSJD[:, :, 0])
        held_BKD = thoughts.v_BSJD[:, 1:, 0]
        rollout = decisions.with_block(rollout, number, opens_B > 0, n_B, chosen_SB, held_BKD)
    else:
        cache, n_B = trunks.config.model.empty_cache(len(opens_B), 1), jnp.zeros_like(opens_B)
    behind_B = jnp.where(is_block, opens_B, lengths_B)
    # Where the token before the first one stands: the prompt's last token, or the end of a block.
    before_B = jnp.where(is_block, opens_B + 2 + n_B, lengths_B)
    view = SegmentView(behind_B, before_B, opens_B, n_B, is_block, decoding.segment)
    own = trunks.config.model.empty_cache(len(opens_B), decoding.segment + 1)
    end_BD = jnp.broadcast_to(trunks.mark(END), (len(opens_B), trunks.config.model.d_model))
    own, x_BD = view.step(trunks, text, cache, own, end_BD, jnp.int32(0))
    plain_BD = jnp.take_along_axis(text.x_BTD, behind_B[:, None, None], axis=1)[:, 0]
    # The room that the steps behind breakpoints have in a row.
    room_B = jnp.where(
        is_block, layout.blocks_text - jnp.sum(rollout.segment_BT > 1, axis=1), layout.text
    )
    rollout, opened_B, _ = decisions.write(
        rollout,
        number,
        lanes.opened_B,
        room_B,
        jnp.where(is_block, x_BD, plain_BD),
        functools.partial(view.step, trunks, text, cache),
        own,
    )
    return _Lanes(rollout, opened_B)
