"""The step decoder and the alignment of states, against single steps read by hand."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.trunks import Trunks
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.losses import token_nats
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import block_scores, logits
from latent_jax.tasks.state_alignment import alignment_scores
from latent_jax.tasks.step_decoder import decoder_scores
from latent_jax.tasks.thought_slots import Curriculum
from tests.small_reasoner import CONFIG, LAYOUT, THINKER, moved_variables, small_batch

TASK = LatentReasoning(THINKER, 0.3)


def read(thinker=THINKER, stage=None):
    """Return trunks, problems and the forward pass of a batch."""
    trunks = Trunks(CONFIG, moved_variables(TASK)["params"])
    problems = Problems.of(small_batch(), LAYOUT)
    stage = thinker.n_thoughts if stage is None else stage
    return trunks, problems, thinker.run(trunks, problems, jnp.int32(stage))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_step_is_decoded_from_its_thoughts_and_nothing_else(k):
    thinker = dataclasses.replace(THINKER, curriculum=Curriculum(k))
    trunks, problems, found = read(thinker)
    scores = decoder_scores(thinker, trunks, problems, found, "whole")
    total = count = 0
    for row in range(4):
        for block in range(2):
            written_T = problems.written_BJK[row, block, : problems.n_written_BJ[row, block]]
            thoughts_TD = found.thoughts.v_BSJD[row, 1 : 1 + k, block]
            x_TD = jnp.concatenate((thoughts_TD, trunks.embed(written_T[:-1])))
            h_1TD, _ = trunks.language(x_TD[None])
            total += float(token_nats(logits(trunks, h_1TD[:, k - 1 :]), written_T[None]).sum())
            count += len(written_T)
    assert int(scores["n_decoded"]) == count == 24
    np.testing.assert_allclose(float(scores["decoded_nats"]), total, rtol=1e-5)


def test_nothing_is_decoded_before_all_slots_hold_thoughts():
    for stage, count in ((0, 0), (2, 0), (3, 24)):
        scores = decoder_scores(THINKER, *read(stage=stage), "whole")
        assert int(scores["n_decoded"]) == count


def test_the_decoder_trains_what_makes_thoughts():
    trunks, problems, _ = read()

    def nats(params):
        moved = Trunks(CONFIG, params)
        found = THINKER.run(moved, problems, jnp.int32(3))
        return decoder_scores(THINKER, moved, problems, found, "whole")["decoded_nats"]

    gradient = jax.jit(jax.grad(nats))(trunks.params)
    assert float(jnp.abs(gradient["thought"]["projection"]["up"]["kernel"]).max()) > 0


def test_written_steps_are_aligned_with_themselves():
    written = dataclasses.replace(THINKER, slots="written", curriculum=Curriculum(0))
    trunks, problems, found = read(written)
    scores = alignment_scores(THINKER, trunks, problems, found, "whole")
    blocks = block_scores(trunks, problems, found, "whole", names_slots=False)
    assert float(scores["alignment"]) == pytest.approx(0, abs=1e-4)
    expected = blocks["result_nats_with"] + blocks["rest_nats_with"]
    chex.assert_trees_all_close(scores["teacher_nats"], expected, rtol=1e-5)
    _, _, latent = read()
    apart = alignment_scores(THINKER, trunks, problems, latent, "whole")
    assert float(apart["alignment"]) > 0.1
    chex.assert_trees_all_close(apart["teacher_nats"], scores["teacher_nats"], rtol=1e-5)


def test_alignment_moves_the_student_and_not_the_teacher():
    trunks, problems, found = read()

    def of_teacher(params):
        moved = Trunks(CONFIG, params)
        fixed = found._replace(text=read_text_of(moved, problems))
        return alignment_scores(THINKER, moved, problems, fixed, "whole")["alignment"]

    def read_text_of(moved, problems):
        return THINKER.run(moved, problems, jnp.int32(3)).text

    def of_student(params):
        moved = Trunks(CONFIG, params)
        found = THINKER.run(moved, problems, jnp.int32(3))
        return alignment_scores(THINKER, moved, problems, found, "whole")["alignment"]

    still, moves = (
        max(float(jnp.abs(x).max()) for x in jax.tree.leaves(jax.jit(jax.grad(f))(trunks.params)))
        for f in (of_teacher, of_student)
    )
    assert still == 0 and moves > 0


def test_both_reach_the_loss_the_metrics_and_the_ledger():
    step = small_batch(), jax.random.key(0), jnp.int32(0), True
    variables = moved_variables(TASK)
    plain, _ = TASK.loss(variables, *step)
    for key, metric in (
        ("decoder_weight", "decoded_nats_per_token"),
        ("align_weight", "alignment"),
    ):
        task = dataclasses.replace(TASK, **{key: 1.0})
        loss, (scores, _) = task.loss(variables, *step)
        assert float(loss) > float(plain) and metric in task.summarize(jax.device_get(scores))
        assert metric not in TASK.summarize(jax.device_get(TASK.loss(variables, *step)[1][0]))


@pytest.mark.parametrize(
    ("key", "part"), [("decoder_weight", "decoder"), ("align_weight", "teacher")]
)
def test_the_ledger_counts_what_they_cost(key, part):
    model = dataclasses.replace(CONFIG.model, d_model=256, n_heads=4, scan_unroll=1)
    thinker = dataclasses.replace(THINKER, config=dataclasses.replace(CONFIG, model=model))
    tasks = [LatentReasoning(thinker, 0.3, **{key: weight}) for weight in (0.0, 1.0)]
    drawn = jax.eval_shape(lambda: tasks[0].init(jax.random.key(0), small_batch()))

    def counted(task):
        def forward(variables):
            return task.loss(variables, small_batch(), jax.random.key(0), jnp.int32(0), False)[0]

        return jax.jit(forward).lower(drawn).cost_analysis()["flops"]

    n_bytes = 0.3 * LAYOUT.length
    expected = 4 * n_bytes * tasks[1].component_flops[part]
    assert part not in tasks[0].component_flops
    np.testing.assert_allclose(counted(tasks[1]) - counted(tasks[0]), expected, rtol=0.1)
