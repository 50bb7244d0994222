"""The loop between a byte model and the coders that it drives.

One step of the model reads one id in each lane, and each lane holds one text. More texts than lanes
are shared among threads. Each thread has its own lanes and, if there are several devices, its own
device. The codes of a text do not depend on its lane, thread or device.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from latent_jax.tokenizers.byte_model import ByteModel, checked_step

_thread = threading.local()
"""Of a thread that `shared` has started: `is_ended`, which says whether its result is wanted."""


class Ended(Exception):
    """Raised in a thread whose result nobody waits for any more; nobody sees it."""


def run(
    model: ByteModel,
    worker: int,
    ids: np.ndarray,
    positions: np.ndarray,
    advance: Callable[[np.ndarray], int],
) -> None:
    """Step the model until no lane holds a text.

    Args:
        model: a byte model of B lanes.
        worker: see `ByteModel.start`.
        ids: int32[B], the id that each lane reads next; `advance` changes it in place.
        positions: int32[B], the positions of these ids; `advance` changes it in place.
        advance: takes the probabilities, float32[B, N_SYMBOLS], and returns how many lanes still
            hold a text.
    """
    state, n_active = model.start(worker), 1
    is_ended = getattr(_thread, "is_ended", lambda: False)
    while n_active:
        if is_ended():
            raise Ended
        probabilities, state = checked_step(model, state, ids, positions)
        n_active = advance(probabilities)


def shared(
    work: Callable[[list, int], list],
    items: Sequence,
    sizes: Sequence[int],
    model: ByteModel,
    side_by_side: int = 0,
) -> list:
    """Return work(items, 0), computed by several workers where one has enough to do without them.

    Args:
        work: takes some of the items and the number of a worker, and returns one result per item.
        items: anything that `work` takes.
        sizes: the length of each item; every worker gets about the same total.
        model: the byte model, which decides the numbers of lanes and workers.
        side_by_side: items that one worker does at the cost of one; 0 = the lanes of a model that
            steps all of them, and 1 where idle lanes cost nothing.
    """
    if not items:
        return []
    side_by_side = side_by_side or (1 if model.skips_idle else model.lanes)
    n_threads = min(model.workers, max(1, -(-len(items) // side_by_side)))
    if n_threads == 1:
        return work(list(items), 0)
    # Longest first, so that at the end no lane is left alone with a long text.
    order = np.argsort(-np.asarray(sizes), kind="stable")
    groups = [order[first::n_threads] for first in range(n_threads)]
    ended = threading.Event()

    def work_on(group: np.ndarray, worker: int) -> list:
        _thread.is_ended = ended.is_set
        return work([items[i] for i in group], worker)

    with ThreadPoolExecutor(n_threads) as pool:
        try:
            done = pool.map(work_on, groups, range(n_threads))
            results: dict[int, Any] = dict(
                itertools.chain.from_iterable(
                    zip(group.tolist(), part, strict=True)
                    for group, part in zip(groups, done, strict=True)
                )
            )
        except BaseException:  # by Ctrl-C too; the pool waits for all threads before it goes on
            ended.set()
            raise
    return [results[i] for i in range(len(items))]
