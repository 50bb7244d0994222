"""Batches for the step: from a Grain iterator onto the mesh, with a state that can be saved.

The iterator yields either numpy arrays, the rows of this process, or global arrays that Grain has
already put on the mesh. Both become global arrays whose rows are split over "data".
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from latent_jax.contracts import Batch
from latent_jax.training.sharding import batch_sharding

Spec = Mapping[str, jax.ShapeDtypeStruct]


class DataError(ValueError):
    """The stream of training batches broke or ended."""


def put_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
    """Return the global batch on the mesh; arrays that are on it already stay where they are."""
    sharding = batch_sharding(mesh)
    if jax.process_count() == 1:
        # One call for all arrays is several times cheaper than one for each.
        return jax.device_put(dict(batch), sharding)
    return {
        name: x
        if isinstance(x, jax.Array)
        else jax.make_array_from_process_local_data(sharding, np.asarray(x))
        for name, x in batch.items()
    }


def spec_of(batch: Batch) -> Spec:
    """Return shapes and dtypes of the global batch that `put_batch` would make."""

    def spec(x):
        if isinstance(x, jax.Array):
            return jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.ShapeDtypeStruct((x.shape[0] * jax.process_count(), *x.shape[1:]), x.dtype)

    return {name: spec(x) for name, x in batch.items()}


class Feed:
    """An endless iterator of batches, `get_state` and `set_state`: a Grain `DatasetIterator`.

    A batch that was read ahead is given out when it is asked for; until then `get_state` answers
    for the time before it was read.

    Attributes:
        spec: shapes and dtypes of a global batch.
    """

    def __init__(self, iterator: Iterator[Batch], mesh: Mesh, spec: Spec | None = None):
        """Take over an iterator; None reads its first batch for the spec."""
        self._iterator, self._mesh = iterator, mesh
        self._ahead_state, self._ahead = None, None
        if spec is None:
            self.read_ahead()
            spec = spec_of(self._ahead)
        self.spec = spec

    def read_ahead(self) -> None:
        """Wait for the batch that `next` will give.

        Raises:
            DataError: there is none; see `next`.
        """
        if self._ahead is None:
            state = self._iterator.get_state()
            self._ahead, self._ahead_state = self._read("before the first step"), state

    def next(self, step: int) -> dict[str, jax.Array]:
        """Return the batch for the step after `step`, on the mesh.

        Raises:
            DataError: the iterator ended or broke, such as when a worker process was killed.
        """
        batch, self._ahead = self._ahead, None
        if batch is None:
            batch = self._read(f"after step {step}")
        return put_batch(batch, self._mesh)

    def get_state(self) -> Any:
        """Return the iterator's state, a JSON tree; the batch not yet given comes next."""
        return self._ahead_state if self._ahead is not None else self._iterator.get_state()

    def set_state(self, state: Any) -> None:
        """Go to a state that `get_state` returned."""
        self._ahead = None
        self._iterator.set_state(state)

    def _read(self, when: str) -> Batch:
        try:
            return next(self._iterator)
        except StopIteration:
            raise DataError(
                f"the training data ended {when}: repeat it (Grain: .repeat()) or train fewer steps"
            ) from None
        except Exception as error:
            raise DataError(
                f"reading training data failed {when}: {type(error).__name__}: {error}. If a "
                "worker process was killed, the machine is probably out of memory: lower the "
                "number of workers. The same command resumes from the last checkpoint"
            ) from error
