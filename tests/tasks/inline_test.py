"""The first phase under the inline layout: losses, scores, refusals, and the ledger of FLOPs."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation.rollout import Decoding
from latent_jax.models.inline_memory import Inline
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import block_scores
from latent_jax.tasks.state_alignment import alignment_scores
from latent_jax.tasks.thought_slots import Curriculum
from tests.small_reasoner import (
    CONFIG,
    LAYOUT,
    THINKER,
    forward_flops,
    moved_variables,
    small_batch,
)

THINKS = dataclasses.replace(THINKER, inline=Inline(step=9))
TASK = LatentReasoning(THINKS, 0.3)
STREAMS = LatentReasoning(THINKER, 0.3)


def variables():
    """Drawn parameters, moved away from zero."""
    return moved_variables(STREAMS)


def test_a_curriculum_goes_through_one_program_and_trains_every_stage():
    task = dataclasses.replace(
        TASK, thinker=dataclasses.replace(THINKS, curriculum=Curriculum(3, 8, 0.25))
    )

    @jax.jit
    def loss(variables, step):
        return jax.value_and_grad(
            lambda v: task.loss(v, small_batch(), jax.random.key(0), step, True)[0]
        )(variables)

    found = [loss(variables(), jnp.int32(step)) for step in (0, 2, 4, 6)]
    assert loss._cache_size() == 1
    values = [float(value) for value, _ in found]
    assert len({round(value, 4) for value in values}) == 4 and np.isfinite(values).all()
    written, thought = (
        float(jnp.abs(gradient["params"]["thought"]["projection"]["up"]["kernel"]).max())
        for _, gradient in (found[0], found[-1])
    )
    assert written == 0 and thought > 0


def test_the_text_and_the_first_block_cost_what_they_cost_in_two_streams():
    kinds = "opening_nats", "result_nats_without", "rest_nats_without", "n_results", "weight"
    inline, streams = (
        jax.jit(task.evaluate)(variables(), small_batch()) for task in (TASK, STREAMS)
    )
    chex.assert_trees_all_close(*({k: x[k] for k in kinds} for x in (inline, streams)), rtol=1e-5)
    problems = Problems.of(small_batch(), LAYOUT)
    nats = {}
    for name, thinker in (("inline", THINKS), ("streams", THINKER)):

        @jax.jit
        def states(variables, thinker=thinker):
            trunks = Trunks(CONFIG, variables["params"])
            return thinker.run(trunks, problems, jnp.int32(3)).before_BND

        nats[name] = np.array(states(variables()))
    block = np.array(problems.block_BN)
    apart = np.abs(nats["inline"] - nats["streams"])
    assert apart[block == 1].max() < 1e-5 and apart[block == 2].max() > 1e-2


def test_pauses_do_not_differ_between_problems_and_thoughts_do():
    for kind, is_used in (("pause", False), ("latent", True)):
        task = dataclasses.replace(
            TASK,
            thinker=dataclasses.replace(THINKS, slots=kind),
            decoding=Decoding(9) if is_used else None,
        )
        sums = jax.device_get(jax.jit(task.evaluate)(variables(), small_batch()))
        found = task.summarize(sums)
        assert (abs(found["use_nats_per_token"]) > 1e-3) == is_used
        own = sums["result_nats_own"] - sums["result_nats_with"]
        assert abs(own) < 1e-3 and ("right_share" in found) == is_used


def test_written_steps_are_aligned_with_themselves():
    trunks, problems = Trunks(CONFIG, variables()["params"]), Problems.of(small_batch(), LAYOUT)
    written = dataclasses.replace(THINKS, slots="written", curriculum=Curriculum(0))

    @functools.partial(jax.jit, static_argnames="thinker")
    def scores(params, thinker):
        trunks = Trunks(CONFIG, params)
        found = thinker.run(trunks, problems, jnp.int32(thinker.n_thoughts))
        alone = alignment_scores(thinker, trunks, problems, found, "whole")
        return alone | block_scores(trunks, problems, found, "whole", names_slots=False)

    same, apart = (scores(trunks.params, thinker) for thinker in (written, THINKS))
    assert (
        float(same["alignment"]) == pytest.approx(0, abs=1e-4) and float(apart["alignment"]) > 0.1
    )
    expected = same["result_nats_with"] + same["rest_nats_with"]
    chex.assert_trees_all_close(same["teacher_nats"], expected, rtol=1e-5)


TWO = dict(trunks=2, change="lora", rank=2)


@pytest.mark.parametrize(
    ("changes", "config", "message"),
    [
        ({"slots": "none", "curriculum": Curriculum(0)}, {}, "slots 'none' make no blocks"),
        ({"iterations": 3}, {}, "thoughts.iterations=3 compute all blocks at once"),
        ({"ends": True}, {}, "thoughts.end_weight tries numbers of thoughts for each block"),
        ({}, {**TWO, "cache": "separate"}, "thoughts.cache='separate' has two sets of keys"),
        ({"inline": Inline(15)}, {}, "longest_step=15 is more than thoughts.blocks_text=14"),
        ({}, {"layout": dataclasses.replace(LAYOUT, n_blocks=1)}, "one block has none before it"),
    ],
)
def test_what_the_layout_cannot_do_is_refused(changes, config, message):
    with pytest.raises(ValueError, match=f"thoughts.layout='inline': .*{message}"):
        dataclasses.replace(THINKS, config=dataclasses.replace(CONFIG, **config), **changes)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("latent", {}, {}),
        ("pause", {}, {}),
        ("latent", {**TWO, "message": "embedding"}, {"align_weight": 1.0}),
    ],
    ids=["latent", "pause", "two trunks, aligned"],
)
def test_the_ledger_counts_what_the_compiler_counts(kind, config, words, monkeypatch):
    # The compiler counts the body of a loop once.
    monkeypatch.setattr(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=True))
    model = dataclasses.replace(CONFIG.model, d_model=256, n_heads=4, scan_unroll=1)
    config = dataclasses.replace(CONFIG, model=model, **config)
    thinker = dataclasses.replace(THINKS, config=config, slots=kind)
    task = LatentReasoning(thinker, 0.3, **words)
    drawn = jax.eval_shape(lambda: task.init(jax.random.key(0), small_batch()))

    def forward(variables):
        return task.loss(variables, small_batch(), jax.random.key(0), jnp.int32(0), False)[0]

    counted = jax.jit(forward).lower(drawn).cost_analysis()["flops"]
    ledger = 4 * sum(task.component_flops.values()) * 0.3 * LAYOUT.length
    np.testing.assert_allclose(counted, ledger, rtol=0.06)
    # All steps of a row in each block would be dearer.
    wide = dataclasses.replace(thinker, inline=Inline(14))
    assert forward_flops(wide) > 1.1 * forward_flops(thinker)
