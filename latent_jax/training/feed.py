"""Batches for the step: from a stream onto the mesh, with a state that can be saved.

A stream gives either numpy arrays with the rows of this process, or global arrays that are already
on the mesh. Both become global arrays whose rows are split over "data".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from latent_jax.contracts import Batch, Stream, Task
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.state import TrainState

Spec = Mapping[str, jax.ShapeDtypeStruct]


STREAM = 1_937_011_057
"""Folded into the run's key, so that a stream draws other numbers than the step does."""


class DataError(ValueError):
    """The stream of training batches broke or ended."""


def put_batch(batch: Batch, mesh: Mesh) -> dict[str, jax.Array]:
    """Return the global batch on the mesh; arrays that are already on it stay where they are."""
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


def check_fields(task: Task, spec: Spec) -> None:
    """Check that batches have what a task reads.

    Raises:
        ValueError: naming the field that is missing.
    """
    missing = [name for name in task.fields if name not in spec]
    if missing:
        raise ValueError(
            f"the task {task.name} reads the field {missing[0]!r}, and a batch has "
            f"{', '.join(sorted(spec))}: its code must give that field"
        )


class Feed:
    """Batches from a `Stream`, or from an endless iterator with `get_state` and `set_state`.

    Grain's `DatasetIterator` is such an iterator. `read_ahead` reads one of its batches early;
    until `next` has given that batch out, `get_state` returns the state from before it was read.

    Attributes:
        spec: shapes and dtypes of a global batch.
    """

    def __init__(self, stream: Iterator[Batch] | Stream, mesh: Mesh, spec: Spec | None = None):
        """Take over a stream.

        Args:
            stream: of batches.
            mesh: from `make_mesh`.
            spec: shapes and dtypes of a global batch; None reads them off the first batch of an
                iterator.

        Raises:
            ValueError: a stream that is no iterator has no spec.
        """
        self._stream, self._mesh = stream, mesh
        self._is_iterator = hasattr(stream, "__next__")
        self._ahead_state, self._ahead = None, None
        if spec is None:
            if not self._is_iterator:
                raise ValueError(
                    "batches that depend on the weights need a batch_spec: there are no weights yet"
                )
            self.read_ahead()
            spec = spec_of(self._ahead)
        self.spec = spec

    def read_ahead(self) -> None:
        """Wait for the batch that `next` will give, unless it depends on the weights.

        Raises:
            DataError: there is none; see `next`.
        """
        if self._is_iterator and self._ahead is None:
            state = self._stream.get_state()
            batch = self._read(lambda: next(self._stream), "before the first step")
            self._ahead, self._ahead_state = batch, state

    def next(self, step: int, state: TrainState) -> dict[str, jax.Array]:
        """Return the batch for the step after `step`, on the mesh.

        Args:
            step: number of finished steps.
            state: the state after them.

        Raises:
            DataError: the stream ended or broke, such as when a worker process was killed.
        """
        batch, self._ahead = self._ahead, None
        if batch is None:

            def make():
                if self._is_iterator:
                    return next(self._stream)
                key = jax.random.fold_in(jax.random.fold_in(state.key, STREAM), step)
                return self._stream.next(state.variables, key)

            batch = self._read(make, f"after step {step}")
        return put_batch(batch, self._mesh)

    def get_state(self) -> Any:
        """Return the stream's state, a JSON tree; a batch read ahead counts as not read."""
        return self._ahead_state if self._ahead is not None else self._stream.get_state()

    def set_state(self, state: Any) -> None:
        """Go to a state that `get_state` returned."""
        self._ahead = None
        self._stream.set_state(state)

    def measured(self, seconds: float) -> dict[str, float]:
        """Return metrics of the stream's own work since the last call, if it has any.

        Args:
            seconds: of training since then.
        """
        measured = getattr(self._stream, "measured", None)
        return {} if measured is None else measured(seconds)

    def _read(self, make: Callable[[], Batch], when: str) -> Batch:
        try:
            return make()
        except StopIteration:
            raise DataError(
                f"the training data ended {when}: repeat it (Grain: .repeat()) or train fewer steps"
            ) from None
        except jax.errors.JaxRuntimeError:
            raise  # an error of the devices, such as when another process of the run is gone
        except Exception as error:
            said = str(error).rstrip(".")
            advice = (
                "If a worker process was killed, the machine is probably out of memory: lower the "
                "number of workers. "
            )
            # A ValueError says itself what is wrong, such as with a tokenizer.
            was_killed = self._is_iterator and not isinstance(error, ValueError)
            raise DataError(
                f"reading training data failed {when}: {type(error).__name__}: {said}. "
                f"{advice if was_killed else ''}The same command resumes from the last checkpoint"
            ) from error
