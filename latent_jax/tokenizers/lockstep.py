"""The loop between a byte model and the coders that it drives.

One step of the model carries as many texts as it has lanes. More texts than lanes are shared among
threads, each with lanes of its own and, where there are several, a device of its own; what a text
becomes depends on none of these.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from latent_jax.tokenizers.byte_model import ByteModel


def run(
    model: ByteModel,
    worker: int,
    ids: np.ndarray,
    positions: np.ndarray,
    advance: Callable[[np.ndarray], int],
) -> None:
    """Step the model until no lane is left.

    Args:
        model: of B lanes.
        worker: see `ByteModel.start`.
        ids: int32[B], what each lane reads next; `advance` changes it in place.
        positions: int32[B], likewise.
        advance: takes float32[B, N_SYMBOLS] and returns how many lanes hold a text still.
    """
    state, n_active = model.start(worker), 1
    while n_active:
        probabilities, state = model.step(state, ids, positions)
        n_active = advance(probabilities)


def shared(
    work: Callable[[list, int], list], items: Sequence, sizes: Sequence[int], model: ByteModel
) -> list:
    """Return work(items, 0), computed by several workers where there are more items than lanes.

    Args:
        work: takes some of the items and the number of a worker, and returns as many results.
        items: any.
        sizes: the length of each item: every worker gets about the same in all.
        model: has the lanes and the workers.
    """
    if not items:
        return []
    # A model in integers fills its lanes however few the texts are; the others step whole ones.
    lanes = 1 if model.is_exact else model.lanes
    n_threads = min(model.workers, max(1, -(-len(items) // lanes)))
    if n_threads == 1:
        return work(list(items), 0)
    # Longest first, so that none of the lanes works alone on a long text at the end.
    order = np.argsort(-np.asarray(sizes), kind="stable")
    groups = [order[first::n_threads] for first in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as pool:
        done = pool.map(
            lambda group, worker: work([items[i] for i in group], worker), groups, range(n_threads)
        )
        results: dict[int, Any] = dict(
            itertools.chain.from_iterable(
                zip(group.tolist(), part, strict=True)
                for group, part in zip(groups, done, strict=True)
            )
        )
    return [results[i] for i in range(len(items))]
