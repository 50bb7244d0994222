"""Slots, regions, losses and scores of the first phase, against numbers made by hand."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation.rollout import Decoding
from latent_jax.models.gpt import GPT
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.language_modeling import shift_right
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.losses import token_nats
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thought_slots import Curriculum, fill_slots
from latent_jax.training.optimizer import frozen_mask, merge_frozen, split_frozen
from tests.small_reasoner import (
    CONFIG,
    LAYOUT,
    THINKER,
    TOKENIZER,
    forward_flops,
    moved_variables,
    small_batch,
)

TASK = LatentReasoning(THINKER, 0.3)


batch = small_batch


def variables():
    """Drawn parameters, moved away from zero."""
    return moved_variables(TASK)


def test_a_batch_is_taken_apart():
    problems = Problems.of(batch(), LAYOUT)
    # The separator, 7 bytes of question, and "=": the first block hangs behind nine inputs.
    np.testing.assert_array_equal(problems.breakpoints_BJ, [[8, 10]] * 4)
    np.testing.assert_array_equal(problems.n_written_BJ, [[3, 3]] * 4)
    text = bytes(np.array(problems.ids_BT)[0][:11].tolist())
    assert text[7:8] == b"=" and text[9:10] == b"="
    results = np.array(problems.block_ids_BN)[np.array(problems.block_is_result_BN)]
    last_states = np.array(problems.written_BJK)[:, :, -1].reshape(-1)
    np.testing.assert_array_equal(results, last_states)
    opens_next = np.array(problems.opens_next_BN)
    assert (opens_next.sum(axis=1) == 1).all() and opens_next[:, 1].all()
    assert (np.array(problems.ends_BN).sum(axis=1) == 1).all()
    # A writer decides behind "=" of segment 0, and behind both tokens of the first block.
    asked_BT, asked_BN = (np.array(x) for x in (problems.asks_start_BT, problems.asks_start_BN))
    assert (asked_BT.sum(axis=1) == 1).all() and asked_BT[:, 7].all()
    assert (asked_BN.sum(axis=1) == 2).all() and asked_BN[:, :2].all()


@pytest.mark.parametrize(
    ("n_thoughts", "stage", "kinds", "named"),
    [
        (3, 0, "www", (0, 1, 2)),
        (3, 1, "zww", (0, 1, 2)),
        (3, 3, "zzz", (0, 1, 2)),
        (2, 0, "www", (0, 1, 2)),
        (2, 1, "zw.", (1, 2)),
        (2, 2, "zz.", (1, 2)),
        (1, 1, "z..", (2,)),
    ],
)
def test_thoughts_take_the_places_of_written_tokens(n_thoughts, stage, kinds, named):
    problems, trunks = Problems.of(batch(), LAYOUT), Trunks(CONFIG, variables()["params"])
    slots = fill_slots(trunks, problems, "latent", n_thoughts, jnp.int32(stage), 0)
    n_used = len(kinds.rstrip("."))
    assert (np.array(slots.contents.n_BJ) == n_used).all()
    for slot, kind in enumerate(kinds):
        assert (np.array(slots.is_thought_BJK)[..., slot] == (kind == "z")).all()
        assert (np.array(slots.is_written_BJK)[..., slot] == (kind == "w")).all()
    for slot, token in enumerate(named):
        expected = problems.written_BJK[..., token]
        np.testing.assert_array_equal(slots.named_BJK[..., slot], expected)
        if kinds[slot] == "w":
            given = slots.contents.given_BJKD[:, :, slot]
            chex.assert_trees_all_close(given, trunks.embed(expected))


def test_the_curriculum_goes_through_its_stages():
    curriculum = Curriculum(3, steps=12)
    stages = [int(curriculum(jnp.int32(step))) for step in range(14)]
    assert stages == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert [int(Curriculum(1, steps=7)(jnp.int32(step))) for step in (3, 4, 9)] == [0, 1, 1]
    equal = Curriculum(3, steps=8, first=0.25)
    assert [int(equal(jnp.int32(step))) for step in range(9)] == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    at_once = Curriculum(3, steps=6, first=0.0)
    assert [int(at_once(jnp.int32(step))) for step in range(7)] == [1, 1, 2, 2, 3, 3, 3]
    assert int(Curriculum(3)(jnp.int32(0))) == 3


@pytest.mark.parametrize("kind", ["latent", "pause"])
def test_slots_that_only_written_thoughts_need_are_not_computed(kind):
    wide = dataclasses.replace(LAYOUT, n_slots=7)
    thinkers = [
        dataclasses.replace(THINKER, config=dataclasses.replace(CONFIG, layout=layout), slots=kind)
        for layout in (LAYOUT, wide)
    ]
    found = []
    for thinker in thinkers:
        task = LatentReasoning(thinker, 0.3, decoding=Decoding(6))
        rows = small_batch(thinker.config.layout)
        found.append(task.summarize(jax.device_get(jax.jit(task.evaluate)(variables(), rows))))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert thinkers[0].row_costs() == thinkers[1].row_costs()
    # A curriculum writes in its first stages, and then all slots are needed.
    staged = [dataclasses.replace(t, slots="latent", curriculum=Curriculum(3, 9)) for t in thinkers]
    assert staged[0].row_costs()["thoughts"] < staged[1].row_costs()["thoughts"]


def test_the_text_is_scored_as_a_gpt_scores_it():
    scores = jax.jit(TASK.evaluate)(variables(), batch())
    params = {key: variables()["params"][key] for key in ("token_embedding", "stack")}
    problems = Problems.of(batch(), LAYOUT)
    inputs = shift_right(problems.ids_BT, TOKENIZER.separator_id)
    logits = GPT(CONFIG.model).apply({"params": params}, inputs)
    nats_BT = np.array(token_nats(logits, problems.ids_BT))
    segment, result = np.array(problems.segment_BT), np.array(problems.is_result_BT)
    expected = {
        "opening_nats": nats_BT[segment == 1].sum(),
        "result_nats_without": nats_BT[(segment > 1) & result].sum(),
        "rest_nats_without": nats_BT[(segment > 1) & ~result].sum(),
    }
    chex.assert_trees_all_close({k: scores[k] for k in expected}, expected, rtol=1e-4)
    assert float(scores["n_results"]) == 8 and float(scores["weight"]) == (segment > 0).sum()
    assert float(scores["n_bytes"]) == 4 * len("=3=8\n#### 8")


def test_pauses_do_not_differ_between_problems_and_thoughts_do():
    pause = dataclasses.replace(TASK, thinker=dataclasses.replace(THINKER, slots="pause"))
    found = pause.summarize(jax.device_get(jax.jit(pause.evaluate)(variables(), batch())))
    assert abs(found["use_nats_per_token"]) < 1e-4
    found = TASK.summarize(jax.device_get(jax.jit(TASK.evaluate)(variables(), batch())))
    assert abs(found["use_nats_per_token"]) > 1e-3


def test_gradients_reach_what_is_trained_and_nothing_else():
    two = dataclasses.replace(CONFIG, trunks=2, change="lora", rank=2, message="embedding")
    task = dataclasses.replace(TASK, thinker=dataclasses.replace(THINKER, config=two))
    drawn = task.init(jax.random.key(0), batch())
    gradient = jax.jit(
        jax.grad(lambda v: task.loss(v, batch(), jax.random.key(0), jnp.int32(0), True)[0])
    )(drawn)["params"]
    norms = jax.tree.map(lambda x: float(jnp.abs(x).max()), gradient["thought"])
    assert norms["marks"] > 0 and norms["projection"]["up"]["kernel"] > 0
    # The factor that begins at zero learns first; the other one follows.
    assert norms["changes"]["blocks.attention.query_key_value.kernel.b"] > 0
    assert norms["end_head"]["kernel"] == 0 and norms["start_head"]["kernel"] > 0
    assert task.frozen == (r"params/(token_embedding|stack)/.*",)


def test_the_end_classifier_is_asked_up_to_the_oracle():
    task = dataclasses.replace(TASK, end_weight=1.0)
    loss = jax.jit(
        lambda v, weight: (
            dataclasses.replace(task, end_weight=1.0).loss(
                v, batch(), jax.random.key(3), jnp.int32(0), True
            )[0]
            + 0.0 * weight
        )
    )
    gradient = jax.jit(jax.grad(lambda v: loss(v, 1.0)))(variables())["params"]["thought"]
    assert float(jnp.abs(gradient["end_head"]["kernel"]).max()) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"named_weight": 1.0, "thinker": ("pause", 3)}, "named_weight=1.0 is of slots that hold"),
        ({"decoder_weight": 1.0, "thinker": ("written", 0)}, "decoder_weight=1.0 is of slots that"),
        ({"align_weight": 1.0, "thinker": ("none", 0)}, "align_weight=1.0 is of slots that hold"),
        ({"end_weight": 1.0, "thinker": ("filler", 3)}, "end_weight=1.0 is of slots that hold"),
        ({"thinker": ("latent", 4)}, "k=4 thoughts need as many slots"),
        ({"thinker": ("latent", 0)}, "need k of at least 1"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    kind, k = changes.pop("thinker")
    with pytest.raises(ValueError, match=message):
        thinker = dataclasses.replace(THINKER, slots=kind, curriculum=Curriculum(k))
        dataclasses.replace(TASK, thinker=thinker, **changes)


def test_pauses_cost_one_pass_over_the_text_and_two_over_the_blocks():
    model = dataclasses.replace(CONFIG.model, d_model=256, n_heads=4, scan_unroll=1)
    thinker = dataclasses.replace(
        THINKER, config=dataclasses.replace(CONFIG, model=model), slots="pause"
    )
    task = LatentReasoning(thinker, 0.3)
    drawn = jax.eval_shape(lambda: task.init(jax.random.key(0), batch()))

    def forward(variables):
        return task.loss(variables, batch(), jax.random.key(0), jnp.int32(0), False)[0]

    counted = jax.jit(forward).lower(drawn).cost_analysis()["flops"]
    ledger = 4 * forward_flops(thinker)
    np.testing.assert_allclose(counted, ledger, rtol=0.06)


@pytest.mark.parametrize("freezes", [False, True])
def test_training_costs_what_is_differentiated(freezes):
    # The second trunk is a whole copy, and the first one reads its keys.
    model = dataclasses.replace(CONFIG.model, d_model=256, n_heads=4, scan_unroll=1)
    config = dataclasses.replace(CONFIG, model=model)
    if freezes:
        config = dataclasses.replace(config, trunks=2, change="copy", message="keys")
    task = LatentReasoning(dataclasses.replace(THINKER, config=config, slots="pause"), 0.3)
    drawn = jax.eval_shape(lambda: task.init(jax.random.key(0), batch()))["params"]
    trained, frozen = split_frozen(drawn, frozen_mask(drawn, task.frozen))
    assert freezes == bool(jax.tree.leaves(frozen["stack"]))

    @jax.jit
    def gradient(trained, frozen):
        def loss(trained):
            variables = {"params": merge_frozen(trained, frozen)}
            return task.loss(variables, batch(), jax.random.key(0), jnp.int32(0), True)[0]

        return jax.grad(loss)(trained)

    counted = gradient.lower(trained, frozen).compile().cost_analysis()["flops"]
    ledger = 4 * task.train_flops_per_byte * 0.3 * LAYOUT.length
    np.testing.assert_allclose(counted, ledger, rtol=0.06)


def test_the_oracle_of_the_end_classifier_is_paid_for():
    task = LatentReasoning(dataclasses.replace(THINKER, ends=True), 0.3, end_weight=1.0)
    without = LatentReasoning(THINKER, 0.3)
    more = task.flops_per_byte - without.flops_per_byte
    assert more == pytest.approx(task.component_flops["ends"])
    assert more > 4 * without.component_flops["blocks"]
    # It has no gradient.
    assert task.train_flops_per_byte - without.train_flops_per_byte == pytest.approx(more)
