"""Sharding constraints that layers use: rows stay on their devices, weights are gathered.

Parameters and batches have shardings, and XLA derives all others. Where a parameter is split over
"data" (fsdp), XLA might also split the features of an activation and move its rows to other
devices. The functions of this file prevent that. They do nothing unless `placed_on` has set a mesh
that splits batches, so a program of one device and generation are unchanged.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

_WEIGHTS_ARE_SPLIT = contextvars.ContextVar("weights are split over data", default=False)


@contextlib.contextmanager
def placed_on(mesh: Mesh, arguments: Any) -> Iterator[None]:
    """Trace a program for a mesh, with the constraints of this file in force.

    Args:
        mesh: a mesh with an axis "data".
        arguments: a pytree of arrays or `ShapeDtypeStruct`s with shardings. Weights are gathered
            if one of them is split over "data".
    """
    specs = [leaf.sharding.spec for leaf in jax.tree.leaves(arguments)]
    token = _WEIGHTS_ARE_SPLIT.set(any("data" in spec for spec in specs))
    try:
        with jax.set_mesh(mesh):
            yield
    finally:
        _WEIGHTS_ARE_SPLIT.reset(token)


def rows(x: jax.Array) -> jax.Array:
    """Return x with its first axis split over "data"; XLA shards the other axes as it likes.

    An axis that the devices do not divide is left to XLA, too.

    Args:
        x: [B, ...], or [N, ...] with N = B T flattened rows.
    """
    mesh = _mesh()
    if mesh is None or x.shape[0] % mesh.shape["data"]:
        return x
    free = (P.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, P("data", *free))


def row_shards(n_rows: int) -> int:
    """Return over how many devices `n_rows` rows are split; 1 if the devices do not divide them."""
    mesh = _mesh()
    n_devices = 1 if mesh is None else mesh.shape["data"]
    return 1 if n_rows % n_devices else n_devices


def whole(weight: jax.Array) -> jax.Array:
    """Return a weight that every device holds whole, gathered where it is split over "data".

    This is the all-gather of fsdp at the place of use; each device keeps a part of the gradient.
    Where no weight is split over "data" the function does nothing: under pmap weights are whole
    already, and under tensor they are split over "model" on purpose.
    """
    return jax.lax.with_sharding_constraint(weight, P()) if _gathers() else weight


def use_whole(function: Callable[..., jax.Array], weight: jax.Array, x: jax.Array) -> jax.Array:
    """Return function(weight, x) with the weight gathered whole and cast to x's dtype.

    The backward pass gathers the weight again. Otherwise a loop over layers would keep the whole
    weights of all layers for it.

    Args:
        function: bilinear in its two arguments.
        weight: a parameter.
        x: activations.
    """

    def use(weight, x):
        return function(whole(weight.astype(x.dtype)), x)

    return jax.checkpoint(use)(weight, x) if _gathers() else use(weight, x)


def _gathers() -> bool:
    """Return whether weights are split over "data", and so not over "model"."""
    return _WEIGHTS_ARE_SPLIT.get() and _mesh() is not None


def _mesh() -> AbstractMesh | None:
    """Return the current mesh if its axis "data" is an auto axis of at least 2 devices."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if "data" in mesh.auto_axes and mesh.shape["data"] > 1 else None
