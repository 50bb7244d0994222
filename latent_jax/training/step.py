"""One optimizer step and one evaluation step, written once for every task and every strategy."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from latent_jax.contracts import Batch
from latent_jax.platform import Platform
from latent_jax.sharding_constraints import placed_on
from latent_jax.training.optimizer import frozen_mask, merge_frozen, split_frozen
from latent_jax.training.promises import check_headline, checked_loss, checked_scores
from latent_jax.training.sharding import batch_sharding, gathered, replicated
from latent_jax.training.state import TrainState

PyTree = Any


class StepMetrics(NamedTuple):
    """The results of a step for the host; every array is replicated."""

    loss: jax.Array
    """float32 scalar, mean over the scored positions of the global batch."""
    gradient_norm: jax.Array
    """float32 scalar, global norm of the trained parameters' gradient before clipping."""
    is_finite: jax.Array
    """bool scalar: loss, gradient and update hold no NaN and no infinity."""
    scores: dict[str, jax.Array]
    """The task's scores, summed over the global batch."""


def make_train_step(
    task,
    optimizer: optax.GradientTransformation,
    accumulation: int,
    mesh: Mesh,
    param_shardings: PyTree,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Return a pure function (state, batch) -> (state, StepMetrics) for `CompiledStep`.

    With `accumulation` = A the batch is cut into A micro-batches that a scan visits in turn.
    Gradient and loss are means weighted by `scores["weight"]`, so A micro-batches give the gradient
    of the whole batch however padding is spread. Mutable collections pass from one micro-batch to
    the next.
    """

    def train_step(state: TrainState, batch: Batch):
        trained, frozen = split_frozen(state.params, frozen_mask(state.params, task.frozen))
        shardings, _ = split_frozen(param_shardings, frozen_mask(state.params, task.frozen))
        key = jax.random.fold_in(state.key, state.step)

        def loss_and_gradient(collections, micro_batch, key):
            def loss(trained):
                variables = {"params": gathered(merge_frozen(trained, frozen)), **collections}
                result = task.loss(variables, micro_batch, key, state.step, True)
                return checked_loss(task, result, collections)

            (value, (scores, collections)), gradient = jax.value_and_grad(loss, has_aux=True)(
                trained
            )
            # Each device keeps the same part of the gradient as of the parameter.
            gradient = jax.lax.with_sharding_constraint(gradient, shardings)
            return value, gradient, scores, {**collections}

        if accumulation == 1:
            loss, gradient, scores, collections = loss_and_gradient(state.state, batch, key)
        else:
            loss, gradient, scores, collections = _accumulate(
                loss_and_gradient, state.state, _micro_batches(batch, accumulation, mesh), key
            )
        updates, opt_state = optimizer.update(gradient, state.opt_state, trained)
        gradient_norm = optax.tree.norm(gradient)
        is_finite = (
            jnp.isfinite(loss)
            & jnp.isfinite(gradient_norm)
            & jnp.isfinite(optax.tree.norm(updates))
        )
        state = state.replace(
            step=state.step + 1,
            params=merge_frozen(optax.apply_updates(trained, updates), frozen),
            state=collections,
            opt_state=opt_state,
        )
        return state, StepMetrics(loss, gradient_norm, is_finite, scores)

    return train_step


def _micro_batches(batch: Batch, accumulation: int, mesh: Mesh) -> Batch:
    """Cut [B, ...] into [A, B/A, ...] so that every device keeps the rows it already has.

    Micro-batch a takes the rows a, a + A, a + 2A, ...: contiguous pieces would move rows between
    devices.
    """

    def cut(x):
        x = jnp.moveaxis(x.reshape(-1, accumulation, *x.shape[1:]), 1, 0)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P(None, "data")))

    return jax.tree.map(cut, dict(batch))


def _accumulate(loss_and_gradient, collections, batches, key):
    """Scan over micro-batches; return weighted means of loss and gradient, sums of scores."""

    def weighted(collections, micro_batch, index):
        loss, gradient, scores, collections = loss_and_gradient(
            collections, micro_batch, jax.random.fold_in(key, index)
        )
        weight = scores["weight"].astype(jnp.float32)
        return (loss * weight, jax.tree.map(lambda g: g * weight, gradient), scores), collections

    def body(carry, micro_batch_and_index):
        sums, collections = carry
        terms, collections = weighted(collections, *micro_batch_and_index)
        return (jax.tree.map(jnp.add, sums, terms), collections), None

    first = jax.tree.map(lambda x: x[0], batches)
    terms, _ = jax.eval_shape(weighted, collections, first, 0)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), terms)
    n_batches = len(jax.tree.leaves(batches)[0])
    ((loss, gradient, scores), collections), _ = jax.lax.scan(
        body, (zeros, collections), (batches, jnp.arange(n_batches))
    )
    # A batch of padding alone has weight 0 and gradient 0.
    scale = 1.0 / jnp.maximum(scores["weight"].astype(jnp.float32), 1.0)
    return loss * scale, jax.tree.map(lambda g: g * scale, gradient), scores, collections


def make_eval_step(task) -> Callable[[Mapping[str, PyTree], Batch], dict[str, jax.Array]]:
    """Return a pure function (variables, batch) -> scores, summed over the batch."""

    def eval_step(variables, batch):
        scores = task.evaluate({**variables, "params": gathered(variables["params"])}, batch)
        return checked_scores(task, scores, "evaluate")

    return eval_step


def lower_train_step(
    task,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch_spec: Batch,
    accumulation: int,
    mesh: Mesh,
    platform: Platform | None = None,
) -> jax.stages.Lowered:
    """Return the train step lowered for the mesh; it consumes (donates) the state it is given.

    Args:
        task: see `latent_jax.contracts.Task`.
        optimizer: from `make_optimizer`.
        state: arrays, or `ShapeDtypeStruct`s with shardings as `abstract_state` makes them.
        batch_spec: shapes and dtypes of a global batch, whose rows are split over "data".
        accumulation: micro-batches per step.
        mesh: from `make_mesh`.
        platform: what to lower for; None: the platform of the mesh's devices.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return _lower(
        make_train_step(task, optimizer, accumulation, mesh, shardings.params),
        state,
        batch_spec,
        mesh,
        platform,
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )


def lower_eval_step(
    task, variables, batch_spec: Batch, mesh: Mesh, platform: Platform | None = None
) -> jax.stages.Lowered:
    """Return the evaluation step over (variables, batch) lowered; see `lower_train_step`."""
    step = make_eval_step(task)
    return _lower(step, variables, batch_spec, mesh, platform, out_shardings=replicated(mesh))


def _lower(step, first, batch_spec, mesh, platform, **jit_args):
    rows = batch_sharding(mesh)
    batch = {
        key: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=rows) for key, x in batch_spec.items()
    }
    platforms = None if platform is None else (platform.kind,)
    with placed_on(mesh, first):
        return jax.jit(step, **jit_args).trace(first, batch).lower(lowering_platforms=platforms)


class CompiledStep:
    """A step compiled ahead of time for exactly one set of shapes and shardings.

    It cannot compile a second time: a batch of other shapes is an error instead of a silent pause
    of minutes.
    """

    def __init__(self, name: str, lowered: jax.stages.Lowered, batch_spec: Batch):
        """Compile what was lowered.

        Args:
            name: what the error message calls it.
            lowered: from `lower_train_step` or `lower_eval_step`.
            batch_spec: the spec that the step was lowered for.
        """
        self._name = name
        self._spec = {key: (tuple(x.shape), np.dtype(x.dtype)) for key, x in batch_spec.items()}
        self.compiled = lowered.compile()

    def __call__(self, first, batch: Batch):
        """Run the step.

        Raises:
            ValueError: the batch has other keys, shapes or dtypes than the one it was compiled for.
        """
        spec = {key: (x.shape, x.dtype) for key, x in batch.items()}
        if spec != self._spec:
            raise ValueError(
                f"the {self._name} was compiled for batches {_describe(self._spec)} and got "
                f"{_describe(spec)}: every batch of a run must have one shape; pad or drop the "
                "ragged one"
            )
        return self.compiled(first, batch)


def compile_train_step(task, optimizer, state: TrainState, batch_spec, accumulation, mesh):
    """Return the compiled train step; it consumes (donates) the state it is given."""
    lowered = lower_train_step(task, optimizer, state, batch_spec, accumulation, mesh)
    return CompiledStep("train step", lowered, batch_spec)


def compile_eval_step(task, variables, batch_spec, mesh):
    """Return the compiled evaluation step over (variables, batch)."""
    lowered = lower_eval_step(task, variables, batch_spec, mesh)
    if hasattr(task, "headline"):  # a task of an evaluation alone has none
        check_headline(task, lowered.out_info)
    return CompiledStep("evaluation step", lowered, batch_spec)


def _describe(spec: dict) -> str:
    return (
        "{"
        + ", ".join(f"{k}: {dtype.name}{list(shape)}" for k, (shape, dtype) in spec.items())
        + "}"
    )
