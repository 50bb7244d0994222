"""What else a run refuses before its folder is made: checks that need the task."""

from collections.abc import Sequence

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from latent_jax.contracts import Evaluation, Task
from latent_jax.data import batch_spec
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.nearest import check_word
from latent_jax.paths import open_path
from latent_jax.training import TrainingConfig, initial_state
from latent_jax.training.feed import Spec
from latent_jax.training.init_from import (
    borrowed_weights,
    check_network,
    choose_names,
    open_weights,
    without_copies,
)


def check_source(path: str) -> None:
    """Refuse a `training.init_from` that is not there, before any text is read."""
    if not open_path(path).exists():
        raise ValueError(f"training.init_from={path} does not exist")


def check_weights(task: Task, training: TrainingConfig, spec: Spec, mesh: Mesh) -> None:
    """Refuse weights that do not fit, before a run folder is made for them."""
    shapes = jax.eval_shape(initial_state(task, optax.identity(), spec, 0)).variables
    weights = open_weights(training.init_from, mesh)
    names = choose_names(weights, without_copies(task, shapes), training.init_patterns)
    network = getattr(task, "model_config", None)
    if isinstance(network, ReasonerConfig):
        network = network.model
    if isinstance(network, GPTConfig):
        check_network(weights, network, names)


def check_borrowed(task: Task, spec: Spec, mesh: Mesh) -> None:
    """Refuse weights that a task borrows and that do not fit, before a run folder is made."""
    shapes = jax.eval_shape(initial_state(task, optax.identity(), spec, 0)).variables
    for _ in borrowed_weights(task, shapes, mesh):
        pass  # each is checked when it is opened


def check_best_metric(task: Task, name: str, spec: Spec, evaluations: Sequence[Evaluation]) -> None:
    """Refuse a `training.best_metric` that no evaluation of the run measures.

    Args:
        task: that is trained.
        name: of the metric.
        spec: of a batch.
        evaluations: of the run; only those that are always due count.

    Raises:
        ValueError: the message names the nearest metric, and all.
    """
    if name == task.headline:  # there by contract, so that nothing is traced for it
        return
    names = [
        f"{evaluation.prefix}{metric}"
        for evaluation in evaluations
        if evaluation.every == 1
        for metric in metric_names(evaluation.task or task, spec)
    ]
    check_word("training.best_metric", name, names)


def check_metric_name(task: Task, name: str, row_length: int) -> None:
    """Refuse a `training.best_metric` that is no metric of a task under any prefix.

    Nothing is read for it. `check_best_metric` knows the evaluations, and so their prefixes.

    Args:
        task: that will be trained; one that reads more than ids is not asked.
        name: of the metric; "" = the headline.
        row_length: L.

    Raises:
        ValueError: the message names the nearest metric, and all.
    """
    if name in ("", task.headline) or task.fields != ("ids",):
        return
    known = metric_names(task, batch_spec(1, row_length))
    if not any(f"_{name}".endswith(f"_{metric}") for metric in known):
        check_word("training.best_metric", name, known)


def metric_names(task: Task, spec: Spec) -> list[str]:
    """Return the metrics of an evaluation; nothing is computed but their summary of ones."""
    variables = jax.eval_shape(initial_state(task, optax.identity(), spec, 0)).variables
    scores = jax.eval_shape(task.evaluate, variables, dict(spec))
    sums = {name: np.ones(score.shape) for name, score in scores.items()}
    return list(task.summarize(sums))
