"""Actions of solutions, compared with a walk over each row by hand."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.trunks import Trunks
from latent_jax.tasks.actions import Actions, act_again, collect, spread
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import logits
from latent_jax.tasks.thought_noise import ThoughtNoise
from latent_jax.tasks.thought_slots import Curriculum
from tests.small_reasoner import CONFIG, LAYOUT, THINKER, moved_variables, small_batch

ENDS = dataclasses.replace(THINKER, ends=True)
GATED = dataclasses.replace(
    ENDS, config=dataclasses.replace(CONFIG, gate=0.6), noise=ThoughtNoise("hrpo")
)
WRITTEN = dataclasses.replace(ENDS, slots="written", curriculum=Curriculum(0))


def solutions():
    """Return four problems as if they had been written, with blocks of 0 to 3 slots in use."""
    batch = {name: np.array(x) for name, x in small_batch().items()}
    used = batch["segment"][:, LAYOUT.blocks_end :].reshape(4, 2, 3)
    used[0, 0, 1:] = used[1, 1] = used[2, 0, 2:] = 0
    batch["noise_seed"] = np.full((4, LAYOUT.length), 7, np.float32)
    return batch


def yes_or_no(logit, is_yes):
    return math.log1p(math.exp(-logit if is_yes else logit))


def walk(row, seen, thinker):
    """Yield (0 held or 1 decided, position, -log p) of one row."""
    ids, segment, opens = row["ids"], row["segment"], row["opens"]
    for at in range(LAYOUT.text):
        if segment[at] != 1:
            continue
        yield 0, at, -seen["text"][at, ids[at]]
        if at + 1 < LAYOUT.text and (opens[at] or segment[at + 1]):
            yield 1, at, yes_or_no(seen["start_text"][at + 1], opens[at] > 0)
    block = segment[LAYOUT.text_end : LAYOUT.blocks_end]
    for number, of in enumerate(block):
        at = LAYOUT.text_end + number
        if not of:
            continue
        yield 0, at, -seen["blocks"][number, ids[at]]
        following = block[number + 1] if number + 1 < len(block) else 0
        if following and of < LAYOUT.n_blocks:
            yield 1, at, yes_or_no(seen["start_blocks"][number], following == of + 1)
    for number in range(LAYOUT.n_blocks):
        if number + 1 not in opens:
            continue
        first = LAYOUT.blocks_end + number * LAYOUT.n_slots
        n_used = int((segment[first : first + LAYOUT.n_slots] > 0).sum())
        for slot in range(LAYOUT.n_slots):
            if thinker.draws_tokens and slot < n_used:
                yield 0, first + slot, -seen["slots"][slot, number, ids[first + slot]]
            if slot <= n_used:
                yield 1, first + slot, yes_or_no(seen["end"][slot, number], slot == n_used)


@pytest.mark.parametrize("thinker", [ENDS, WRITTEN, GATED], ids=["latent", "written", "hrpo"])
def test_every_action_has_the_probability_that_a_walk_finds(thinker):
    @jax.jit
    def read(params, batch):
        trunks, problems = Trunks(thinker.config, params), Problems.of(batch, LAYOUT)
        stage, limit = jnp.int32(thinker.n_thoughts), problems.n_written_BJ
        tokens = problems.written_BJK if thinker.noise.has_tokens else None
        found = thinker.run(trunks, problems, stage, limit, tokens_BJK=tokens)
        h = found.thoughts.h_BSJD
        flat = logits(trunks, h.reshape(4, -1, h.shape[-1]))
        seen = {
            "text": jax.nn.log_softmax(logits(trunks, found.text.x_BTD)),
            "blocks": jax.nn.log_softmax(logits(trunks, found.before_BND)),
            "slots": jax.nn.log_softmax(flat).reshape(*h.shape[:3], -1),
            "start_text": trunks.start_logits(found.text.x_BTD),
            "start_blocks": trunks.start_logits(found.behind_BND),
            "end": trunks.end_logits(h),
        }
        return seen, act_again(thinker, params, batch)[1]

    batch = solutions()
    seen, actions = jax.device_get(
        read(moved_variables(LatentReasoning(thinker, 0.3))["params"], batch)
    )
    chex.assert_shape((actions.nats_B2L, actions.is_taken_B2L), (4, 2, LAYOUT.length))
    for number in range(4):
        row, own = ({name: x[number] for name, x in these.items()} for these in (batch, seen))
        expected = np.full((2, LAYOUT.length), np.nan)
        for kind, at, nats in walk(row, own, thinker):
            expected[kind, at] = nats
        np.testing.assert_array_equal(actions.is_taken_B2L[number], ~np.isnan(expected))
        taken = actions.is_taken_B2L[number]
        np.testing.assert_allclose(actions.nats_B2L[number][taken], expected[taken], rtol=1e-4)
        is_text = taken[0] & (np.arange(LAYOUT.length) < LAYOUT.blocks_end)
        np.testing.assert_array_equal(actions.is_text_BL[number], is_text)
    decided = actions.is_taken_B2L[:, 1, LAYOUT.blocks_end :].sum()
    assert decided > 8, "hardly an end was decided"


def test_without_blocks_only_tokens_are_written():
    thinker = dataclasses.replace(THINKER, slots="none", curriculum=Curriculum(0))
    params = moved_variables(LatentReasoning(thinker, 0.3))["params"]
    batch = solutions()
    _, found = jax.device_get(jax.jit(lambda p: act_again(thinker, p, batch))(params))
    is_written = batch["segment"] == 1
    is_written[:, LAYOUT.text_end :] = False
    np.testing.assert_array_equal(found.is_taken_B2L[:, 0], is_written)
    np.testing.assert_array_equal(found.is_text_BL, is_written)
    assert not found.is_taken_B2L[:, 1].any() and (found.nats_B2L[:, 0][is_written] > 0).all()


def test_the_tokens_of_highest_entropy_count_and_all_decisions():
    is_text = jnp.array([[True, True, True, True, False, False]])
    held = jnp.array([[True, True, True, True, True, False]])
    actions = Actions(
        jnp.zeros((1, 2, 6)),
        jnp.stack((held, held), axis=1),
        is_text,
        jnp.array([[0.1, 0.4, 0.2, 0.3, 9.0, 9.0]]),
    )
    counted = np.array(actions.counted(0.5))
    np.testing.assert_array_equal(counted[0, 0], [False, True, False, True, True, False])
    np.testing.assert_array_equal(counted[0, 1], held[0])
    assert actions.counted(1.0) is actions.is_taken_B2L


@pytest.mark.parametrize(
    ("share", "kept"),
    [
        (0.5, [[True, True, True], [True, False, False]]),
        (0.4, [[False, True, True], [False, False, False]]),
        (0.01, [[False, False, True], [False, False, False]]),
    ],
)
def test_the_highest_entropies_are_those_of_the_batch_and_equal_ones_count_together(share, kept):
    is_text = jnp.array([[True, True, True], [True, True, False]])
    actions = Actions(
        jnp.zeros((2, 2, 3)),
        jnp.stack((is_text, ~is_text), axis=1),
        is_text,
        # What is no token has an entropy too, which counts for nothing.
        jnp.array([[0.3, 0.5, 0.9], [0.3, 0.1, 5.0]]),
    )
    counted = np.array(actions.counted(share))
    np.testing.assert_array_equal(counted[:, 0], kept)
    np.testing.assert_array_equal(counted[:, 1], ~is_text)


def test_thoughts_come_back_from_a_field():
    thoughts = jax.random.normal(jax.random.key(0), (3, 2, 4, 5))
    field = spread(thoughts, 7, 6)  # 40 numbers over 7 positions
    chex.assert_shape(field, (3, 7, 6))
    chex.assert_trees_all_equal(collect(field, 2, 4, 5), thoughts)


def test_thoughts_that_were_drawn_are_read_by_any_weights():
    thinker = dataclasses.replace(THINKER, noise=ThoughtNoise("gaussian", 0.3))
    params = moved_variables(LatentReasoning(thinker, 0.3))["params"]
    others = jax.tree.map(lambda x: x * 1.05, params)
    batch = solutions()

    @jax.jit
    def drawn(params):
        trunks, problems = Trunks(thinker.config, params), Problems.of(batch, LAYOUT)
        found = thinker.run(trunks, problems, jnp.int32(3), None, jnp.full(4, 7))
        return found.thoughts.v_BSJD[:, 1:].swapaxes(1, 2)

    @jax.jit
    def nats(params, thoughts):
        field = {"thoughts": spread(thoughts, LAYOUT.length, 5)}
        return act_again(thinker, params, batch | field)[1]

    own = drawn(params)
    anew = jax.jit(lambda params: act_again(thinker, params, batch)[1])(params)
    carried, moved = nats(params, own), nats(others, own)
    chex.assert_trees_all_close(carried, anew, atol=2e-3, rtol=1e-4)
    slots = np.array(anew.is_taken_B2L)[:, 0, LAYOUT.blocks_end :]
    assert slots.sum() == 4 * 2 * 3
    # A seed alone would draw other thoughts under other weights, always as far from their mean.
    assert np.abs(np.array(moved.nats_B2L - carried.nats_B2L)[:, 0, LAYOUT.blocks_end :]).min() > 0
    assert np.abs(np.array(drawn(others) - own)).max() > 1e-2
