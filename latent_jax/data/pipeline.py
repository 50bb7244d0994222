"""From a corpus to batches on the devices, with Grain.

Training is infinite: a global shuffle by seed, another one each epoch, packed lanes (see
`packing`), worker processes, prefetch to the devices. Evaluation is finite and exact: every
document of a split once.

Both share a batch by rows (see `placement`).
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

# Raise it when the state of the same pipeline begins to look otherwise.
_STATE_FORMAT = 2


class TrainBatches(grain.DatasetIterator):
    """Infinite iterator over training batches, whose state can be saved and restored exactly.

    `get_state()` is small, JSON, and stands right after the batch that `next` returned last,
    however much is prefetched. Orbax saves the iterator itself as a checkpointable. `close()` ends
    the worker processes.
    """

    _batches: grain.DatasetIterator | None = None

    def __init__(self, batches: grain.DatasetIterator, made_with: dict[str, Any]):
        """Wrap the pipeline; `made_with` is all that decides which batches it gives."""
        super().__init__()
        self._batches, self._made_with = batches, made_with

    def __next__(self) -> Batch:
        """Return the next batch. Raises ValueError after `close`."""
        if self._batches is None:
            raise ValueError("These training batches are closed: make new ones with train_batches.")
        return next(self._batches)

    def start_prefetch(self) -> None:
        """Start making batches before the first one is asked for."""
        self._batches.start_prefetch()

    def close(self) -> None:
        """End threads and worker processes; the iterator gives no more batches."""
        super().close()
        if self._batches is not None:
            self._batches.close()
            self._batches = None  # Grain's own iterators complain when they outlive the interpreter

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
        """Continue right after the batch that was the last when the state was taken.

        Raises:
            ValueError: The state belongs to another pipeline. Grain itself takes the state of
                another number of workers or processes without a word and goes on at a wrong place.
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

    The global batch depends on corpus, code, batch_size, row_length and seed only, up to the
    order of its rows.

    Args:
        corpus: Read by index from its training split.
        code: Encodes each document when its turn comes; must be picklable for num_workers > 0.
        batch_size: Rows B of the global batch.
        row_length: Positions L of a row.
        seed: Of the shuffle, 0 <= seed < 2**32.
        num_workers: Processes that tokenise and pack; 0 does it in a thread of this process.
        sharding: Of the batch axis over the devices of all processes. None gives the whole batch as
            NumPy arrays.

    Returns:
        Iterator over the fields of the code, [B, L, ...], "weights" float32[B, L] (all ones), and
        its amounts, int32[B].

    Raises:
        CorpusError: The split holds less than one row.
        ValueError: Devices do not divide the batch, or there are more workers than rows in this
            process.
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
    """Make batches in a thread while those before them train."""
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

    The last row is padded with positions of weight 0, of text separators, the last batch with rows
    of weight 0. Over all batches "n_bytes" adds up to the raw bytes of the split (or to max_bytes)
    for every tokenizer and row length. Every process packs all rows and keeps its own: encoding is
    repeated, but neither the rows nor the number of batches depends on the processes.

    Args:
        corpus: Where the split is read.
        code: Encodes each document.
        batch_size: Rows B of the global batch.
        row_length: Positions L of a row.
        split: "validation", "test" or "train".
        max_bytes: Stop after so many raw bytes, in the middle of a document if need be; 0 = the
            whole split. Documents are stored in the order of a hash, so the first bytes are a
            sample of the split.
        sharding: Of the batch axis over the devices of all processes. None gives NumPy arrays.

    Returns:
        Iterator over the fields of the code, [B, L, ...], "weights" float32[B, L], and its
        amounts, int32[B].

    Raises:
        CorpusError: No such split.
        ValueError: Devices do not divide the batch.
    """
    rows = own_rows(batch_size, sharding)
    place = placement(rows, batch_size, sharding)
    layout = RowLayout.of(code, row_length)
    documents = FirstBytes(corpus.split(split), max_bytes)
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
    """The first `max_bytes` bytes of a sequence of documents; 0 stands for all."""

    def __init__(self, documents: Sequence[Document], max_bytes: int):
        """Measure the documents up to the one that reaches `max_bytes`."""
        self._documents, self._length, self._last_bytes = documents, len(documents), None
        total = 0
        for number in range(len(documents) if max_bytes else 0):
            size = len(documents[number].text)
            total += size
            if total >= max_bytes:
                self._length, self._last_bytes = number + 1, size - (total - max_bytes)
                break

    def __len__(self) -> int:
        """Return the number of documents, the one that is cut included."""
        return self._length

    def __getitem__(self, index: int) -> Document:
        """Return a document, the last one cut."""
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
