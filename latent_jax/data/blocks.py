"""Batches from blocks of rows that packers make, in this process or in worker processes.

Handing an array from a worker to this process costs both about a millisecond whatever the array's
size, which is more than packing a row. So a worker sends a block, the next rows of its lanes, and
each batch takes one row of each lane from it. The position of a run in the data is saved as the
state before the current block, and the number of rows taken from it.
"""

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import grain
import jax
import numpy as np
from absl import flags

from latent_jax.contracts import Batch
from latent_jax.data.packing import Block

# Smaller arrays go through the pipe, because shared memory takes longer to set up.
_MIN_SHARED_BYTES = 1 << 14

# Time that a signalled worker leaves the training process to close it.
_SECONDS_TO_CLOSE = 60.0


def in_worker(part: grain.IterDataset) -> grain.IterDataset:
    """Return a dataset whose elements are made ahead of time by a separate process.

    In that process JAX sees the CPU only, so it does not occupy accelerators.
    """
    # Grain passes absl flags to its workers, and in a notebook they are not parsed.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    options = grain.experimental.DatasetOptions(min_shm_size=_MIN_SHARED_BYTES)
    return grain.experimental.WithOptionsIterDataset(part, options).mp_prefetch(
        grain.multiprocessing.MultiprocessingOptions(num_workers=1, per_worker_buffer_size=2),
        worker_init_fn=_start_worker,
    )


def _start_worker(worker: int, n_workers: int) -> None:
    del worker, n_workers
    os.environ["JAX_PLATFORMS"] = "cpu"
    # Grain has already imported JAX, which has already read the variable.
    jax.config.update("jax_platforms", "cpu")
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, _wait_to_be_closed)


def _wait_to_be_closed(kind: int, frame: Any) -> None:
    """Keep a signalled worker alive for a while, so that the training process can close it.

    Blocks in shared memory that a worker has sent are never freed if the worker ends by itself. A
    terminal, `timeout` and Slurm signal all processes of a run; the training process then saves and
    closes its workers. A second signal of the same kind ends a worker at once.
    """
    del frame
    signal.signal(kind, signal.SIG_DFL)
    end = threading.Timer(_SECONDS_TO_CLOSE, os._exit, [128 + kind])
    end.daemon = True
    end.start()


class Batches(grain.IterDataset):
    """A dataset of batches from n datasets of blocks: row r of a batch is from part r % n."""

    def __init__(self, parts: Sequence[grain.IterDataset], row_length: int):
        """Describe the dataset: rows have `row_length` positions."""
        super().__init__(parts)
        self._row_length = row_length

    def __iter__(self) -> grain.DatasetIterator:
        """Start at the first batch."""
        return _BatchesIterator([iter(part) for part in self._parents], self._row_length)


class _BatchesIterator(grain.DatasetIterator):
    """The iterator of `Batches`.

    Its state is the state of each part before its current block, and the rows taken from the block.
    """

    def __init__(self, parts: Sequence[grain.DatasetIterator], row_length: int):
        super().__init__(parts)
        self._row_length = row_length
        self._parts = [_Part(part) for part in parts]

    def __next__(self) -> Batch:
        self.start_prefetch()  # starts all workers before waiting for the first one
        parts = [part.next_rows() for part in self._parts]
        batch = {}
        for name, first in parts[0].items():
            n_rows = sum(len(part[name]) for part in parts)
            batch[name] = np.empty((n_rows, *first.shape[1:]), first.dtype)
            for number, part in enumerate(parts):
                batch[name][number :: len(parts)] = part[name]
        n_rows = len(next(iter(batch.values())))
        return {**batch, "weights": np.ones((n_rows, self._row_length), np.float32)}

    def get_state(self) -> dict[str, Any]:
        return {"parts": [part.get_state() for part in self._parts]}

    def set_state(self, state: dict[str, Any]) -> None:
        for part, part_state in zip(self._parts, state["parts"], strict=True):
            part.set_state(part_state)

    def close(self) -> None:
        for part in self._parts:
            part.drop_block()
        super().close()


class _Part:
    """The blocks of one part, from which each batch takes one row per lane."""

    def __init__(self, blocks: grain.DatasetIterator):
        self._blocks = blocks
        self._before, self._taken = blocks.get_state(), 0
        self.drop_block()

    def next_rows(self) -> dict[str, np.ndarray]:
        """Return fields [b, L, ...] and amounts int32[b] of the next batch."""
        while self._block is None or self._taken >= self._n_rows:
            if self._block is not None:
                self._taken -= self._n_rows
                self._before = self._blocks.get_state()
            self._block = next(self._blocks)
        self._taken += 1
        return {name: array[:, self._taken - 1] for name, array in self._block.items()}

    @property
    def _n_rows(self) -> int:
        """Rows of each lane in the current block."""
        return next(iter(self._block.values())).shape[1]

    def get_state(self) -> dict[str, Any]:
        return {"before": self._before, "taken": self._taken}

    def set_state(self, state: dict[str, Any]) -> None:
        self._before, self._taken = state["before"], state["taken"]
        self._blocks.set_state(self._before)
        self.drop_block()

    def drop_block(self) -> None:
        """Release the block, which may be in memory that a worker shares."""
        self._block: Block | None = None
