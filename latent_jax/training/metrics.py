"""Exact sums on the host, and the files they are written to: metrics.jsonl and TensorBoard's.

metrics.jsonl is the record of the run; TensorBoard shows the same numbers. One line is one flat
record: {"step", "split", "seconds", "train_flops", metric: value, ..., "digest"}, never rounded;
for text it also has "bytes_seen" and "tokens_seen". The digest is that of the line and left out
where it is read.
"""

import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.contracts import amount_key
from latent_jax.json_files import Kind, read_lines, with_digest
from latent_jax.paths import is_remote, open_path, replace_file

# Where PyTorch is installed, tensorboardX imports it to know its tensors: seconds of every start.
sys.modules.setdefault("torch", None)
from tensorboardX import SummaryWriter  # noqa: E402

if sys.modules["torch"] is None:
    del sys.modules["torch"]

Sums = dict[str, Any]

RECORD = Kind(
    keys={"step": int, "split": str},
    way_out="restore the file from a copy; without it, and without its records, the run goes on",
)
"""A line of metrics.jsonl."""


def add_scores(sums: Sums, scores: Mapping[str, Any]) -> None:
    """Add host scores of a batch to sums in place: integers as int64, all else as float64."""
    for name, value in scores.items():
        value = np.asarray(value)
        value = value.astype(np.int64 if np.issubdtype(value.dtype, np.integer) else np.float64)
        sums[name] = sums[name] + value if name in sums else value


class Window:
    """Steps summed into one training record."""

    def __init__(self):
        """Begin empty."""
        self.clear(0.0)

    def clear(self, seconds: float) -> None:
        """Begin anew at `seconds` of the chrono."""
        self.sums: Sums = {}
        self.n_steps = 0
        self._loss = 0.0
        self._gradient_norm = 0.0
        self._start_seconds = seconds

    def add(self, loss: float, gradient_norm: float, scores: Mapping[str, Any]) -> None:
        """Add one step."""
        add_scores(self.sums, scores)
        self.n_steps += 1
        self._loss += float(loss) * float(scores["weight"])
        self._gradient_norm += float(gradient_norm)

    def elapsed(self, seconds: float) -> float:
        """Return the seconds from the last `clear` to `seconds`, more than 0."""
        return max(seconds - self._start_seconds, 1e-9)

    def speed(self, unit: str, seconds: float) -> float:
        """Return how much of an amount was seen per second, from the last `clear` to `seconds`."""
        return float(self.sums[amount_key(unit)]) / self.elapsed(seconds)

    def summary(self, seconds: float, unit: str) -> dict[str, float]:
        """Return mean loss per position, mean gradient norm and speed in `unit` up to `seconds`."""
        return {
            "loss": self._loss / max(float(self.sums["weight"]), 1.0),
            "gradient_norm": self._gradient_norm / self.n_steps,
            f"{unit}_per_second": self.speed(unit, seconds),
            "steps_per_second": self.n_steps / self.elapsed(seconds),
        }


class MetricsWriter:
    """Appends records to metrics.jsonl and to TensorBoard files.

    Records after the step that a run resumes from are cut off first, so no step is recorded twice.
    A last line that a killed process left half-written is cut off too.

    On a disk each record is written at once. An object in a bucket cannot be appended to, so for a
    bucket both are kept on this machine, and `flush` writes them anew as a whole.
    """

    def __init__(self, path: Path, tensorboard: Path, step: int):
        """Open the files of a run that goes on after `step` optimizer steps (0: a new run)."""
        self._path = open_path(path)
        kept = [r for r in read_records(self._path) if r["step"] <= step] if step else []
        text = "".join(json.dumps(with_digest(record)) + "\n" for record in kept)
        try:
            replace_file(self._path, text.encode())
        except OSError as error:
            raise self._failed(error) from error
        self._remote_tensorboard = None
        if is_remote(path):
            self._file = io.StringIO()
            self._file.write(text)
            self._remote_tensorboard = open_path(tensorboard)
            self._folder = tempfile.TemporaryDirectory(prefix="tensorboard-")
            tensorboard = self._folder.name
        else:
            self._file = self._path.open("a", encoding="utf-8")
        self._tensorboard = SummaryWriter(str(tensorboard), purge_step=step + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one flat record; "step" and "split" are its key.

        Raises:
            ValueError: a metric is NaN or infinite, which JSON cannot hold (the message names it),
                or the disk is full.
        """
        plain = {name: _plain(name, value, record) for name, value in record.items()}
        try:
            self._file.write(json.dumps(with_digest(plain), allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        step, split = plain["step"], plain["split"]
        for name, value in plain.items():
            if name not in ("step", "split"):
                self._tensorboard.add_scalar(f"{split}/{name}", value, step)

    def flush(self) -> None:
        """Write all records to the bucket, or have the disk keep what was written.

        Raises:
            ValueError: the bucket or the disk cannot be written.
        """
        if self._remote_tensorboard is None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._failed(error) from error
            return
        self._tensorboard.flush()
        try:
            replace_file(self._path, self._file.getvalue().encode())
            # A process writes event files of its own name, so those of earlier ones stay.
            for events in Path(self._folder.name).iterdir():
                replace_file(self._remote_tensorboard / events.name, events.read_bytes())
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Write out what is buffered."""
        self._tensorboard.close()
        if self._remote_tensorboard is not None:
            self.flush()
            self._folder.cleanup()
        self._file.close()

    def _failed(self, error: OSError) -> ValueError:
        return ValueError(
            f"cannot write to {self._path}: {error}. Free some space and start the same command "
            "again, which resumes from the last checkpoint"
        )


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a metrics.jsonl in order; a half-written last line is left out.

    Raises:
        ValueError: a line is damaged; the message names it.
    """
    path = open_path(path)
    return list(read_lines(path, RECORD)) if path.exists() else []


def _plain(name: str, value: Any, record: Mapping[str, Any]) -> str | int | float:
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") else value
    if not math.isfinite(value):
        raise ValueError(
            f"the {record['split']} metric {name!r} is {value} at step {record['step']}: "
            "look at the task's scores for a division by zero or an overflow"
        )
    return value
