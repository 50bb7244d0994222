"""The forward passes of a reasoner, as pure functions of its parameters.

    text = read_text(...)             one pass over the text
    thoughts = think(...)             a scan over slots: all blocks of a row take a step together
    x_BND, ends_BJD = read_blocks(...)    one pass over all segments behind their thoughts

A block has S = K + 1 slots: start, then K for thoughts. What a slot holds is told by `Contents`: a
thought, computed from the state of the slot before, or a vector that is given. So written
calculations, pauses, filler and thoughts are one program, and a curriculum that replaces text by
thoughts moves through it without a new compilation.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.layers.cache import Cache, put
from latent_jax.layers.view import View
from latent_jax.models.reasoner import END, START
from latent_jax.models.trunks import Trunks


class Text(NamedTuple):
    """A text that was read.

    Attributes:
        x_BTD: states after the final norm; position u is behind the separator and u tokens.
        language: keys and values of the language trunk, [L, B, G, T, d].
        latent: those that the trunk of thoughts reads.
    """

    x_BTD: jax.Array
    language: Cache
    latent: Cache


class Contents(NamedTuple):
    """What the slots behind start hold.

    Attributes:
        is_thought_BJK: bool, True where a slot holds a thought; elsewhere it holds `given`.
        given_BJKD: vectors in the compute dtype.
        n_BJ: int32, the slots in use, from the first on; the others are read by nobody.
    """

    is_thought_BJK: jax.Array
    given_BJKD: jax.Array
    n_BJ: jax.Array


class Thoughts(NamedTuple):
    """Blocks of thoughts, S = K + 1 slots each, the first one being start.

    Attributes:
        h_BSJD: states behind each slot.
        v_BSJD: the vectors that the slots hold.
        cache: their keys and values for the segments that follow, [L, B, G, S J, d].
    """

    h_BSJD: jax.Array
    v_BSJD: jax.Array
    cache: Cache


def read_text(trunks: Trunks, ids_BT: jax.Array, separator_id: int) -> Text:
    """Return the states of a text and its keys and values.

    Args:
        trunks: of the reasoner.
        ids_BT: int32; the model reads the separator and all of them but the last.
        separator_id: of the tokenizer.
    """
    inputs_BT = jnp.pad(ids_BT[:, :-1], ((0, 0), (1, 0)), constant_values=separator_id)
    empty = trunks.config.model.empty_cache(*ids_BT.shape)
    x_BTD, language = trunks.language(trunks.embed(inputs_BT), empty)
    latent = language
    if trunks.config.trunks == 2 and trunks.config.cache == "separate":
        _, latent = trunks.latent(trunks.embed(inputs_BT), empty)
    return Text(x_BTD, language, latent)


def think(
    trunks: Trunks,
    text: Text,
    opens_BJ: jax.Array,
    contents: Contents,
    disturb: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    drawn_BJKD: jax.Array | None = None,
) -> Thoughts:
    """Compute blocks of thoughts one slot after the other, exactly.

    Args:
        trunks: of the reasoner.
        text: what the blocks hang behind.
        opens_BJ: int32, the position of the text behind which each block hangs; 0 = no block.
        contents: of the slots. Where no slot can hold a thought, `think_at_once` gives the same in
            one pass.
        disturb: called with the thoughts of a slot, [B, J, D], and what was drawn for them; returns
            those that are read. None = thoughts are read as they are.
        drawn_BJKD: what was drawn; only with `disturb`.
    """

    def choose(h_BJD, slot):
        _, is_thought_BJ, given_BJD, *drawn = slot
        made_BJD = trunks.project(h_BJD)
        if disturb is not None:
            made_BJD = disturb(made_BJD, *drawn)
        return jnp.where(is_thought_BJ[..., None], made_BJD, given_BJD), None

    # The last step fills the last slot, and nothing follows it.
    given = (*contents[:2],) if disturb is None else (*contents[:2], drawn_BJKD)
    last = [jnp.pad(x, _behind(x, 1)) for x in given]
    slots = [jnp.moveaxis(x, 2, 0) for x in last]
    thoughts, _ = think_by(trunks, text, opens_BJ, choose, slots, contents.given_BJKD.shape[2])
    return thoughts


def think_by(
    trunks: Trunks,
    text: Text,
    opens_BJ: jax.Array,
    choose: Callable[[jax.Array, Any], tuple[jax.Array, Any]],
    given: Sequence[jax.Array],
    n_slots: int,
) -> tuple[Thoughts, Any]:
    """Fill slots one after the other by a rule of the caller's.

    Args:
        trunks: of the reasoner.
        text: what the blocks hang behind.
        opens_BJ: see `think`.
        choose: called with the states behind a slot, [B, J, D], and (its number, *given of it);
            returns the vectors of the next slot and anything that is to be kept.
        given: arrays with a leading axis of n_slots + 1.
        n_slots: K.

    Returns:
        The thoughts, and what `choose` returned to be kept, stacked over K + 1 slots.
    """
    n_rows, n_blocks = opens_BJ.shape
    size = (n_slots + 1) * n_blocks
    buffer = trunks.config.model.empty_cache(n_rows, size)
    see_text_BJT = sees_text(opens_BJ, text.x_BTD.shape[1])
    block = jnp.arange(size) % n_blocks
    is_own_JS = block[None] == jnp.arange(n_blocks)[:, None]
    own_BJJ = jnp.broadcast_to(jnp.eye(n_blocks, dtype=bool), (n_rows, n_blocks, n_blocks))

    def step(carry, slot):
        v_BJD, buffer = carry
        number = slot[0]
        is_before_JS = is_own_JS & (jnp.arange(size) // n_blocks < number)[None]
        see_slots_BJS = jnp.broadcast_to(is_before_JS, (n_rows, n_blocks, size))
        view = View(opens_BJ + 1 + number, own_BJJ, (see_text_BJT, see_slots_BJS))
        h_BJD, own = trunks.latent(v_BJD, (text.latent, buffer), view)
        buffer = put(buffer, own, number * n_blocks)
        next_BJD, kept = choose(h_BJD, slot)
        return (next_BJD, buffer), (h_BJD, v_BJD, kept)

    start_BJD = jnp.broadcast_to(
        trunks.mark(START), (n_rows, n_blocks, trunks.config.model.d_model)
    )
    slots = (jnp.arange(n_slots + 1), *given)
    (_, buffer), (h_SBJD, v_SBJD, kept) = jax.lax.scan(step, (start_BJD, buffer), slots)
    h_BSJD, v_BSJD = (jnp.moveaxis(x, 0, 1) for x in (h_SBJD, v_SBJD))
    return _sent(trunks, text, opens_BJ, Thoughts(h_BSJD, v_BSJD, buffer)), kept


def think_at_once(
    trunks: Trunks, text: Text, opens_BJ: jax.Array, given_BJKD: jax.Array
) -> Thoughts:
    """Read blocks whose slots are all given, in one pass; see `think`."""
    n_rows, n_blocks, _, width = given_BJKD.shape
    start_BJ1D = jnp.broadcast_to(trunks.mark(START), (n_rows, n_blocks, 1, width))
    v_BJSD = jnp.concatenate((start_BJ1D, given_BJKD), axis=2)
    v_BSJD = v_BJSD.swapaxes(1, 2)
    h_BSJD, cache = _read_slots(trunks.latent, text.x_BTD.shape[1], text.latent, opens_BJ, v_BSJD)
    return _sent(trunks, text, opens_BJ, Thoughts(h_BSJD, v_BSJD, cache))


def think_jacobi(
    trunks: Trunks, text: Text, opens_BJ: jax.Array, contents: Contents, iterations: int
) -> Thoughts:
    """Compute all slots side by side, again and again, each from the last states (Jacobi).

    Wu et al. 2025, "Parallel Continuous Chain-of-Thought" (arXiv 2506.18582), section 3. After as
    many iterations as there are thoughts in a row the result is that of `think`.

    Args:
        trunks: of the reasoner.
        text: what the blocks hang behind.
        opens_BJ: see `think`.
        contents: of the slots; thoughts begin as `given`.
        iterations: R; the trunk runs R + 1 times.
    """
    is_thought_BJK1 = contents.is_thought_BJK[..., None]

    def improve(given_BJKD, _):
        thoughts = think_at_once(trunks, text, opens_BJ, given_BJKD)
        made_BJKD = trunks.project(thoughts.h_BSJD[:, :-1]).swapaxes(1, 2)
        return jnp.where(is_thought_BJK1, made_BJKD, contents.given_BJKD), None

    given_BJKD, _ = jax.lax.scan(improve, contents.given_BJKD, None, length=iterations)
    return think_at_once(trunks, text, opens_BJ, given_BJKD)


def read_blocks(
    trunks: Trunks,
    text: Text,
    opens_BJ: jax.Array,
    n_BJ: jax.Array,
    cache: Cache,
    ids_BN: jax.Array,
    block_BN: jax.Array,
    place_BN: jax.Array,
    read_BJ: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Read the segments of all blocks, each behind its thoughts.

    Args:
        trunks: of the reasoner.
        text: that the blocks hang behind.
        opens_BJ: see `think`.
        n_BJ: int32, slots in use behind start.
        cache: of the thoughts, `Thoughts.cache`.
        ids_BN: int32, the tokens of all segments.
        block_BN: int32, the block of each, counted from 1; 0 = padding.
        place_BN: int32, its place in the segment, from 0.
        read_BJ: int32, the slots that are read, from the first on; None = those in use. The others
            keep their places, so that end and segment stay where they are.

    Returns:
        The states *before* each token, [B, N, D], from which it is predicted, and the states
        behind the tokens, [B, N, D].
    """
    n_rows, n_blocks = opens_BJ.shape
    n_slots = cache.k_BGSd.shape[3] // n_blocks
    end_BJD = jnp.broadcast_to(trunks.mark(END), (n_rows, n_blocks, trunks.config.model.d_model))
    x_BQD = jnp.concatenate((end_BJD, trunks.embed(ids_BN)), axis=1)
    # An end is the place before the first token of its segment.
    numbers_BJ = jnp.broadcast_to(jnp.arange(1, n_blocks + 1), (n_rows, n_blocks))
    block_BQ = jnp.concatenate((numbers_BJ, block_BN), axis=1)
    place_BQ = jnp.pad(place_BN, ((0, 0), (n_blocks, 0)), constant_values=-1)
    read_BJ = n_BJ if read_BJ is None else jnp.minimum(read_BJ, n_BJ)
    opens_BQ, n_BQ, read_BQ = (_of_block(x_BJ, block_BQ) for x_BJ in (opens_BJ, n_BJ, read_BJ))
    slot = jnp.arange(n_slots * n_blocks)
    is_read_BQS = (slot // n_blocks)[None, None] <= read_BQ[..., None]
    see_slots_BQS = is_read_BQS & ((slot % n_blocks + 1)[None, None] == block_BQ[..., None])
    is_same_BQQ = block_BQ[..., None] == block_BQ[:, None]
    view = View(
        opens_BQ + 3 + n_BQ + place_BQ,
        is_same_BQQ & (place_BQ[:, None] <= place_BQ[..., None]),
        (sees_text(opens_BQ, text.x_BTD.shape[1]), see_slots_BQS),
    )
    x_BQD, _ = trunks.language(x_BQD, (text.language, cache), view)
    behind_BND = x_BQD[:, n_blocks:]
    ends_BND = jnp.take_along_axis(
        x_BQD[:, :n_blocks], jnp.maximum(block_BN - 1, 0)[..., None], axis=1
    )
    last_BND = jnp.pad(behind_BND[:, :-1], ((0, 0), (1, 0), (0, 0)))
    return jnp.where((place_BN == 0)[..., None], ends_BND, last_BND), behind_BND


def sees_text(opens_BQ: jax.Array, length: int) -> jax.Array:
    """Return bool[B, Q, T]: which positions of the text are read by what hangs behind `opens`."""
    at_T = jnp.arange(length)[None, None]
    return (at_T <= opens_BQ[..., None]) & (opens_BQ > 0)[..., None]


def _sent(trunks: Trunks, text: Text, opens_BJ: jax.Array, thoughts: Thoughts) -> Thoughts:
    """Return the thoughts with the keys and values that the language trunk is to read."""
    if not trunks.config.has_message_pass:
        return thoughts
    length = text.x_BTD.shape[1]
    _, cache = _read_slots(trunks.language, length, text.language, opens_BJ, thoughts.v_BSJD)
    return thoughts._replace(cache=cache)


def _read_slots(trunk, length: int, context: Cache, opens_BJ: jax.Array, v_BSJD: jax.Array):
    """Return states [B, S, J, D] and keys and values of slots whose vectors are given."""
    n_rows, n_slots, n_blocks, width = v_BSJD.shape
    slot = jnp.arange(n_slots * n_blocks)
    number, block = slot // n_blocks, slot % n_blocks
    is_read = (block[:, None] == block[None]) & (number[None] <= number[:, None])
    opens_BS = opens_BJ[:, block]
    view = View(
        opens_BS + 1 + number[None],
        jnp.broadcast_to(is_read, (n_rows, *is_read.shape)),
        (sees_text(opens_BS, length),),
    )
    h_BND, cache = trunk(v_BSJD.reshape(n_rows, -1, width), (context,), view)
    return h_BND.reshape(v_BSJD.shape), cache


def _of_block(x_BJ: jax.Array, block_BN: jax.Array) -> jax.Array:
    """Return the value of each token's block, and 0 for padding."""
    return jnp.take_along_axis(jnp.pad(x_BJ, ((0, 0), (1, 0))), block_BN, axis=1)


def _behind(x: jax.Array, count: int) -> list[tuple[int, int]]:
    """Return the padding of axis 2 by `count` at its end."""
    return [(0, count) if axis == 2 else (0, 0) for axis in range(x.ndim)]
