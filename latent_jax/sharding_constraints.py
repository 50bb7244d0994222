"""What a layer may say of a mesh: rows stay where they are, weights come whole.

Parameters and batch have shardings, and XLA derives the rest. Where a parameter is split over
"data" (fsdp), it may as well split the features of an activation and move its rows to other
devices. What stands here keeps it from that, and does nothing where no mesh is set that splits
batches (`placed_on`): in a program of one device, in generation.
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
    """Trace a program for a mesh, so that what stands below holds.

    Args:
        mesh: with an axis "data".
        arguments: arrays or `ShapeDtypeStruct`s with shardings; whether one of them is split over
            "data" says whether weights must be gathered.
    """
    specs = [leaf.sharding.spec for leaf in jax.tree.leaves(arguments)]
    token = _WEIGHTS_ARE_SPLIT.set(any("data" in spec for spec in specs))
    try:
        with jax.set_mesh(mesh):
            yield
    finally:
        _WEIGHTS_ARE_SPLIT.reset(token)


def rows(x: jax.Array) -> jax.Array:
    """Return x with its first axis split over "data"; XLA is free in all others.

    Args:
        x: [B, ...], or [N, ...] with N = B T flattened rows.
    """
    mesh = _mesh()
    if mesh is None or x.shape[0] % mesh.shape["data"]:
        return x
    free = (P.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, P("data", *free))


def row_shards(n_rows: int) -> int:
    """Return among how many devices `n_rows` rows are split; 1 where they do not divide."""
    mesh = _mesh()
    n_devices = 1 if mesh is None else mesh.shape["data"]
    return 1 if n_rows % n_devices else n_devices


def whole(weight: jax.Array) -> jax.Array:
    """Return a weight that every device holds whole, gathered where it is split over "data".

    This is the all-gather of fsdp, at the place of use; of its gradient, each device keeps a part.
    Where no weight is split over "data" nothing happens: under pmap they are whole, under tensor
    they are split over "model" on purpose.
    """
    return jax.lax.with_sharding_constraint(weight, P()) if _gathers() else weight


def use_whole(function: Callable[..., jax.Array], weight: jax.Array, x: jax.Array) -> jax.Array:
    """Return function(weight, x), bilinear, with the weight whole and in x's dtype.

    The backward pass gathers the weight again. Else a loop over layers would stack the whole
    weights of all of them for it.
    """

    def use(weight, x):
        return function(whole(weight.astype(x.dtype)), x)

    return jax.checkpoint(use)(weight, x) if _gathers() else use(weight, x)


def _gathers() -> bool:
    """Return whether weights are split over "data", and so not over "model"."""
    return _WEIGHTS_ARE_SPLIT.get() and _mesh() is not None


def _mesh() -> AbstractMesh | None:
    """Return the mesh that is set, if it splits batches and XLA places arrays on it."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if "data" in mesh.auto_axes and mesh.shape["data"] > 1 else None
