"""What `Task` promises, checked while its steps are traced: nothing is computed.

Without these checks JAX would fail deep inside of its transformations, or add up what is no sum.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from latent_jax.contracts import amount_key

PyTree = Any


def checked_variables(task, variables: Any) -> dict[str, PyTree]:
    """Return what `Task.init` drew, as a dictionary.

    Args:
        task: see `latent_jax.contracts.Task`.
        variables: any.

    Raises:
        ValueError: it is no mapping with the collection "params".
    """
    if not isinstance(variables, Mapping) or "params" not in variables:
        kind = sorted(variables) if isinstance(variables, Mapping) else type(variables).__name__
        raise ValueError(
            f'{_of(task, "init")} must return a mapping with "params", as Flax has it; got {kind}'
        )
    return dict(variables)


def checked_loss(task, result: Any, collections: Mapping[str, PyTree]) -> Any:
    """Return what `Task.loss` returned, after a check of its form.

    Args:
        task: see `latent_jax.contracts.Task`.
        result: any.
        collections: the non-parameter collections that the step began with.

    Raises:
        ValueError: it is not (float scalar, (scores, collections)), a score is missing or no sum,
            or the collections have other arrays than those of before.
    """
    form = "(loss, (scores, collections))"
    pairs = (tuple, list)
    if not (isinstance(result, pairs) and len(result) == 2):
        raise ValueError(f"{_of(task, 'loss')} must return {form}; got {_described(result)}")
    loss, second = result
    if not (isinstance(second, pairs) and len(second) == 2 and isinstance(second[1], Mapping)):
        raise ValueError(
            f"{_of(task, 'loss')} must return {form}; got (loss, {_described(second)}), and a task "
            "without collections returns {} as collections"
        )
    if np.shape(loss) != () or not np.issubdtype(_dtype(loss), np.floating):
        raise ValueError(
            f"{_of(task, 'loss')} must return one float, the mean over scored positions; got "
            f"{_described(loss)}: sum the nats, and divide by the weight"
        )
    scores = checked_scores(task, second[0], "loss")
    missing = [key for key in ("weight", *map(amount_key, task.amounts)) if key not in scores]
    if missing:
        raise ValueError(
            f"the scores of {task.name}.loss lack {missing[0]!r}, which Task of "
            f"latent_jax/contracts.py asks for; they are {', '.join(sorted(scores))}"
        )
    before, after = _arrays(collections), _arrays(second[1])
    if before != after:
        name = min(key for key in {*before, *after} if before.get(key) != after.get(key))
        raise ValueError(
            f"{_of(task, 'loss')} returns other collections than it got: {name} was "
            f"{before.get(name, 'not there')} and is {after.get(name, 'not there')}"
        )
    return loss, (scores, second[1])


def checked_scores(task, scores: Any, of: str) -> Mapping[str, jax.Array]:
    """Return scores, after a check that they are sums.

    Args:
        task: see `latent_jax.contracts.Task`.
        scores: any.
        of: the method that returned them, for the message.

    Raises:
        ValueError: they are no mapping from names to arrays, or the weight, an amount or the nats
            were not summed over the batch.
    """
    if not isinstance(scores, Mapping) or not all(isinstance(name, str) for name in scores):
        raise ValueError(
            f"{_of(task, of)} must return scores, arrays by name; got {_described(scores)}"
        )
    summed = ("weight", "nats", *map(amount_key, getattr(task, "amounts", ())))
    for name, value in scores.items():
        if _dtype(value) is None:
            raise ValueError(f"{_of(task, of)} has the score {name!r}, no array: {value!r}")
        if name in summed and np.shape(value) != ():
            raise ValueError(
                f"{_of(task, of)} has the score {name!r} of shape {np.shape(value)}, and scores "
                "are sums over a batch: sum it"
            )
    return scores


def check_headline(task, scores: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Check that the summary of evaluation scores has the metric that a run is judged by.

    Args:
        task: of a run.
        scores: shapes of what its `evaluate` returns.

    Raises:
        ValueError: it has not, a metric is no number, or none can be made of these scores; the
            message lists what there is.
    """
    try:
        metrics = task.summarize({name: np.ones(x.shape) for name, x in scores.items()})
    except (AttributeError, LookupError, TypeError) as error:
        said = " ".join(str(error).split())
        shapes = ", ".join(f"{name}{[*x.shape]}" for name, x in sorted(scores.items()))
        raise ValueError(
            f"{_of(task, 'summarize')} cannot read the scores of evaluate, which are {shapes} "
            f"({type(error).__name__}: {said})"
        ) from error
    is_mapping = isinstance(metrics, Mapping)
    for name, value in metrics.items() if is_mapping else {"metrics": metrics}.items():
        if not is_mapping or _dtype(value) is None or np.shape(value) != ():
            raise ValueError(
                f"{_of(task, 'summarize')} must map names to numbers; got {name}: "
                f"{_described(value)}"
            )
    if task.headline not in metrics:
        raise ValueError(
            f"{task.name}.summarize gives no {task.headline!r}, which is the task's headline; it "
            f"gives {', '.join(sorted(metrics))}"
        )


def _of(task, method: str) -> str:
    return f"{type(task).__name__}.{method} of {type(task).__module__}"


def _dtype(value: Any) -> np.dtype | None:
    """Return the dtype of an array or a number; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return np.dtype(type(value))
    return getattr(value, "dtype", None)


def _described(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{[*value.shape]}"
    return f"a {type(value).__name__}"


def _arrays(tree: PyTree) -> dict[str, str]:
    """Return path -> dtype and shape of all leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(tree))
    return {jax.tree_util.keystr(path): _described(leaf) for path, leaf in leaves}
