"""Rows that were encoded before training, for language models whose tokenizer is slow.

They are a folder of ArrayRecord files. A record is one row: L ids, the number of scored ids, and
the number of raw bytes of these, all int32 and little-endian. `plan.json` describes what was
encoded and how. A file is complete when the .json file of the same name exists, and the whole
folder is complete when `rows.json` exists. The .json files carry digests, and `rows.json` says what
each file of rows must be.

    plan.json  rows.json  tokenizer/
    train-00000.array_record  train-00000.json  ...  validation-00000.array_record  ...
"""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from latent_jax.contracts import Batch
from latent_jax.data.documents import CorpusError
from latent_jax.data.pipeline import TrainBatches, prefetch
from latent_jax.data.placement import own_rows, placement
from latent_jax.data.record_files import RecordFiles, check_files, describe_files
from latent_jax.json_files import Kind, check, read_json, read_sealed
from latent_jax.paths import temporary_of

PLAN, DONE, TOKENIZER = "plan.json", "rows.json", "tokenizer"

WAY_OUT = (
    "remove the file and the .json of its name, and run launch/prepare.py encode again, which "
    "makes what lacks"
)

PLAN_KIND = Kind(
    keys={"method": str, "tokenizer": str, "corpus": str, "row_length": int}, error=CorpusError
)
_DONE = Kind(keys={"n_rows": dict, "n_bytes": dict, "n_tokens": dict}, maybe={"files": dict})

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rows:
    """An encoded corpus that is complete on disk.

    Attributes:
        folder: its folder.
        plan: method, fingerprints of tokenizer and corpus, row_length, and how rows were made.
        n_rows: number of rows, by split.
        n_bytes: raw bytes that the scored ids stand for, by split.
        n_tokens: number of scored ids, by split.
        files: see `record_files.describe_files`; {} where an older version wrote the folder.
    """

    folder: Path
    plan: dict[str, Any]
    n_rows: dict[str, int]
    n_bytes: dict[str, int]
    n_tokens: dict[str, int]
    files: dict[str, Any]

    @property
    def row_length(self) -> int:
        """L, ids per row."""
        return self.plan["row_length"]

    def split(self, name: str) -> "RowRecords":
        """Return random access to the rows of a split.

        Raises:
            CorpusError: the split has no rows.
        """
        if not self.n_rows.get(name):
            raise CorpusError(
                f"{self.folder} holds no {name!r} rows, only {', '.join(self.n_rows)}"
            )
        names = [file for file in sorted(self.files) if file.startswith(f"{name}-")]
        paths = [self.folder / file for file in names]
        paths = paths or sorted(self.folder.glob(f"{name}-*.array_record"))
        records = RowRecords(paths, self.row_length)
        if len(records) != self.n_rows[name]:
            raise CorpusError(
                f"{self.folder} holds {len(records)} {name!r} rows, and {DONE} says "
                f"{self.n_rows[name]}: {WAY_OUT}"
            )
        return records


class RowRecords(Sequence):
    """Random access to rows; an element is a `Batch` without the batch axis."""

    def __init__(self, paths: Sequence[Path], row_length: int):
        """Open the files. Raises CorpusError where one cannot be read."""
        self._source = RecordFiles(paths, WAY_OUT)
        self._row_length = row_length

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._source)

    def __getitem__(self, index: int) -> Batch:
        """Return one row: "ids" int32[L], "weights" float32[L] and "n_bytes" int32.

        Raises:
            CorpusError: the row is damaged, or of another length.
        """
        record = self._source[index]
        if len(record) != 4 * (self._row_length + 2):
            raise CorpusError(
                f"{self._source} has a record of {len(record)} bytes, which is no row of "
                f"{self._row_length} ids: {WAY_OUT}"
            )
        numbers = np.frombuffer(record, "<i4")
        ids, (n_ids, n_bytes) = numbers[: self._row_length], numbers[self._row_length :]
        return {
            "ids": ids.astype(np.int32),
            "weights": (np.arange(self._row_length) < n_ids).astype(np.float32),
            "n_bytes": np.int32(n_bytes),
        }

    def __repr__(self) -> str:
        """Return the number and length of rows; Grain prints it in its messages."""
        return f"RowRecords({len(self)} x {self._row_length})"


def write_rows(path: Path, rows: Iterable[tuple[np.ndarray, int, int]]) -> dict[str, int]:
    """Write one file of rows, which appears only when it is complete.

    Args:
        path: path of the .array_record file.
        rows: for each row its ids, int32[L], the number of scored ids, and their raw bytes.

    Returns:
        The sums "n_rows", "n_tokens" (scored ids) and "n_bytes"; and "files", see
        `record_files.describe_files`.
    """
    temporary = temporary_of(path)
    sums: dict[str, Any] = {"n_rows": 0, "n_tokens": 0, "n_bytes": 0}
    try:
        writer = ArrayRecordWriter(os.fspath(temporary), "group_size:1")
        for ids, n_ids, n_bytes in rows:
            writer.write(np.append(ids, [n_ids, n_bytes]).astype("<i4").tobytes())
            sums["n_rows"] += 1
            sums["n_tokens"] += n_ids
            sums["n_bytes"] += n_bytes
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return {**sums, "files": describe_files([path])}


def open_rows(folder: str | Path) -> Rows:
    """Return the rows in a folder.

    Raises:
        CorpusError: the folder holds no rows, is not complete, or was damaged.
    """
    folder = Path(folder).expanduser()
    try:
        plan = read_json(folder / PLAN, PLAN_KIND)
        done, is_sealed = read_sealed(folder / DONE, _DONE)
        for key in ("n_rows", "n_bytes", "n_tokens"):
            check(done[key], f"{key!r} of {folder / DONE}", Kind(items=int))
            if done[key].keys() != done["n_rows"].keys():
                raise ValueError(f"{folder / DONE} has {key!r} of other splits than its rows")
    except ValueError as error:
        raise CorpusError(
            f"{folder} holds no encoded rows, or not all of them ({error}): run "
            "launch/prepare.py encode; the same command goes on where it stopped"
        ) from error
    if not is_sealed:
        logger.warning("%s carries no digest: damage to it would not be noticed", folder / DONE)
    files = done.get("files", {})
    check_files(folder, files, WAY_OUT)
    return Rows(folder, plan, done["n_rows"], done["n_bytes"], done["n_tokens"], files)


def train_row_batches(
    rows: Rows,
    *,
    batch_size: int,
    seed: int,
    sharding: jax.sharding.Sharding | None = None,
) -> TrainBatches:
    """Return an infinite iterator over batches of the training rows, in another order each epoch.

    Args:
        rows: from `open_rows`.
        batch_size: B, rows of the global batch.
        seed: seed of the shuffle.
        sharding: sharding of the batch axis over the devices of all processes; None gives NumPy
            arrays.

    Raises:
        CorpusError: there are fewer than B rows.
        ValueError: the number of devices does not divide the batch.
    """
    records = rows.split("train")
    if len(records) < batch_size:
        raise CorpusError(
            f"{rows.folder} holds {len(records)} training rows, fewer than a batch of {batch_size}"
        )
    own = own_rows(batch_size, sharding)
    # Whole batches are formed first, so that they do not depend on the number of processes.
    batches = (
        grain.MapDataset.source(records)
        .seed(seed)
        .shuffle()
        .repeat()
        .batch(batch_size, drop_remainder=True)
        .map(lambda batch: {name: array[own] for name, array in batch.items()})
        .map(placement(own, batch_size, sharding))
        .to_iter_dataset()
    )
    made_with = {
        "rows": rows.plan,
        "batch_size": batch_size,
        "seed": seed,
        "process_count": 1 if sharding is None else jax.process_count(),
        "process_index": 0 if sharding is None else jax.process_index(),
    }
    return TrainBatches(iter(prefetch(batches)), made_with)


def evaluation_row_batches(
    rows: Rows,
    *,
    batch_size: int,
    split: str = "validation",
    max_bytes: int = 0,
    sharding: jax.sharding.Sharding | None = None,
) -> Iterator[Batch]:
    """Return a finite iterator over the rows of a split, in order.

    Args:
        rows: from `open_rows`.
        batch_size: B, rows of the global batch; the last batch is filled up with rows of weight 0.
        split: the split to read.
        max_bytes: stop after the batch in which the raw bytes reach this number; 0 = all rows.
        sharding: sharding of the batch axis over the devices of all processes; None gives NumPy
            arrays.

    Raises:
        CorpusError: the split has no rows.
        ValueError: the number of devices does not divide the batch.
    """
    records = rows.split(split)
    own = own_rows(batch_size, sharding)
    place = placement(own, batch_size, sharding)

    def batches() -> Iterator[Batch]:
        total = 0
        for start in range(0, len(records), batch_size):
            found = [records[i] for i in range(start, min(start + batch_size, len(records)))]
            whole = {name: np.stack([row[name] for row in found]) for name in found[0]}
            lacking = batch_size - len(found)
            padded = {
                name: np.pad(array, [(0, lacking)] + [(0, 0)] * (array.ndim - 1))
                for name, array in whole.items()
            }
            yield place({name: array[own] for name, array in padded.items()})
            total += int(whole["n_bytes"].sum())
            if 0 < max_bytes <= total:
                return

    return batches()
