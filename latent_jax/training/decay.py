"""Which parameters weight decay reaches, as the modules that make them declare it.

    class PositionEmbedding(nn.Module):
        decays = {"embedding": False}

A task whose parameters no Flax module makes has such a mapping itself, by their paths.

A matrix that mixes features is decayed. Biases, scales, rates, and learned tables that are places
or codes by nature are not: pulling those to zero pulls together what they are to tell apart.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from latent_jax.contracts import Task
from latent_jax.training.feed import Spec

PyTree = Any

_DENSE = {"kernel": True, "bias": False}
_NORM = {"scale": False, "bias": False}

OF_FLAX: Mapping[type[nn.Module], Mapping[str, bool]] = {
    nn.Dense: _DENSE,
    nn.DenseGeneral: _DENSE,
    nn.Conv: _DENSE,
    nn.Embed: {"embedding": True},
    nn.LayerNorm: _NORM,
    nn.RMSNorm: _NORM,
}
"""What Flax's own modules would declare."""


def declared_decay(task: Task, spec: Spec) -> dict[str, bool]:
    """Return whether each declared parameter of a task is decayed, by its "/"-joined path.

    A parameter that neither its module nor the task declares is missing. Arguments are those of
    `trace_init`.
    """
    return trace_init(task, spec)[1]


def trace_init(task: Task, spec: Spec) -> tuple[PyTree, dict[str, bool]]:
    """Return the shapes of a task's variables, and what is declared of its parameters.

    Nothing is computed: `init` is traced once for a task and the shape of a row, and every Flax
    module that it calls is asked for `decays`.

    Args:
        task: see `latent_jax.contracts.Task`.
        spec: of a batch.
    """
    row = tuple((name, (1, *x.shape[1:]), x.dtype) for name, x in spec.items())
    try:
        hash(task)
    except TypeError:
        return _traced.__wrapped__(task, row)
    return _traced(task, row)


@functools.lru_cache(maxsize=16)
def _traced(task: Task, row: tuple[tuple[str, tuple[int, ...], Any], ...]):
    found: dict[str, bool] = {}

    def note(call, args, kwargs, context):
        module = context.module
        if module.scope is not None:
            said = getattr(module, "decays", None)
            if said is None:
                said = next((OF_FLAX[c] for c in type(module).__mro__ if c in OF_FLAX), {})
            found.update({"/".join((*module.path, name)): value for name, value in said.items()})
        return call(*args, **kwargs)

    batch = {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape, dtype in row}
    with nn.intercept_methods(note):
        shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
    return shapes, found | dict(getattr(task, "decays", {}))
