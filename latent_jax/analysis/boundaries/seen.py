"""What a run cuts: its boundaries and its nats on a text, as flat arrays in reading order.

Separators and padding are left out. An id ends a chunk where the position behind it is a boundary.
No id is decided whose boundary a document or a row forces, and none at the end of a row, behind
which the run sees nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from latent_jax.analysis.codes import TrainedRun
from latent_jax.chunking.dynamic.ends import StageEnds, stage_ends
from latent_jax.contracts import Batch


class Seen(NamedTuple):
    """A text as one run reads and cuts it, of N ids.

    Attributes:
        text: the bytes that the ids stand for.
        bytes_N: int32, bytes of each id.
        nats_N: float32, -log p of each id.
        row_N: int64, its row.
        stretch_N: int64, numbers stretches of one document in one row, ascending.
        is_decided_N: bool, whether the run could end a chunk with the id.
        stages: of each stage, outermost first.
    """

    text: bytes
    bytes_N: np.ndarray
    nats_N: np.ndarray
    row_N: np.ndarray
    stretch_N: np.ndarray
    is_decided_N: np.ndarray
    stages: tuple["SeenStage", ...]


class SeenStage(NamedTuple):
    """What a stage decided.

    Attributes:
        ends_N: bool, whether a chunk ends with the id.
        p_N: float32, the probability of that; NaN where it is not decided.
        n_chunks: chunks in all, those that documents and rows force included.
        n_dropped: boundaries that found no room.
    """

    ends_N: np.ndarray
    p_N: np.ndarray
    n_chunks: int
    n_dropped: float


def see(run: TrainedRun, batches: Iterable[Batch]) -> Seen:
    """Return what a run cuts.

    Args:
        run: its task has `boundaries`.
        batches: of one shape; their rows are one text in order.
    """
    parts, n_rows, n_stretches = [], 0, 0
    for batch in batches:
        stages, nats_BT = jax.device_get(_cut(run.task, run.variables, batch))
        host = {name: np.asarray(value) for name, value in batch.items()}
        part = seen_batch(host, stage_ends(stages), nats_BT, run.tokenizer)
        shifted = part._replace(row_N=part.row_N + n_rows, stretch_N=part.stretch_N + n_stretches)
        n_rows += len(nats_BT)
        n_stretches += nats_BT.size
        parts.append(shifted)
    return joined(parts)


@jax.jit(static_argnames="task")
def _cut(task, variables, batch):
    return task.boundaries(variables, batch)


def seen_batch(
    batch: Mapping[str, Any], stages: Iterable[StageEnds], nats_BT: np.ndarray, tokenizer
) -> Seen:
    """Return what is seen of a batch.

    Args:
        batch: "ids" and "weights", on the host.
        stages: see `stage_ends`.
        nats_BT: -log p of each id.
        tokenizer: of the ids.
    """
    ids_BT, is_there_BT = batch["ids"], batch["weights"] > 0
    is_separator_BT = ids_BT == tokenizer.separator_id
    is_text_BT = is_there_BT & ~is_separator_BT
    begins_BT = np.concatenate([np.ones((len(ids_BT), 1), bool), is_separator_BT[:, :-1]], axis=1)
    stretch_BT = np.cumsum(begins_BT).reshape(ids_BT.shape) - 1
    row_BT = np.broadcast_to(np.arange(len(ids_BT))[:, None], ids_BT.shape)
    own = []
    for stage in stages:
        # The position behind an id says whether a chunk ends with it.
        ends_N = _behind(stage.is_first_BT, False)[is_text_BT]
        p_N = _behind(stage.p_BT, np.nan)[is_text_BT]
        own.append(SeenStage(ends_N, p_N, stage.n_chunks, stage.n_dropped))
    ids_N = ids_BT[is_text_BT]
    return Seen(
        tokenizer.decode(ids_N),
        tokenizer.byte_lengths(ids_N),
        nats_BT[is_text_BT],
        row_BT[is_text_BT],
        stretch_BT[is_text_BT],
        _behind(is_there_BT, False)[is_text_BT],
        tuple(own),
    )


def joined(parts: Iterable[Seen]) -> Seen:
    """Return one text of several, in order.

    Raises:
        ValueError: there is none.
    """
    parts = [*parts]
    if not parts:
        raise ValueError("the text is empty: there is nothing to cut")
    text, *arrays, stages = zip(*parts, strict=True)
    whole = []
    for stage in zip(*stages, strict=True):
        ends, p, n_chunks, n_dropped = zip(*stage, strict=True)
        whole.append(
            SeenStage(np.concatenate(ends), np.concatenate(p), sum(n_chunks), sum(n_dropped))
        )
    return Seen(b"".join(text), *map(np.concatenate, arrays), tuple(whole))


def starts(seen: Seen, stage: SeenStage) -> tuple[np.ndarray, np.ndarray]:
    """Return which ids are the first of a chunk, bool[N], and for which that is decided, bool[N].

    The first id of a stretch is no such id: its boundary is forced.
    """
    is_same_N = np.zeros(len(seen.row_N), bool)
    is_same_N[1:] = seen.stretch_N[1:] == seen.stretch_N[:-1]
    before_N = np.roll(stage.ends_N, 1)
    return before_N & is_same_N, is_same_N


def chunk_lengths(seen: Seen, stage: SeenStage) -> np.ndarray:
    """Return the bytes of the chunks that begin and end by a decision of the run, int64[n].

    Others are cut off by a row or a document.
    """
    at_N = np.cumsum(seen.bytes_N, dtype=np.int64)[stage.ends_N]
    stretch_N = seen.stretch_N[stage.ends_N]
    return np.diff(at_N)[stretch_N[1:] == stretch_N[:-1]]


def places(seen: Seen, stage: SeenStage) -> np.ndarray:
    """Return the place of each id in its chunk, int64[N], 1 for the first one behind a boundary.

    0 for ids before the first decided boundary of a stretch.
    """
    is_start_N, _ = starts(seen, stage)
    index_N = np.arange(len(is_start_N))
    last_N = np.maximum.accumulate(np.where(is_start_N, index_N, -1))
    first_N = np.searchsorted(seen.stretch_N, seen.stretch_N)
    return np.where(last_N >= first_N, index_N - last_N + 1, 0)


def _behind(x_BT: np.ndarray, last: Any) -> np.ndarray:
    """Return what stands one position behind each, and `last` at the end of a row."""
    return np.concatenate([x_BT[:, 1:], np.full((len(x_BT), 1), last, x_BT.dtype)], axis=1)
