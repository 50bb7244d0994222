"""Makes the task of a configuration; no file is read, so a test can build every config."""

import inspect
import math
import numbers
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.platform import Platform
from latent_jax.registration import file_of, shown


def make_task(config: ConfigDict, vocabulary: Vocabulary, platform: Platform | None = None) -> Task:
    """Return the task of a configuration.

    Args:
        config: as `configs.common.default` makes it.
        vocabulary: of its tokenizer.
        platform: the platform its programs are for, which decides every "auto"; None = that of
            this process.

    Raises:
        ValueError: no model can be made from a value; the message names its config key. Or the
            task lacks what `Task` asks for, or counts other units than its family says.
    """
    method = parse(config.method)
    known, platform = family(method.family), platform or Platform.current()
    task = known.make_task(method, config, vocabulary, platform)
    _check_task(task, f"make_task of the family {known.name} in {file_of(type(known))}")
    if tuple(task.amounts) != known.amounts:
        raise ValueError(
            f"the family {known.name} has amounts {known.amounts}, and its task {task.name} counts "
            f"{tuple(task.amounts)}: they are one thing, name them alike"
        )
    return task


METHODS = tuple(
    name for name, value in vars(Task).items() if inspect.isfunction(value) and name[0] != "_"
)
FLOPS = ("flops_per_byte", "tokenizer_flops_per_byte", "train_flops_per_byte")


def _check_task(task: Any, of: str) -> None:
    """Raise ValueError where a task lacks an attribute of `Task`, or has one in another form."""
    if task is None:
        raise ValueError(f"{of} returned None: it must return a task, see latent_jax/contracts.py")
    of = f"{of}: the task {type(task).__name__} of {type(task).__module__}"
    missing = [name for name in (*Task.__annotations__, *METHODS) if not hasattr(task, name)]
    if missing:
        raise ValueError(
            f"{of} lacks {', '.join(missing)}; Task of latent_jax/contracts.py says what each is"
        )
    promises = [
        *((name, _is_text, "be text") for name in ("name", "headline")),
        *((name, _is_amount, "be a finite number of at least 0") for name in FLOPS),
        *((name, _are_texts, "be a tuple of text") for name in ("fields", "frozen")),
        ("component_flops", _are_amounts, "map components to finite numbers of at least 0"),
        ("amounts", _are_amounts, "map units to what a position is worth in each"),
        ("stacks", lambda value: isinstance(value, tuple | list), "be a tuple of stacks"),
        *((name, callable, "be a method") for name in METHODS),
    ]
    for name, is_right, must in promises:
        value = getattr(task, name)
        if not is_right(value):
            raise ValueError(f"{of}: {name} must {must}; got {shown(value)}")
    total = sum(task.component_flops.values())
    if not math.isclose(total, task.flops_per_byte, rel_tol=1e-6, abs_tol=1e-6):
        raise ValueError(
            f"{of}: flops_per_byte is {task.flops_per_byte:.6g}, and component_flops add up to "
            f"{total:.6g}: it is their sum"
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(map(_is_text, value))


def _is_amount(value: Any) -> bool:
    return isinstance(value, numbers.Real) and 0 <= value < math.inf


def _are_amounts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_amount, value.values()))
