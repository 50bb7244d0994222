"""Reading of run folders, the only source of tables and pictures.

A run folder holds `config.json`, the nested config, and `metrics.jsonl`, one flat record per line:
`{"step": 100, "split": "validation", "bytes_seen": 819200, ..., "bits_per_byte": 2.31}`. A record
says how much of each amount the run has seen, under `UNIT_seen`, the first unit of its method
first. The reader accepts what a killed run leaves behind: an incomplete last line, and steps that
were trained again after a resume. Any other damage is an error.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.config_file import read_config
from latent_jax.json_files import Kind, check, read_lines
from latent_jax.nearest import nearest
from latent_jax.paths import open_path

SPLITS = ("train", "validation")
REQUIRED = ("step", "split")
SEEN = "_seen"


class RunFolderError(ValueError):
    """A folder is not a run folder, or its files are damaged in a way that no killed run causes."""


_CONFIG = Kind(keys={"method": str}, maybe={"name": str, "training": dict}, error=RunFolderError)
_TRAINING = Kind(maybe={"best_metric": str}, error=RunFolderError)
_ANY = Kind(None, error=RunFolderError)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run on disk.

    Attributes:
        folder: the run folder.
        config: the nested config.
        records: the records of `metrics.jsonl`, in the order of their steps within each split.
    """

    folder: Path
    config: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]

    @property
    def method(self) -> str:
        """The literature name of the method, e.g. `BPE[v=4096]`."""
        return self.config["method"]

    @property
    def name(self) -> str:
        """The name in tables and pictures: the configured name, or else the method's."""
        return self.config.get("name") or self.method

    @property
    def metric(self) -> str:
        """The metric that runs are compared by, the configured best_metric; lower is better."""
        return self.config.get("training", {}).get("best_metric", "bits_per_byte")

    @property
    def unit(self) -> str:
        """The first amount that the run counts, such as "bytes": what its curves are drawn over."""
        return next(key for key in self.records[0] if key.endswith(SEEN)).removesuffix(SEEN)

    def has(self, metric: str, split: str = "validation") -> bool:
        """Return whether any record of the split has the metric."""
        return any(metric in record for record in self.split(split))

    def split(self, split: str) -> list[Mapping[str, Any]]:
        """Return the records of one split, ordered by step.

        Raises:
            ValueError: `split` is not one of `SPLITS`.
        """
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}{nearest(split, SPLITS)}; known: {SPLITS}")
        return [record for record in self.records if record["split"] == split]

    def curve(
        self, metric: str, *, split: str = "validation", x: str = ""
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `x` and `metric`, float64[n], of all records of the split that have both.

        Args:
            metric: its name in the records.
            split: "train" or "validation".
            x: its name in the records; "" is how much the run has seen of its `unit`.
        """
        if not self.records:
            return np.zeros(0), np.zeros(0)
        x = x or f"{self.unit}{SEEN}"
        points = [
            (record[x], record[metric])
            for record in self.split(split)
            if metric in record and x in record
        ]
        xs, ys = np.array(points, dtype=np.float64).reshape(-1, 2).T
        return xs, ys

    def final(self, split: str = "validation", config_keys: Sequence[str] = ()) -> dict[str, Any]:
        """Return the last record of the split as one flat row of a table.

        Args:
            split: "train" or "validation".
            config_keys: dotted config keys to add to the row: `compressor.kernel_size`.

        Returns:
            "name", "method" and `config_keys`, then the keys of the record.

        Raises:
            RunFolderError: the split has no record yet.
            ValueError: the config has no such key.
        """
        records = self.split(split)
        if not records:
            raise RunFolderError(
                f"{self.folder / 'metrics.jsonl'} has no {split} record yet: the run was stopped "
                f"before its first one; start it again to go on"
            )
        settings = flatten(self.config)
        for key in config_keys:
            if key not in settings:
                raise ValueError(
                    f"the configuration of {self.folder} has no {key!r}{nearest(key, settings)}"
                )
        chosen = {key: settings[key] for key in config_keys}
        return {"name": self.name, "method": self.method, **chosen, **records[-1]}


def read_run(folder: str | Path) -> Run:
    """Read a run folder.

    Raises:
        RunFolderError: a file is missing or damaged; the message names the file and the line.
    """
    folder = open_path(folder)
    _check_there(folder, "config.json")
    config = read_config(folder, _CONFIG)
    check(config.get("training", {}), f"training in {folder / 'config.json'}", _TRAINING)
    return Run(folder, config, _read_metrics(folder))


def find_runs(root: str | Path) -> list[Path]:
    """Return `root` and all folders below it that hold a `metrics.jsonl`, sorted.

    Raises:
        RunFolderError: there is none.
    """
    found = sorted(path.parent for path in Path(root).rglob("metrics.jsonl"))
    if not found:
        raise RunFolderError(f"no run folder (with a metrics.jsonl) in {root}")
    return found


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested config as one level with dotted keys: `{"model.d_model": 128}`."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _check_there(folder, name):
    if not (folder / name).exists():
        raise RunFolderError(f"{folder} is not a run folder: it has no {name}")


def _read_metrics(folder):
    """Return the records that count, see the module's docstring."""
    _check_there(folder, "metrics.jsonl")
    values = enumerate(read_lines(folder / "metrics.jsonl", _ANY), start=1)
    records = [_record(value, folder, number) for number, value in values]
    kept = {split: [] for split in SPLITS}
    for record in records:
        # A step that is not larger than the last one was trained again after a resume. It replaces
        # the records from that step on.
        undone = kept[record["split"]]
        while undone and undone[-1]["step"] >= record["step"]:
            undone.pop()
        undone.append(record)
    return [record for split in SPLITS for record in kept[split]]


def _record(record, folder, number):
    place = f"{folder / 'metrics.jsonl'}, line {number}"
    if not isinstance(record, dict):
        raise RunFolderError(f"{place} is not a JSON object but {type(record).__name__}")
    for key in REQUIRED:
        if key not in record:
            raise RunFolderError(f"{place} has no {key!r}")
    if not any(key.endswith(SEEN) for key in record):
        raise RunFolderError(f"{place} does not say what the run has seen, such as 'bytes_seen'")
    if record["split"] not in SPLITS:
        raise RunFolderError(f"{place} has split {record['split']!r}; known: {SPLITS}")
    for key, value in record.items():
        if key != "split" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RunFolderError(f"{place}: {key!r} is {value!r}, not a number")
    return record
