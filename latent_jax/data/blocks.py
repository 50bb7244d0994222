"""Batches from blocks of rows that several packers make, in this process or in workers of its own.

Handing an array from a worker to this process takes about a millisecond of both, whatever its size:
more than packing a row. So a worker sends a block, the next rows of its lanes, and a batch takes
one row of each lane from it. Where a run stands in the data is told by the state before the block,
and by how many rows of it were given out.
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

# Smaller arrays go through the pipe: memory to share takes longer to set up.
_MIN_SHARED_BYTES = 1 << 14

# That a worker which was asked to end gives the process that reads from it to close it.
_SECONDS_TO_CLOSE = 60.0


def in_worker(part: grain.IterDataset) -> grain.IterDataset:
    """Return a dataset whose elements are made by a process of its own, ahead of time.

    The process leaves accelerators alone: its JAX knows the CPU only.
    """
    if not flags.FLAGS.is_parsed():  # in a notebook; Grain hands its absl flags to the workers
        flags.FLAGS.mark_as_parsed()
    options = grain.experimental.DatasetOptions(min_shm_size=_MIN_SHARED_BYTES)
    return grain.experimental.WithOptionsIterDataset(part, options).mp_prefetch(
        grain.multiprocessing.MultiprocessingOptions(num_workers=1, per_worker_buffer_size=2),
        worker_init_fn=_start_worker,
    )


def _start_worker(worker: int, n_workers: int) -> None:
    del worker, n_workers
    os.environ["JAX_PLATFORMS"] = "cpu"
    jax.config.update("jax_platforms", "cpu")  # Grain has imported it, and it has read the variable
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, _wait_to_be_closed)


def _wait_to_be_closed(kind: int, frame: Any) -> None:
    """Goes on for a while: blocks on the way from a worker that ends by itself are never freed.

    A terminal, `timeout` and Slurm signal all processes of a run. The one that trains saves and
    closes its workers. The second signal of a kind ends a worker at once.
    """
    del frame
    signal.signal(kind, signal.SIG_DFL)
    end = threading.Timer(_SECONDS_TO_CLOSE, os._exit, [128 + kind])
    end.daemon = True
    end.start()


class Batches(grain.IterDataset):
    """Batches from datasets of blocks, its parts: row r of a batch comes from part r % n."""

    def __init__(self, parts: Sequence[grain.IterDataset], row_length: int):
        """Describe the dataset: rows have `row_length` positions."""
        super().__init__(parts)
        self._row_length = row_length

    def __iter__(self) -> grain.DatasetIterator:
        """Start at the first batch."""
        return _BatchesIterator([iter(part) for part in self._parents], self._row_length)


class _BatchesIterator(grain.DatasetIterator):
    """Its state is that of each part before the block at hand, and the rows taken from it."""

    def __init__(self, parts: Sequence[grain.DatasetIterator], row_length: int):
        super().__init__(parts)
        self._row_length = row_length
        self._parts = [_Part(part) for part in parts]

    def __next__(self) -> Batch:
        self.start_prefetch()  # all workers at once, before the first one is waited for
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
    """Cuts the blocks of one part into its rows of each batch."""

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
        """Of each lane in the block at hand."""
        return next(iter(self._block.values())).shape[1]

    def get_state(self) -> dict[str, Any]:
        return {"before": self._before, "taken": self._taken}

    def set_state(self, state: dict[str, Any]) -> None:
        self._before, self._taken = state["before"], state["taken"]
        self._blocks.set_state(self._before)
        self.drop_block()

    def drop_block(self) -> None:
        """Forgets the block, which may lie in memory that a worker shares."""
        self._block: Block | None = None
