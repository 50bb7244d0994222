"""What a layer may say of a mesh: rows stay where they are, weights come whole.

Parameters and batch have shardings, and XLA derives the rest. Where a parameter is split over
"data" (fsdp), it may as well split the features of an activation and move its rows to other
devices. What stands here keeps it from that, and does nothing where no mesh is set that splits
batches (`jax.set_mesh`): in a program of one device, in generation.
"""

from collections.abc import Callable

import jax
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P


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
    With a "model" axis nothing happens: there a weight is split over "model" on purpose, and not
    over "data".
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
    """Return whether weights may be split over "data". Under pmap they are whole already."""
    mesh = _mesh()
    return mesh is not None and "model" not in mesh.axis_names


def _mesh() -> AbstractMesh | None:
    """Return the mesh that is set, if it splits batches and XLA places arrays on it."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh if "data" in mesh.auto_axes and mesh.shape["data"] > 1 else None
