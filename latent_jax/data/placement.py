"""The rows of a global batch that a process makes, and their placement in global arrays.

On any mesh, a process makes exactly the rows that its own devices hold according to the sharding of
the batch. The devices receive them as their part of one global array.
"""

from collections.abc import Callable

import jax
import numpy as np

from latent_jax.contracts import Batch


def own_rows(batch_size: int, sharding: jax.sharding.Sharding | None) -> np.ndarray:
    """Return the rows of the global batch that the devices of this process hold, ascending.

    Args:
        batch_size: B, rows of the global batch.
        sharding: sharding of the batch axis over the devices of all processes; None gives all rows.

    Raises:
        ValueError: the number of devices does not divide the batch.
    """
    if sharding is None:
        return np.arange(batch_size)
    try:
        indices = sharding.addressable_devices_indices_map((batch_size,))
    except ValueError as error:
        raise ValueError(
            f"A batch of {batch_size} rows cannot be divided over the devices of {sharding}: "
            "choose a batch_size that is a multiple of their number along the batch axis."
        ) from error
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in indices.values()]))


def placement(
    rows: np.ndarray, batch_size: int, sharding: jax.sharding.Sharding | None
) -> Callable[[Batch], Batch]:
    """Return a function that turns the rows of this process into its part of global arrays.

    Args:
        rows: from `own_rows`.
        batch_size: B, rows of the global batch.
        sharding: sharding of the batch axis; None leaves NumPy arrays as they are.
    """
    if sharding is None:
        return lambda batch: batch

    def put(local: np.ndarray) -> jax.Array:
        def shard(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(batch_size)
            return local[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]

        return jax.make_array_from_callback((batch_size, *local.shape[1:]), sharding, shard)

    return lambda batch: {name: put(array) for name, array in batch.items()}
