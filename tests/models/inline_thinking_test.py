"""Inline rows against a plain GPT that reads each row written out, and who reads whom."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.view import View
from latent_jax.models.gpt import GPT
from latent_jax.models.inline_memory import Inline, Rows
from latent_jax.models.inline_thinking import InlineReader, read_row
from latent_jax.models.reasoner import END, PAUSE, START, Reasoner
from latent_jax.models.thinking import Contents, read_blocks, read_text, think
from latent_jax.models.trunks import Trunks
from tests.models.thinking_test import (
    BLOCK,
    CONFIG,
    MODEL,
    OPENS,
    PLACE,
    SEPARATOR,
    N,
    contents,
    params,
    rows,
)

ALL, NONE, MIXED = np.array([[True] * 3, [False] * 3, [True, False, True]])
N_STEP = np.array([[3, 4, 0], [4, 0, 0]], np.int32)
QUESTION = np.array([2, 3], np.int32)
INLINE = Inline(step=5)
NO_SLOTS = np.zeros_like(N)


def read(weights, ids_BT, ids_BN, held: Contents, config=CONFIG, inline=INLINE, *, is_given=False):
    """Return thoughts, and the states before and behind the tokens of segments."""
    trunks = Trunks(config, weights)
    reader = InlineReader(trunks, read_text(trunks, ids_BT, SEPARATOR), inline)
    where = Rows(jnp.array(OPENS), held.n_BJ, jnp.array(N_STEP), jnp.array(QUESTION))
    tokens = ids_BN, jnp.array(BLOCK), jnp.array(PLACE)
    return read_row(reader, where, held, *tokens, is_given=is_given)


@functools.partial(jax.jit, static_argnames=("config", "inline", "is_given"))
def run(weights, n_BJ, is_thought, config=CONFIG, inline=INLINE, *, is_given=False):
    """Return the states behind slots, what they hold, and the states before and behind tokens."""
    held = contents(Trunks(config, weights), is_thought)._replace(n_BJ=n_BJ)
    ids_BT, ids_BN = map(jnp.array, rows())
    thoughts, *blocks = read(weights, ids_BT, ids_BN, held, config, inline, is_given=is_given)
    return thoughts.h_BSJD, thoughts.v_BSJD, *blocks


def row_of(weights, row, n_J, thought):
    """Return the vectors of a row written out, and what each is.

    `thought(vectors, block, slot)` makes the content of a slot of what is before it.
    """
    trunks = Trunks(CONFIG, weights)
    ids_BT, ids_BN = rows()
    opens = OPENS[row, 0]
    vectors = [*trunks.embed(jnp.array([SEPARATOR, *ids_BT[row, :opens]]))]
    tags = [("question" if at <= QUESTION[row] else "token", 0) for at in range(len(vectors))]
    for block in range(1, 4):
        if not OPENS[row, block - 1]:
            continue
        vectors.append(trunks.mark(START))
        for slot in range(n_J[block - 1]):
            vectors.append(thought(vectors, block, slot))
        tags += [("slot", block)] * (1 + n_J[block - 1])
        tokens = ids_BN[row][BLOCK[row] == block]
        vectors += [trunks.mark(END), *trunks.embed(jnp.array(tokens))]
        tags += [("end", block)] + [("token", block)] * len(tokens)
    return vectors, tags


def close_to(found, states, row, tags):
    """Return the largest difference to the states of a row written out, over slots and tokens."""
    h_BSJD, _, before_BND, behind_BND = map(np.array, found)
    apart = 0.0
    for block in range(1, 4):
        at = [place for place, tag in enumerate(tags) if tag == ("slot", block)]
        if at:
            tokens = [place for place, tag in enumerate(tags) if tag == ("token", block)]
            end = tags.index(("end", block))
            is_here = BLOCK[row] == block
            apart = max(
                apart,
                np.abs(h_BSJD[row, : len(at), block - 1] - states[at]).max(),
                np.abs(before_BND[row][is_here] - states[[end, *tokens[:-1]]]).max(),
                np.abs(behind_BND[row][is_here] - states[tokens]).max(),
            )
    return apart


@pytest.mark.parametrize(
    ("is_thought", "n_BJ"),
    [(ALL, N), (NONE, N), (MIXED, N), (ALL, NO_SLOTS)],
    ids=["thoughts", "pauses", "mixed", "no slots"],
)
def test_rows_are_rows_written_out(is_thought, n_BJ):
    weights = params()
    trunks = Trunks(CONFIG, weights)
    gpt = jax.jit(lambda x: GPT(MODEL).apply({"params": weights}, x, method="features"))

    def states_of(vectors):
        x = jnp.zeros((1, 24, 16)).at[0, : len(vectors)].set(jnp.stack(vectors))
        return np.array(gpt(x))[0]

    def thought(vectors, block, slot):
        if not is_thought[slot]:
            return trunks.mark(PAUSE)
        return trunks.project(jnp.array(states_of(vectors)[len(vectors) - 1]))

    found = run(weights, jnp.array(n_BJ), is_thought)
    for row in range(2):
        vectors, tags = row_of(weights, row, n_BJ[row], thought)
        assert close_to(found, states_of(vectors), row, tags) < 1e-5


def reads(tags, at, other, *, hides):
    """Return whether a place of a row reads another one, in words."""
    (kind, block), (what, of) = tags[at], tags[other]
    if hides and what == "token" and of != block:
        # Of earlier segments only the last one is read, by the thoughts behind it.
        return other < at and kind == "slot" and of == block - 1
    return other <= at


@pytest.mark.parametrize("hides", [False, True])
def test_hidden_steps_are_read_by_the_thoughts_behind_them_alone(hides):
    weights = params()
    trunks = Trunks(CONFIG, weights)

    @functools.partial(jax.jit, static_argnames="tags")
    def states_of(x_1TD, tags):
        n = len(tags)
        mask = np.zeros((1, 24, 24), bool)
        for at in range(n):
            mask[0, at, :n] = [reads(tags, at, other, hides=hides) for other in range(n)]
        view = View(jnp.arange(24)[None], jnp.array(mask))
        return trunks.language(x_1TD, (), view)[0][0]

    inline = dataclasses.replace(INLINE, hides_steps=hides)
    found = run(weights, jnp.array(N), ALL, inline=inline)
    other = run(weights, jnp.array(N), ALL)
    assert (np.abs(found[2] - other[2]).max() > 1e-2) == hides
    for row in range(2):
        vectors, tags = row_of(
            weights, row, N[row], lambda _, block, slot, row=row: found[1][row, slot + 1, block - 1]
        )
        x_1TD = jnp.zeros((1, 24, 16)).at[0, : len(vectors)].set(jnp.stack(vectors))
        assert close_to(found, np.array(states_of(x_1TD, tuple(tags))), row, tags) < 1e-5
        # And the thoughts are made of the states before them.
        for block, n in enumerate(N[row]):
            made = trunks.project(found[0][row, :n, block])
            chex.assert_trees_all_close(found[1][row, 1 : n + 1, block], made, atol=1e-5)


def test_pauses_read_at_once_are_pauses_read_one_by_one():
    at_once = run(params(), jnp.array(N), NONE, is_given=True)
    chex.assert_trees_all_close(at_once, run(params(), jnp.array(N), NONE), atol=1e-5)


@pytest.mark.parametrize("changed", [1, 2])
def test_nothing_is_read_before_it_is_there(changed):
    ids_BT, ids_BN = rows()

    @jax.jit
    def states(ids_BT, ids_BN):
        held = contents(Trunks(CONFIG, params()), ALL)
        thoughts, before_BND, _ = read(params(), ids_BT, ids_BN, held)
        return thoughts.h_BSJD[0], before_BND[0]

    # The text behind the first breakpoint is no part of the row.
    other_BT = np.where(np.arange(12)[None] < OPENS[:, :1], ids_BT, (ids_BT + 1) % 9)
    # The last token of the segment.
    last = np.flatnonzero(BLOCK[0] == changed)[-1]
    other_BN = ids_BN.copy()
    other_BN[0, last] = (ids_BN[0, last] + 1) % 9
    h_SJD, before_ND = (np.array(x) for x in states(jnp.array(ids_BT), jnp.array(ids_BN)))
    other_SJD, other_ND = (np.array(x) for x in states(jnp.array(other_BT), jnp.array(other_BN)))
    np.testing.assert_array_equal(h_SJD[:, :changed], other_SJD[:, :changed])
    np.testing.assert_array_equal(before_ND[: last + 1], other_ND[: last + 1])
    if changed == 1:
        assert np.abs(h_SJD[:2, 1] - other_SJD[:2, 1]).max() > 1e-2
        assert np.abs(before_ND[3:7] - other_ND[3:7]).max() > 1e-2


def streams(weights, ids_BT, ids_BN, held):
    """Return the states before tokens in two streams."""
    trunks = Trunks(CONFIG, weights)
    text = read_text(trunks, ids_BT, SEPARATOR)
    opens_BJ = jnp.array(OPENS)
    thoughts = think(trunks, text, opens_BJ, held)
    segments = ids_BN, jnp.array(BLOCK), jnp.array(PLACE)
    return read_blocks(trunks, text, opens_BJ, held.n_BJ, thoughts.cache, *segments)[0]


def inline_states(weights, ids_BT, ids_BN, held):
    """Return the states before tokens in inline rows."""
    return read(weights, ids_BT, ids_BN, held)[1]


@pytest.mark.parametrize(
    ("layout", "is_read"), [(inline_states, True), (streams, False)], ids=["inline", "streams"]
)
def test_the_second_block_reads_and_trains_the_thoughts_of_the_first_inline_only(layout, is_read):
    ids_BT, ids_BN = map(jnp.array, rows())
    is_of_block_2_N1 = jnp.array(BLOCK[0] == 2)[:, None]

    @jax.jit
    def of_block_2(given_KD):
        """Block 1 holds the vectors that are given, block 2 thoughts."""
        held = contents(Trunks(CONFIG, params()), ALL)
        held = held._replace(
            is_thought_BJK=held.is_thought_BJK.at[:, 0].set(False),
            given_BJKD=held.given_BJKD.at[0, 0].set(given_KD),
        )
        return jnp.where(is_of_block_2_N1, layout(params(), ids_BT, ids_BN, held)[0], 0.0)

    one, other = (jax.random.normal(jax.random.key(i), (3, 16)) for i in (3, 4))
    changes = float(jnp.abs(of_block_2(one) - of_block_2(other)).max())
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(of_block_2(x)[:, 0])))(one)
    if is_read:
        assert changes > 1e-2 and float(jnp.abs(gradient).min()) > 0
    else:
        assert changes == 0 and float(jnp.abs(gradient).max()) == 0


@pytest.mark.parametrize(("change", "message"), [("copy", "embedding"), ("lora", "keys")])
def test_two_trunks_begin_as_one(change, message):
    config = dataclasses.replace(CONFIG, trunks=2, change=change, rank=2, message=message)
    drawn = Reasoner(config).init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    changes = drawn["thought"].pop("changes", {})
    both = {**params(), "thought": {**params()["thought"], "changes": changes}}
    alone = run(params(), jnp.array(N), ALL)
    chex.assert_trees_all_close(run(both, jnp.array(N), ALL, config), alone, atol=2e-5)
    moved = jax.tree.map(lambda leaf: leaf + 0.3, changes)
    other = {**both, "thought": {**both["thought"], "changes": moved}}
    assert np.abs(run(other, jnp.array(N), ALL, config)[2] - alone[2]).max() > 1e-2


def test_one_program_serves_all_numbers_of_slots():
    run(params(), jnp.array(N), ALL)
    known = run._cache_size()
    for n_BJ in (NO_SLOTS, N // 2, np.minimum(N, 1)):
        run(params(), jnp.array(n_BJ), ALL)
    assert run._cache_size() == known
