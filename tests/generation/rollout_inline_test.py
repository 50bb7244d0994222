"""Inline solutions written step by step against the same solutions read as rows."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation.rollout import rollout_flops
from latent_jax.models.inline_memory import Inline
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.policy_config import GROUP_REWARD, PolicyConfig
from latent_jax.tasks.thought_noise import ThoughtNoise
from latent_jax.tasks.thought_slots import Curriculum
from tests.generation.rollout_test import (
    CONFIG,
    DECODING,
    LAYOUT,
    SEPARATOR,
    THINKER,
    check_step_by_step,
    params,
)
from tests.generation.rollout_test import solutions as written

INLINE = dataclasses.replace(THINKER, inline=Inline(step=LAYOUT.blocks_text))
TWO = dataclasses.replace(CONFIG, trunks=2, change="lora", rank=2, message="embedding")


@pytest.mark.parametrize(
    "thinker",
    [
        INLINE,
        dataclasses.replace(INLINE, slots="written", curriculum=Curriculum(0), ends=True),
        dataclasses.replace(INLINE, slots="pause"),
        dataclasses.replace(INLINE, noise=ThoughtNoise("gaussian", 0.5)),
        dataclasses.replace(INLINE, config=TWO),
        dataclasses.replace(INLINE, inline=Inline(step=6, hides_steps=True)),
    ],
    ids=["latent", "written, ends", "pause", "gaussian", "two trunks", "hidden, short"],
)
def test_written_step_by_step_is_read_as_rows(thinker):
    found = check_step_by_step(thinker)
    assert (np.array(found.opens_BT) == 2).sum() > 3, "hardly a second block was opened"
    for segment in range(2, LAYOUT.n_blocks + 2):
        n_B = (np.array(found.segment_BT) == segment).sum(axis=1)
        assert n_B.max() <= min(thinker.inline.step, DECODING.segment)


def test_the_first_block_is_that_of_two_streams_and_the_second_is_not():
    inline, _ = written(INLINE)
    streams, _ = written(THINKER)
    for segment, is_same in ((1, True), (2, True), (3, False)):
        nats = [
            np.where(np.array(one.segment_BT) == segment, np.array(one.nats_BT), 0.0)
            for one in (inline, streams)
        ]
        if is_same:
            chex.assert_trees_all_close(*nats, atol=2e-4)
        else:
            assert np.abs(nats[0] - nats[1]).max() > 1e-2


def test_without_thoughts_no_block_is_opened_and_a_limit_is_kept():
    found, lengths = written(INLINE, dataclasses.replace(DECODING, thinks=False))
    assert not np.array(found.opens_BT).any() and not np.array(found.n_BJ).any()
    assert (np.array(found.n_text_B) > np.array(lengths)).all()
    found, _ = written(INLINE, dataclasses.replace(DECODING, limit=1))
    assert np.array(found.n_BJ).max() == 1


def test_an_update_of_the_second_phase_trains_the_thoughts_before_what_was_written():
    found, _ = written(INLINE)
    has_two_B = np.array(found.opens_BT == 2).any(axis=1)
    fields = found.fields(LAYOUT, SEPARATOR)
    ones = np.ones((16, LAYOUT.length), np.float32)
    batch = {**fields, "weights": ones, "reward": ones, "advantage": ones * has_two_B[:, None]}
    batch[GROUP_REWARD] = ones
    batch |= {"n_bytes": np.full(16, 9, np.int32), "n_problems": np.ones(16, np.int32)}
    policy = Policy(LatentReasoning(INLINE, 0.3), PolicyConfig(group=4))

    @jax.jit
    def gradient(params):
        def loss(params):
            step = jax.random.key(0), jnp.int32(0), True
            return policy.loss({"params": params}, batch, *step)[0]

        return jax.grad(loss)(params)

    thought = gradient(params(CONFIG))["thought"]
    for name in ("marks", "projection", "start_head"):
        largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(thought[name]))
        assert 1e-6 < largest < 1e3, name


def test_writing_reads_the_text_twice_and_not_once_a_block():
    longer = dataclasses.replace(LAYOUT, n_blocks=6)
    costs = {}
    for name, thinker in (("inline", INLINE), ("streams", THINKER)):
        for layout in (LAYOUT, longer):
            config = dataclasses.replace(CONFIG, layout=layout)
            more = dataclasses.replace(thinker, config=config)
            costs[name, layout.n_blocks] = rollout_flops(more, segment=2)
    added = {name: costs[name, 6] - costs[name, 3] for name in ("inline", "streams")}
    text = LAYOUT.text * sum(CONFIG.model.stack_flops(LAYOUT.text).values())
    assert added["streams"] > 3 * text > added["inline"] > 0
