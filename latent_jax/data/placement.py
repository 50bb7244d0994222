"""Which rows of a global batch a process makes, and how they become global arrays.

Given the sharding of the batch, a process makes the rows that its own devices hold, whatever the
mesh looks like, and the devices receive them as one global array.
"""

from collections.abc import Callable

import jax
import numpy as np

from latent_jax.contracts import Batch


def own_rows(batch_size: int, sharding: jax.sharding.Sharding | None) -> np.ndarray:
    """Return the rows of the global batch that the devices of this process hold, ascending.

    Args:
        batch_size: Rows B of the global batch.
        sharding: Of the batch axis over the devices of all processes; None gives all rows.

    Raises:
        ValueError: Devices do not divide the batch.
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
    """Return what turns the rows of this process into its part of global arrays.

    Args:
        rows: From `own_rows`.
        batch_size: Rows B of the global batch.
        sharding: Of the batch axis; None leaves NumPy arrays as they are.
    """
    if sharding is None:
        return lambda batch: batch

    def put(local: np.ndarray) -> jax.Array:
        def shard(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(batch_size)
            return local[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]

        return jax.make_array_from_callback((batch_size, *local.shape[1:]), sharding, shard)

    return lambda batch: {name: put(array) for name, array in batch.items()}
