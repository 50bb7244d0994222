"""The inline layout of a reasoner: one sequence, in which earlier thoughts stay in the context.

    question, segment 0, then for each block j: start, thought 1 .. thought n, end, segment j

It is the layout of Fifty's post-mortem. Where `models.thinking` reads all blocks of a row side by
side, here a block waits for those before it, because it reads them: a scan over blocks fills the
slots of one block of every row, one after the other, and then reads its segment. What was read is
kept in a `Memory` of static size.

Question and segment 0 stand behind no thought, so their states and keys are those of the plain text
(`thinking.read_text`); blocks read of it no more than that.

Steps may be hidden (HybridThinker, arXiv 2606.03768): the thoughts of block j still read segment
j - 1, and everything behind them reads the thoughts in its place. Question, marks and thoughts are
never hidden.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.layers.cache import Cache, put
from latent_jax.layers.view import View
from latent_jax.models.inline_memory import Inline, Memory, Rows, before, of_block
from latent_jax.models.reasoner import END, START
from latent_jax.models.thinking import Contents, Text, Thoughts
from latent_jax.models.trunks import Trunks


@dataclasses.dataclass(frozen=True)
class InlineReader:
    """Reads the parts of rows in their order.

    Methods take the memory of what is before, where blocks are, and the number of a block from 0,
    an int32 scalar; they return the memory with what they read.

    Attributes:
        trunks: of the reasoner; a second one shares the keys of the text.
        text: the plain text.
        inline: of the layout.
    """

    trunks: Trunks
    text: Text
    inline: Inline

    def think(
        self,
        memory: Memory,
        rows: Rows,
        block: jax.Array,
        choose: Callable[[jax.Array, Any], tuple[jax.Array, Any]],
        given: Sequence[jax.Array],
        n_slots: int,
    ) -> tuple[Memory, jax.Array, jax.Array, Any]:
        """Fill the slots of a block one after the other by a rule of the caller's.

        Args:
            memory: see `InlineReader`.
            rows: see `InlineReader`.
            block: see `InlineReader`.
            choose: called with the states behind a slot, [B, 1, D], and (its number, *given of it);
                returns the vectors of the next slot and anything that is to be kept.
            given: arrays with a leading axis of S = K + 1.
            n_slots: K.

        Returns:
            The memory, states behind slots [B, S, D], the vectors that they hold, and what `choose`
            returned to be kept, stacked over slots.
        """
        n_rows, size = len(rows.opens_BJ), n_slots + 1
        text_BT, slots_BM, steps_BM = self._before(memory, rows, block, by_thoughts=True)
        start_B1 = of_block(rows.starts_BJ, block)[:, None]
        at_1M = jnp.arange(slots_BM.shape[1])[None]

        def step(carry, slot):
            v_B1D, cache = carry
            place = block * size + slot[0]
            see_BM = slots_BM | ((at_1M >= block * size) & (at_1M < place))
            seen = (text_BT[:, None], see_BM[:, None], steps_BM[:, None])
            view = View(start_B1 + slot[0], jnp.ones((n_rows, 1, 1), bool), seen)
            contexts = (self.text.latent, cache, memory.steps)
            h_B1D, own = self.trunks.latent(v_B1D, contexts, view)
            next_B1D, kept = choose(h_B1D, slot)
            return (next_B1D, put(cache, own, place)), (h_B1D[:, 0], v_B1D[:, 0], kept)

        slots = (jnp.arange(size), *given)
        start = (_in_every_row(self.trunks.mark(START), n_rows), memory.slots)
        (_, cache), (h_SBD, v_SBD, kept) = jax.lax.scan(step, start, slots)
        h_BSD, v_BSD = (x.swapaxes(0, 1) for x in (h_SBD, v_SBD))
        return self._sent(memory._replace(slots=cache), rows, block, v_BSD), h_BSD, v_BSD, kept

    def think_at_once(
        self, memory: Memory, rows: Rows, block: jax.Array, given_BKD: jax.Array
    ) -> tuple[Memory, jax.Array, jax.Array]:
        """Read the slots of a block, all of them given, in one pass; see `think`."""
        start_B1D = _in_every_row(self.trunks.mark(START), len(given_BKD))
        v_BSD = jnp.concatenate((start_B1D, given_BKD), axis=1)
        seen = self._before(memory, rows, block, by_thoughts=True)
        contexts = (self.text.latent, memory.slots, memory.steps)
        at_B = of_block(rows.starts_BJ, block)
        h_BSD, own = _read(self.trunks.latent, contexts, seen, v_BSD, at_B)
        memory = memory._replace(slots=put(memory.slots, own, block * v_BSD.shape[1]))
        return self._sent(memory, rows, block, v_BSD), h_BSD, v_BSD

    def read(
        self, memory: Memory, rows: Rows, block: jax.Array, x_BPD: jax.Array, at: jax.Array
    ) -> tuple[Memory, jax.Array]:
        """Read end and tokens of a block, or some of them, behind its thoughts.

        Args:
            memory: see `InlineReader`; with the slots of this block, and what was read before `at`.
            rows: see `InlineReader`.
            block: see `InlineReader`.
            x_BPD: the vectors of P places.
            at: int32 scalar, the first of them; 0 is end, 1 the first token. No place is beyond W.

        Returns:
            The memory, and the states behind the places, [B, P, D].
        """
        text_BT, slots_BM, steps_BM = self._before(memory, rows, block, by_thoughts=False)
        first = block * (self.inline.step + 1)
        at_1M = jnp.arange(steps_BM.shape[1])[None]
        seen = (text_BT, slots_BM, steps_BM | ((at_1M >= first) & (at_1M < first + at)))
        contexts = (self.text.language, memory.heard, memory.steps)
        at_B = of_block(rows.starts_BJ + 1 + rows.n_BJ, block) + at
        h_BPD, own = _read(self.trunks.language, contexts, seen, x_BPD, at_B)
        return memory._replace(steps=put(memory.steps, own, first + at)), h_BPD

    def _before(self, memory: Memory, rows: Rows, block: jax.Array, *, by_thoughts: bool):
        """See `inline_memory.before`."""
        n_positions = self.text.x_BTD.shape[1]
        return before(self.inline, memory, rows, block, n_positions, by_thoughts=by_thoughts)

    def _sent(self, memory: Memory, rows: Rows, block: jax.Array, v_BSD: jax.Array) -> Memory:
        """Return the memory with what the language trunk is to read of the slots of a block."""
        if memory.sent is None:
            return memory
        seen = self._before(memory, rows, block, by_thoughts=True)
        contexts = (self.text.language, memory.sent, memory.steps)
        at_B = of_block(rows.starts_BJ, block)
        _, own = _read(self.trunks.language, contexts, seen, v_BSD, at_B)
        return memory._replace(sent=put(memory.sent, own, block * v_BSD.shape[1]))


def read_row(
    reader: InlineReader,
    rows: Rows,
    contents: Contents,
    ids_BN: jax.Array,
    block_BN: jax.Array,
    place_BN: jax.Array,
    *,
    is_given: bool = False,
    disturb: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    drawn_BJKD: jax.Array | None = None,
) -> tuple[Thoughts, jax.Array, jax.Array]:
    """Read all blocks of all rows, thoughts and segments, in the order of the sequence.

    Args:
        reader: of the rows' text.
        rows: where blocks are.
        contents: of their slots.
        ids_BN: int32, the tokens of all segments, back to back.
        block_BN: int32, the block of each, counted from 1; 0 = padding.
        place_BN: int32, its place in the segment, from 0.
        is_given: whether no slot holds a thought; the slots of a block are then read in one pass.
        disturb: see `thinking.think`.
        drawn_BJKD: what was drawn; only with `disturb`.

    Returns:
        The thoughts; and the states before each token, [B, N, D], from which it is predicted, and
        behind it, [B, N, D].
    """
    trunks, inline = reader.trunks, reader.inline
    n_rows, n_blocks, n_slots, _ = contents.given_BJKD.shape
    first_BJ1 = (jnp.cumsum(rows.n_step_BJ, axis=1) - rows.n_step_BJ)[..., None]
    at_BJW = jnp.minimum(first_BJ1 + jnp.arange(inline.step)[None, None], ids_BN.shape[1] - 1)
    ids_BJW = jnp.take_along_axis(ids_BN[:, None], at_BJW, axis=2)

    def choose(h_B1D, slot):
        _, is_thought_B, given_BD, *drawn_BD = slot
        made_B1D = trunks.project(h_B1D)
        if drawn_BD:
            made_B1D = disturb(made_B1D, drawn_BD[0][:, None])
        return jnp.where(is_thought_B[:, None, None], made_B1D, given_BD[:, None]), None

    def step(memory, block):
        number, ids_BW, *held = block
        if is_given:
            memory, h_BSD, v_BSD = reader.think_at_once(memory, rows, number, held[1])
        else:
            # The last step fills the last slot, and nothing follows it.
            slots = [_with_one_more(x).swapaxes(0, 1) for x in held]
            memory, h_BSD, v_BSD, _ = reader.think(memory, rows, number, choose, slots, n_slots)
        x_BPD = (_in_every_row(trunks.mark(END), n_rows), trunks.embed(ids_BW))
        x_BPD = jnp.concatenate(x_BPD, axis=1)
        memory, x_BPD = reader.read(memory, rows, number, x_BPD, jnp.int32(0))
        return memory, (h_BSD, v_BSD, x_BPD)

    by_block = [ids_BJW, contents.is_thought_BJK, contents.given_BJKD]
    by_block += [] if disturb is None else [drawn_BJKD]
    blocks = (jnp.arange(n_blocks), *(x.swapaxes(0, 1) for x in by_block))
    memory = Memory.empty(trunks.config, n_rows, n_slots, inline)
    memory, (h_JBSD, v_JBSD, x_JBPD) = jax.lax.scan(step, memory, blocks)
    h_BSJD, v_BSJD = (jnp.moveaxis(x, 0, 2) for x in (h_JBSD, v_JBSD))
    width = inline.step + 1
    x_BMD = x_JBPD.swapaxes(0, 1).reshape(n_rows, n_blocks * width, -1)
    # Place 0 of a block is its end, from which the first token is predicted.
    at_BN1 = (jnp.maximum(block_BN - 1, 0) * width + place_BN)[..., None]
    before_BND, behind_BND = (jnp.take_along_axis(x_BMD, at_BN1 + i, axis=1) for i in (0, 1))
    return Thoughts(h_BSJD, v_BSJD, memory.heard), before_BND, behind_BND


def _read(trunk, contexts: Sequence[Cache], seen, x_BPD: jax.Array, at_B: jax.Array):
    """Run a trunk from a position on over places that read contexts and, causally, themselves."""
    n_rows, n_places, _ = x_BPD.shape
    masks = tuple(
        jnp.broadcast_to(mask_BM[:, None], (n_rows, n_places, mask_BM.shape[1])) for mask_BM in seen
    )
    causal_BPP = jnp.tril(jnp.ones((n_rows, n_places, n_places), bool))
    position_BP = at_B[:, None] + jnp.arange(n_places)[None]
    return trunk(x_BPD, contexts, View(position_BP, causal_BPP, masks))


def _in_every_row(x_D: jax.Array, n_rows: int) -> jax.Array:
    """Return a vector at one place of every row, [B, 1, D]."""
    return jnp.broadcast_to(x_D, (n_rows, 1, x_D.shape[0]))


def _with_one_more(x: jax.Array) -> jax.Array:
    """Return x with one more place at the end of axis 1."""
    return jnp.pad(x, [(0, int(axis == 1)) for axis in range(x.ndim)])
