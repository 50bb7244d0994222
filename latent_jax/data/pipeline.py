"""From a corpus to batches on the devices, with Grain.

Training batches are infinite: a global shuffle by seed, a new one each epoch, packed lanes (see
`packing`), worker processes, prefetch to the devices. Evaluation batches are finite and exact:
every document of a split occurs once.

In both, processes divide a batch by rows (see `placement`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import grain
import jax
import numpy as np

from latent_jax.contracts import Batch, Code, Document, FieldSpec
from latent_jax.data.blocks import Batches, in_worker
from latent_jax.data.corpus import Corpus
from latent_jax.data.documents import CorpusError
from latent_jax.data.packing import Encode, Lane, PackedLanes, RowLayout
from latent_jax.data.placement import own_rows, placement

# Batches that wait on the devices while the current one trains.
_PREFETCHED_BATCHES = 2

# Raise it when the format of a saved state changes.
_STATE_FORMAT = 2


class TrainBatches(grain.DatasetIterator):
    """An infinite iterator over training batches, whose state can be saved and restored exactly.

    `get_state()` returns a small JSON state: the position after the last batch that `next`
    returned, not counting prefetched batches. Orbax saves the iterator as a checkpointable.
    `close()` ends the worker processes.
    """

    _batches: grain.DatasetIterator | None = None

    def __init__(self, batches: grain.DatasetIterator, made_with: dict[str, Any]):
        """Wrap a pipeline.

        Args:
            batches: the iterator of the pipeline.
            made_with: JSON data with all that decides its batches.
        """
        super().__init__()
        self._batches, self._made_with = batches, made_with

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            ValueError: `close` has been called.
        """
        if self._batches is None:
            raise ValueError("These training batches are closed: make new ones with train_batches.")
        return next(self._batches)

    def start_prefetch(self) -> None:
        """Start to make batches before the first `next`."""
        self._batches.start_prefetch()

    def close(self) -> None:
        """End threads and worker processes; `next` then raises."""
        super().close()
        if self._batches is not None:
            self._batches.close()
            self._batches = None  # Grain's iterators raise if they outlive the interpreter

    def __enter__(self) -> Self:
        """Return the iterator; `close` is called where the `with` statement ends."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def get_state(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {"made_with": self._made_with, "batches": self._batches.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue after the last batch before the state was taken.

        Raises:
            ValueError: the state belongs to another pipeline. Grain itself would silently accept
                the state of another number of workers or processes and continue at a wrong place.
        """
        theirs = state["made_with"]
        different = [name for name in self._made_with if theirs.get(name) != self._made_with[name]]
        if different:
            listed = ", ".join(
                f"{name}: {theirs.get(name)} then, {self._made_with[name]} now"
                for name in different
            )
            raise ValueError(
                f"The saved position in the data belongs to another pipeline ({listed}): resume "
                "with what it was saved with, or start a new run."
            )
        self._batches.set_state(state["batches"])


def batch_spec(batch_size: int, row_length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes and dtypes of a global batch of text; see `RowLayout.batch_spec`."""
    return RowLayout(row_length, {"ids": FieldSpec()}, ("bytes",)).batch_spec(batch_size)


def train_batches(
    corpus: Corpus,
    code: Code,
    *,
    batch_size: int,
    row_length: int,
    seed: int,
    num_workers: int = 0,
    sharding: jax.sharding.Sharding | None = None,
) -> TrainBatches:
    """Return an infinite iterator over batches of the training split.

    The global batch depends only on corpus, code, batch_size, row_length and seed, except for the
    order of its rows.

    Args:
        corpus: the corpus with the training split.
        code: encodes documents while training runs; it must be picklable if num_workers > 0.
        batch_size: B, rows of the global batch.
        row_length: L, positions of a row.
        seed: seed of the shuffle, 0 <= seed < 2**32.
        num_workers: processes that tokenize and pack; 0 = a thread of this process.
        sharding: sharding of the batch axis over the devices of all processes; None gives the whole
            batch as NumPy arrays.

    Returns:
        An iterator over batches: the fields of the code, [B, L, ...], "weights" float32[B, L] (all
        ones), and the amounts of the code, int32[B].

    Raises:
        CorpusError: the split holds less than one row.
        ValueError: the number of devices does not divide the batch, or there are more workers than
            rows in this process.
    """
    records = corpus.split("train")
    layout = RowLayout.of(code, row_length)
    _check_fills_a_row(records, code, row_length)
    rows = own_rows(batch_size, sharding)
    n_parts = max(1, num_workers)
    if n_parts > len(rows):
        raise ValueError(
            f"data.num_workers={num_workers} is more than the {len(rows)} rows of a batch that "
            "this process makes: "
            f"use at most {len(rows)}."
        )
    documents = grain.MapDataset.source(records).seed(seed).shuffle().repeat()
    examples = documents.map(Encode(code, layout))
    parts = [
        PackedLanes(examples, rows[part::n_parts], batch_size, layout) for part in range(n_parts)
    ]
    if num_workers:
        parts = [in_worker(part) for part in parts]
    batches = Batches(parts, row_length).map(placement(rows, batch_size, sharding))
    made_with = {
        "corpus": corpus.fingerprint,
        "tokenizer": code.fingerprint(),
        "batch_size": batch_size,
        "row_length": row_length,
        "seed": seed,
        "num_workers": num_workers,
        "state_format": _STATE_FORMAT,
        "process_count": 1 if sharding is None else jax.process_count(),
        "process_index": 0 if sharding is None else jax.process_index(),
    }
    return TrainBatches(iter(prefetch(batches)), made_with)


def prefetch(batches: grain.IterDataset) -> grain.IterDataset:
    """Return a dataset that makes batches in a thread, ahead of their use."""
    return grain.experimental.ThreadPrefetchIterDataset(
        batches, prefetch_buffer_size=_PREFETCHED_BATCHES
    )


def evaluation_batches(
    corpus: Corpus,
    code: Code,
    *,
    batch_size: int,
    row_length: int,
    split: str = "validation",
    max_bytes: int = 0,
    sharding: jax.sharding.Sharding | None = None,
) -> Iterator[Batch]:
    """Return a finite iterator over a split: each document once, always in the same order.

    The last row is padded with positions of weight 0 (separators, in text), and the last batch with
    rows of weight 0. Over all batches "n_bytes" sums to the raw bytes of the split (or to
    max_bytes), for every tokenizer and row length. Every process packs all rows and keeps its own.
    So encoding is repeated, but the rows and the number of batches do not depend on the number of
    processes.

    Args:
        corpus: the corpus with the split.
        code: encodes each document.
        batch_size: B, rows of the global batch.
        row_length: L, positions of a row.
        split: "validation", "test" or "train".
        max_bytes: stop after this many raw bytes, even within a document, but after the document
            where a code has rows of whole examples; 0 = the whole split.
            Documents are stored in the order of a hash, so the first bytes are a sample of the
            split.
        sharding: sharding of the batch axis over the devices of all processes; None gives NumPy
            arrays.

    Returns:
        An iterator over batches: the fields of the code, [B, L, ...], "weights" float32[B, L], and
        the amounts of the code, int32[B].

    Raises:
        CorpusError: there is no such split.
        ValueError: the number of devices does not divide the batch.
    """
    rows = own_rows(batch_size, sharding)
    place = placement(rows, batch_size, sharding)
    layout = RowLayout.of(code, row_length)
    is_cut = not hasattr(code, "row_length")  # such a code reads whole examples only
    documents = FirstBytes(corpus.split(split), max_bytes, is_cut)
    examples = grain.MapDataset.source(documents).map(Encode(code, layout))

    def batches() -> Iterator[Batch]:
        lane = Lane(examples, first=0, stride=1)
        while True:
            packed, counts = zip(*(lane.row(layout) for _ in range(batch_size)), strict=True)
            if not counts[0]:
                return
            whole = {name: np.stack([row[name] for row in packed]) for name in packed[0]}
            is_there = np.arange(row_length)[None] < np.array(counts)[:, None]
            whole["weights"] = is_there.astype(np.float32)
            yield place({name: array[rows] for name, array in whole.items()})
            if counts[-1] < row_length:
                return

    return batches()


class FirstBytes(Sequence):
    """The first `max_bytes` raw bytes of a sequence of documents; 0 = all."""

    def __init__(self, documents: Sequence[Document], max_bytes: int, is_cut: bool = True):
        """Measure the documents up to the one that reaches `max_bytes`, which `is_cut` or whole."""
        self._documents, self._length, self._last_bytes = documents, len(documents), None
        total = 0
        for number in range(len(documents) if max_bytes else 0):
            size = len(documents[number].text)
            total += size
            if total >= max_bytes:
                self._length = number + 1
                self._last_bytes = size - (total - max_bytes) if is_cut else None
                break

    def __len__(self) -> int:
        """Return the number of documents, including the one that is cut."""
        return self._length

    def __getitem__(self, index: int) -> Document:
        """Return a document; the last one is cut."""
        key, text = self._documents[index]
        return Document(key, text[: self._last_bytes] if index == self._length - 1 else text)


def _check_fills_a_row(records: Sequence[Document], code: Code, row_length: int) -> None:
    found = 0
    for index in range(len(records)):
        fields, _ = code.encode_example(records[index])
        found += len(next(iter(fields.values())))
        if found >= row_length:
            return
    raise CorpusError(
        f"The training split is too small for one row: {len(records)} documents make {found} "
        f"{next(iter(code.fields))} with {code.name}, and a row has {row_length}. Use more text or "
        "shorter rows."
    )
