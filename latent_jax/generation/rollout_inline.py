"""Solutions that a reasoner writes inline: thoughts and steps stay in its memory.

Segment 0 is written behind the prompt, as in two streams. It is then read as the text is in
training, and each round thinks one block in every lane that has opened one, and writes its segment
behind it; both go on from the memory of the rounds before, so nothing is read a second time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.generation.rollout_steps import Decoding, Round, slot_noise
from latent_jax.generation.segment_view import SegmentView
from latent_jax.generation.solution_arrays import Rollout
from latent_jax.models.inline_memory import Memory, Rows
from latent_jax.models.inline_thinking import InlineReader
from latent_jax.models.reasoner import END
from latent_jax.models.thinking import read_text
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_flops import steps_read


def inline_rollout_flops(thinker: Thinker, segment: int) -> float:
    """Return the forward FLOPs of writing an inline solution, at most.

    The text is read for the prompt and again for segment 0; then every block is thought once. A
    round writes a segment, and its first step reads the end of the block.

    Args:
        thinker: the reasoner.
        segment: tokens of a segment, at most.
    """
    config, layout = thinker.config, thinker.config.layout
    model = config.model
    n_slots = layout.n_blocks * (thinker.n_slots + 1)
    n_memory = n_slots + steps_read(config, thinker.inline)

    def stack(n_positions: int, n_keys: int) -> float:
        return n_positions * sum(model.stack_flops(n_keys).values())

    thinking = stack(n_slots, layout.text + n_memory + 1)
    if config.has_message_pass:
        thinking += stack(n_slots, layout.text + n_memory + thinker.n_slots + 1)
    n_rounds = layout.n_blocks + 1
    writing = stack(n_rounds * (segment + 1), layout.text + n_memory + 1)
    n_read = n_rounds * segment + n_slots * thinker.draws_tokens
    head = n_read * 2.0 * model.d_model * model.vocab_size
    return 2 * stack(layout.text, layout.text) + thinking + writing + head


class _Lanes(NamedTuple):
    """The state between rounds.

    Attributes:
        rollout: the solutions.
        opened_B: bool, the lanes that wait for a block.
        opens_BJ: int32, the position of the text behind which each block hangs; 0 = none yet.
        memory: of the blocks so far.
    """

    rollout: Rollout
    opened_B: jax.Array
    opens_BJ: jax.Array
    memory: Memory


def write_inline(
    thinker: Thinker,
    trunks: Trunks,
    decoding: Decoding,
    rollout: Rollout,
    lengths_B: jax.Array,
    keys_B: jax.Array,
    drawn_BJKD: jax.Array | None,
) -> Rollout:
    """Write a solution behind every prompt; see `rollout.roll_out`.

    Args:
        thinker: with an inline layout.
        trunks: of the reasoner.
        decoding: how tokens and decisions are drawn.
        rollout: the prompts.
        lengths_B: int32, their tokens.
        keys_B: typed keys.
        drawn_BJKD: numbers of the noise of thoughts; None = they have none.
    """
    n_rows, n_blocks = rollout.n_BJ.shape
    n_slots = thinker.n_slots

    def decisions(number):
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys_B, number)
        return Round(thinker, trunks, decoding, keys)

    rollout, opened_B = _write_opening(thinker, trunks, decisions(0), rollout, lengths_B)
    text = read_text(trunks, rollout.ids_BT, thinker.separator_id)
    reader = InlineReader(trunks, text, thinker.inline)
    end_B1D = jnp.broadcast_to(trunks.mark(END), (n_rows, 1, trunks.config.model.d_model))

    def round_(state):
        number, lanes = state
        rollout, block, decides = lanes.rollout, number - 1, decisions(number)
        is_block_1J = (jnp.arange(n_blocks) == block)[None]
        is_here_BJ = is_block_1J & lanes.opened_B[:, None]
        opens_BJ = jnp.where(is_here_BJ, rollout.n_text_B[:, None], lanes.opens_BJ)
        segments_1J1 = jnp.arange(2, n_blocks + 2)[None, :, None]
        n_step_BJ = jnp.sum(rollout.segment_BT[:, None] == segments_1J1, axis=-1)
        rows = Rows(opens_BJ, rollout.n_BJ, n_step_BJ, lengths_B)
        drawn_BKD = None
        if drawn_BJKD is not None:
            drawn_BKD = jax.lax.dynamic_index_in_dim(drawn_BJKD, block, 1, keepdims=False)
        noise = slot_noise(drawn_BKD)
        memory, h_BSD, v_BSD, chosen_SB = reader.think(
            lanes.memory, rows, block, decides.next_slot, noise, n_slots
        )
        n_B = decides.in_use(h_BSD)
        rollout = decides.with_block(rollout, number, lanes.opened_B, n_B, chosen_SB, v_BSD[:, 1:])
        rows = rows._replace(n_BJ=rollout.n_BJ)
        memory, x_B1D = reader.read(memory, rows, block, end_B1D, jnp.int32(0))
        room_B = thinker.config.layout.blocks_text - jnp.sum(rollout.segment_BT > 1, axis=1)

        def read(memory, x_BD, at):
            memory, x_B1D = reader.read(memory, rows, block, x_BD[:, None], at)
            return memory, x_B1D[:, 0]

        rollout, opened_B, memory = decides.write(
            rollout,
            number,
            lanes.opened_B,
            jnp.minimum(room_B, thinker.inline.step),
            x_B1D[:, 0],
            read,
            memory,
        )
        return number + 1, _Lanes(rollout, opened_B, opens_BJ, memory)

    def goes_on(state):
        number, lanes = state
        return (number <= n_blocks) & lanes.opened_B.any()

    memory = Memory.empty(trunks.config, n_rows, n_slots, thinker.inline)
    lanes = _Lanes(rollout, opened_B, jnp.zeros_like(rollout.n_BJ), memory)
    _, lanes = jax.lax.while_loop(goes_on, round_, (jnp.int32(1), lanes))
    return lanes.rollout


def _write_opening(thinker, trunks, decides: Round, rollout: Rollout, lengths_B):
    """Return the solutions with segment 0, and which lanes have opened a block behind it."""
    text = read_text(trunks, rollout.ids_BT, thinker.separator_id)
    nothing_B, n_tokens = jnp.zeros_like(lengths_B), decides.decoding.segment
    view = SegmentView(lengths_B, lengths_B, nothing_B, nothing_B, jnp.bool(False), n_tokens)
    slots, own = (trunks.config.model.empty_cache(len(lengths_B), n) for n in (1, n_tokens + 1))

    def read(own, x_BD, at):
        return view.step(trunks, text, slots, own, x_BD, at)

    x_BD = jnp.take_along_axis(text.x_BTD, lengths_B[:, None, None], axis=1)[:, 0]
    everyone_B = jnp.ones(len(lengths_B), bool)
    room_B = jnp.full_like(lengths_B, thinker.config.layout.text)
    rollout, opened_B, _ = decides.write(rollout, jnp.int32(0), everyone_B, room_B, x_BD, read, own)
    return rollout, opened_B
