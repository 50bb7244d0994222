import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.training.config import OptimizerConfig
from latent_jax.training.feed import put_batch
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import make_optimizer
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.step import compile_eval_step, compile_train_step, make_train_step
from tests.training.byte_task import ByteTask, train_batches


@functools.cache
def compiled(task, accumulation=1):
    """Return the compiled step on one device, a host copy of the first state, and a batch."""
    mesh = make_mesh("pmap", devices=jax.devices()[:1])
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=1), 10)
    batch = next(train_batches(16))
    init = initial_state(task, optimizer, batch, 0)
    abstract = abstract_state(init, mesh, "pmap")
    step = compile_train_step(task, optimizer, abstract, batch, accumulation, mesh)
    return step, create_state(init, abstract), batch, mesh


def setup(task, accumulation=1):
    """Return the same with a state that may be donated."""
    step, state, batch, mesh = compiled(task, accumulation)
    return step, jax.tree.map(jnp.copy, state), batch, mesh


def test_accumulation_weighs_micro_batches_and_carries_mutable_state():
    task = ByteTask(dropout=0.0)
    results = []
    for accumulation in (1, 4):
        step, state, batch, mesh = setup(task, accumulation)
        # Padding lies unevenly: a mean of the micro-batches' means would differ.
        batch = {k: v.copy() for k, v in batch.items()}
        batch["weights"][::4, 4:] = 0.0
        results.append(step(state, put_batch(batch, mesh)))
    (one, one_metrics), (four, four_metrics) = jax.device_get(results)
    chex.assert_trees_all_close(one.params, four.params, atol=1e-6)
    chex.assert_trees_all_close(one_metrics, four_metrics, rtol=1e-5)
    chex.assert_trees_all_equal(one.state, four.state)
    counts = np.bincount(batch["ids"][batch["weights"] > 0], minlength=258)
    np.testing.assert_array_equal(four.state["statistics"]["byte_counts"], counts)

    variables = compiled(task)[1].variables
    means = [
        task.loss(
            variables,
            {k: jnp.asarray(v[i::4]) for k, v in batch.items()},
            jax.random.key(0),
            jnp.int32(0),
            True,
        )[0]
        for i in range(4)
    ]
    assert abs(float(np.mean(means)) - float(one_metrics.loss)) > 1e-4


def test_each_micro_batch_draws_its_own_dropout():
    task = ByteTask(dropout=0.5)
    step, state, batch, mesh = setup(task, accumulation=2)
    # Both micro-batches hold the same rows: rows 0 and 1, 2 and 3, ... are equal.
    rows = {k: np.repeat(v[:8], 2, axis=0) for k, v in batch.items()}
    _, metrics = step(state, put_batch(rows, mesh))
    half = {k: jnp.asarray(v[:8]) for k, v in batch.items()}
    state = compiled(task, 2)[1]
    key = jax.random.fold_in(state.key, 0)
    losses = [
        float(task.loss(state.variables, half, jax.random.fold_in(key, i), 0, True)[0])
        for i in range(2)
    ]
    assert abs(losses[0] - losses[1]) > 1e-4
    np.testing.assert_allclose(metrics.loss, np.mean(losses), rtol=1e-5)


def test_a_batch_of_padding_alone_changes_no_parameter_by_its_gradient():
    step, state, batch, mesh = setup(ByteTask(dropout=0.0), accumulation=4)
    empty = {**batch, "weights": np.zeros_like(batch["weights"])}
    _, metrics = step(state, put_batch(empty, mesh))
    assert bool(metrics.is_finite) and float(metrics.gradient_norm) == 0.0


def test_frozen_parameters_stay_and_have_no_optimizer_state():
    frozen_task = ByteTask(dropout=0.0, frozen=(r"params/token_embedding/.*",))
    step, state, batch, mesh = setup(frozen_task)
    before = jax.device_get(state.params)
    n_moments = len(jax.tree.leaves(state.opt_state))
    after, _ = jax.device_get(step(state, put_batch(batch, mesh)))
    chex.assert_trees_all_equal(before["token_embedding"], after.params["token_embedding"])
    up = "feed_forward", "up", "kernel"
    moved = after.params[up[0]][up[1]][up[2]] - before[up[0]][up[1]][up[2]]
    assert np.abs(moved).max() > 1e-4
    assert n_moments == len(jax.tree.leaves(compiled(ByteTask(dropout=0.0))[1].opt_state)) - 2


def test_a_batch_of_another_shape_is_an_error_and_not_a_compilation():
    traces = []

    class Counted(ByteTask):
        def loss(self, *args):
            traces.append(1)
            return super().loss(*args)

    step, state, batch, mesh = setup(Counted())
    n_traces = len(traces)
    assert n_traces >= 1
    for _ in range(3):
        state, _ = step(state, put_batch(batch, mesh))
    assert len(traces) == n_traces
    short = {k: v[:8] for k, v in batch.items()}
    with pytest.raises(ValueError, match=r"compiled for .*\[16, 32\].* got .*\[8, 32\].*one shape"):
        step(state, put_batch(short, mesh))
    assert len(traces) == n_traces


def test_a_step_is_traced_once_whatever_its_values():
    task, mesh = ByteTask(), make_mesh("pmap", devices=jax.devices()[:1])
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=1), 10)
    batches = train_batches(16)
    init = initial_state(task, optimizer, next(batches), 0)
    abstract = abstract_state(init, mesh, "pmap")
    state = create_state(init, abstract)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract.params)
    chex.clear_trace_counter()
    train_step = chex.assert_max_traces(make_train_step(task, optimizer, 1, mesh, shardings), n=1)
    step = jax.jit(train_step)
    for _ in range(3):
        state, _ = step(state, put_batch(next(batches), mesh))
    assert int(state.step) == 3
    short = {name: x[:8] for name, x in next(batches).items()}
    with pytest.raises(AssertionError, match="traced"):
        step(state, put_batch(short, mesh))


def test_the_step_donates_its_state():
    step, state, batch, mesh = setup(ByteTask(dropout=0.0))
    step(state, put_batch(batch, mesh))
    assert state.params["token_embedding"]["embedding"].is_deleted()


def test_the_key_depends_on_the_step_and_on_nothing_else():
    def loss_at(step_number):
        step, state, batch, mesh = setup(ByteTask(dropout=0.5), 2)
        state = dataclasses.replace(state, step=jnp.full_like(state.step, step_number))
        return step(state, put_batch(batch, mesh))[1].loss

    first, again, later = loss_at(0), loss_at(0), loss_at(5)
    assert float(first) == float(again) and float(first) != float(later)


@dataclasses.dataclass(frozen=True)
class Mute(ByteTask):
    """Says less than a task must."""

    lacks: str = ""
    headline: str = "bits_per_byte"

    def loss(self, variables, batch, key, step, train):
        loss, (scores, state) = super().loss(variables, batch, key, step, train)
        return loss, ({name: x for name, x in scores.items() if name != self.lacks}, state)


@pytest.mark.parametrize("lacks", ["n_bytes", "weight"])
def test_a_score_that_is_missing_is_named_before_anything_is_compiled(lacks):
    with pytest.raises(ValueError, match=rf"bytes_two_back.loss lack '{lacks}', which Task of"):
        compiled(Mute(lacks=lacks))


def test_a_headline_that_no_summary_has_is_named():
    batch, mesh = next(train_batches(16)), make_mesh("pmap", devices=jax.devices()[:1])
    init = initial_state(Mute(), make_optimizer(OptimizerConfig(warmup_steps=1), 10), batch, 0)
    variables = abstract_state(init, mesh, "pmap").variables
    compile_eval_step(Mute(), variables, batch, mesh)
    with pytest.raises(ValueError, match=r"summarize gives no 'bpb', .* gives bits_per_byte"):
        compile_eval_step(Mute(headline="bpb"), variables, batch, mesh)
