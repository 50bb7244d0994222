"""A reasoner's blocks against a plain GPT that reads each block written out, one row at a time."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.data.problem_rows import ProblemLayout
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.reasoner import END, PAUSE, START, Reasoner, ReasonerConfig
from latent_jax.models.thinking import (
    Contents,
    read_blocks,
    read_text,
    think,
    think_at_once,
    think_jacobi,
)
from latent_jax.models.trunks import Trunks

SEPARATOR = 9
MODEL = GPTConfig(
    vocab_size=10,
    max_length=32,
    n_layers=2,
    d_model=16,
    n_heads=4,
    n_kv_heads=2,
    positions="rotary",
    norm="rms",
    use_bias=False,
)
LAYOUT = ProblemLayout(text=12, blocks_text=9, n_blocks=3, n_slots=3)
CONFIG = ReasonerConfig(model=MODEL, layout=LAYOUT, mark_ids=(1, 2, 3))

OPENS = np.array([[3, 6, 0], [5, 0, 0]], np.int32)
N = np.array([[3, 1, 0], [2, 0, 0]], np.int32)
BLOCK = np.array([[1, 1, 1, 2, 2, 2, 2, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0]], np.int32)
PLACE = np.array([[0, 1, 2, 0, 1, 2, 3, 0, 0], [0, 1, 2, 3, 0, 0, 0, 0, 0]], np.int32)


@functools.cache
def rows():
    """Ids of two texts, and of their segments."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, (2, 12), np.int32), rng.integers(0, 9, (2, 9), np.int32)


@functools.cache
def params(config=CONFIG):
    """Drawn parameters that are all far from zero."""
    drawn = Reasoner(config).init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    leaves, tree = jax.tree.flatten(drawn)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        leaf + 0.2 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def contents(trunks, is_thought):
    """Slots that hold thoughts, and pauses where they hold none."""
    given = jnp.broadcast_to(trunks.mark(PAUSE), (2, 3, 3, 16))
    return Contents(jnp.broadcast_to(jnp.array(is_thought), (2, 3, 3)), given, jnp.array(N))


def run(config, weights, is_thought=(True, True, True), way=think):
    """Return thoughts, and the states before and behind all tokens of segments."""

    def compute(weights):
        trunks = Trunks(config, weights)
        ids_BT, ids_BN = map(jnp.array, rows())
        text = read_text(trunks, ids_BT, SEPARATOR)
        thoughts = way(trunks, text, jnp.array(OPENS), contents(trunks, is_thought))
        blocks = read_blocks(
            trunks,
            text,
            jnp.array(OPENS),
            jnp.array(N),
            thoughts.cache,
            ids_BN,
            jnp.array(BLOCK),
            jnp.array(PLACE),
        )
        return thoughts.h_BSJD, thoughts.v_BSJD, *blocks

    return jax.jit(compute)(weights)


def written_out(weights, is_thought=(True, True, True)):
    """Return, for each block, states of its slots and before its tokens, by a plain GPT."""
    trunks = Trunks(CONFIG, weights)
    gpt = jax.jit(lambda x: GPT(MODEL).apply({"params": weights}, x, method="features"))
    ids_BT, ids_BN = rows()
    found = {}
    for row in range(2):
        for block in range(1, 4):
            opens = OPENS[row, block - 1]
            if not opens:
                continue
            inputs = [SEPARATOR, *ids_BT[row, :opens]]
            vectors = [*trunks.embed(jnp.array(inputs)), trunks.mark(START)]
            for slot in range(N[row, block - 1]):
                state = gpt(_padded(vectors))[0, len(vectors) - 1]
                thought = trunks.project(state)
                vectors.append(thought if is_thought[slot] else trunks.mark(PAUSE))
            vectors.append(trunks.mark(END))
            tokens = ids_BN[row][BLOCK[row] == block]
            vectors += list(trunks.embed(jnp.array(tokens)))
            states = gpt(_padded(vectors))[0]
            first = opens + 1  # of start
            n = N[row, block - 1]
            found[row, block] = (
                np.array(states[first : first + 1 + n]),
                np.array(states[first + 1 + n : first + 1 + n + len(tokens)]),
            )
    return found


def _padded(vectors):
    x = jnp.zeros((1, 24, 16))
    return x.at[0, : len(vectors)].set(jnp.stack(vectors))


def close(config, weights, is_thought=(True, True, True), way=think):
    """Return the largest difference to the GPT, over slots and over tokens."""
    h_BSJD, _, before_BND, _ = map(np.array, run(config, weights, is_thought, way))
    slots = tokens = 0.0
    for (row, block), (states, before) in written_out(weights, is_thought).items():
        slots = max(slots, np.abs(h_BSJD[row, : len(states), block - 1] - states).max())
        tokens = max(tokens, np.abs(before_BND[row][BLOCK[row] == block] - before).max())
    return slots, tokens


def test_blocks_side_by_side_are_blocks_written_out():
    slots, tokens = close(CONFIG, params())
    assert slots < 1e-5 and tokens < 1e-5


@pytest.mark.parametrize("is_thought", [(False, False, False), (True, False, True)])
def test_given_vectors_and_thoughts_mix(is_thought):
    slots, tokens = close(CONFIG, params(), is_thought)
    assert slots < 1e-5 and tokens < 1e-5


def test_pauses_read_at_once_are_pauses_read_one_by_one():
    def at_once(trunks, text, opens_BJ, held):
        return think_at_once(trunks, text, opens_BJ, held.given_BJKD)

    none = (False, False, False)
    one_by_one = run(CONFIG, params(), none)
    chex.assert_trees_all_close(run(CONFIG, params(), none, at_once), one_by_one, atol=1e-5)
    assert np.abs(run(CONFIG, params())[0] - one_by_one[0]).max() > 0.1


def test_jacobi_with_enough_iterations_is_the_scan():
    def jacobi(iterations):
        return functools.partial(think_jacobi, iterations=iterations)

    exact = run(CONFIG, params())
    chex.assert_trees_all_close(run(CONFIG, params(), way=jacobi(3)), exact, atol=2e-5)
    assert np.abs(run(CONFIG, params(), way=jacobi(1))[0] - exact[0]).max() > 1e-2


@pytest.mark.parametrize(
    ("change", "message", "cache"),
    [
        ("copy", "embedding", "separate"),
        ("lora", "keys", "shared"),
        ("prefix", "embedding", "shared"),
    ],
)
def test_two_trunks_begin_as_one(change, message, cache):
    config = dataclasses.replace(
        CONFIG, trunks=2, change=change, rank=2, message=message, cache=cache
    )
    drawn = Reasoner(config).init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    changes = drawn["thought"].pop("changes", {})
    both = {**params(), "thought": {**params()["thought"], "changes": changes}}
    chex.assert_trees_all_close(run(config, both), run(CONFIG, params()), atol=2e-5)
    if change != "prefix":
        moved = jax.tree.map(lambda leaf: leaf + 0.3, changes)
        other = {**both, "thought": {**both["thought"], "changes": moved}}
        assert np.abs(run(config, other)[2] - run(config, both)[2]).max() > 1e-2


def test_no_block_sees_another_nor_the_text_behind_its_breakpoint():
    def before(vectors):
        trunks = Trunks(CONFIG, params())
        ids_BT, ids_BN = map(jnp.array, rows())
        text = read_text(trunks, ids_BT, SEPARATOR)
        text = text._replace(
            latent=jax.tree.map(lambda x: x * vectors["text"][None, :, None, :, None], text.latent),
            language=jax.tree.map(
                lambda x: x * vectors["text"][None, :, None, :, None], text.language
            ),
        )
        held = contents(trunks, (True, True, True))
        held = held._replace(given_BJKD=held.given_BJKD)
        thoughts = think(trunks, text, jnp.array(OPENS), held)
        cache = jax.tree.map(
            lambda x: (
                x.reshape(*x.shape[:3], 4, 3, -1) * vectors["block"][None, :, None, None, :, None]
            ),
            thoughts.cache,
        )
        cache = jax.tree.map(lambda x: x.reshape(*x.shape[:3], 12, -1), cache)
        arguments = (jnp.array(OPENS), jnp.array(N), cache, ids_BN)
        states, _ = read_blocks(trunks, text, *arguments, jnp.array(BLOCK), jnp.array(PLACE))
        return states[0].sum(axis=-1)

    ones = {"text": jnp.ones((2, 12)), "block": jnp.ones((2, 3))}
    reads = jax.jit(jax.jacrev(before))(ones)
    text, block = np.abs(reads["text"][:, 0]), np.abs(reads["block"][:, 0])
    for token, number in enumerate(BLOCK[0]):
        if number:
            opens = OPENS[0, number - 1]
            assert (text[token, : opens + 1] > 0).all() and (text[token, opens + 1 :] == 0).all()
            assert (block[token] > 0).tolist() == [number == 1, number == 2, False]


def test_a_reasoner_needs_rotary_positions():
    with pytest.raises(ValueError, match="positions=rotary"):
        dataclasses.replace(CONFIG, model=dataclasses.replace(MODEL, positions="learned"))
