"""Scores of a sweep by method and size, with their spread over seeds."""

import dataclasses
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_jax.json_files import Kind, describe, read_json
from latent_jax.reports.records import RunFolderError
from latent_jax.reports.style import rank_of

CELL_FILE = "cell.json"

PLACE = "entropy"
"""A setting that says where another model lies. It is not part of labels: all cells of a sweep that
read one read the same."""

_TEXTS = ("name", "method", "size", "budget", "group", "config", "setting", "lm_gradient")
_TEXTS += (PLACE,)
_NUMBERS = (
    "bits_per_byte",
    "bytes_per_token",
    "bytes_seen",
    "n_parameters",
    "n_embedding_parameters",
)
CELL = Kind(
    keys=dict.fromkeys(_TEXTS[:4], str) | dict.fromkeys(_NUMBERS, float),
    maybe=dict.fromkeys(_TEXTS[4:], str) | {"seed": int, "beta": float},
)
"""What the record of a cell has; all that is not text is a number, or null where not measured."""


def read_cells(folder: str | Path) -> list[dict[str, Any]]:
    """Return the records of the finished cells of a sweep, sorted by the cells' names.

    Raises:
        RunFolderError: there is no finished cell, or the file of one is damaged.
    """
    paths = sorted(Path(folder).glob(f"cells/*/{CELL_FILE}"))
    if not paths:
        raise RunFolderError(f"{folder} holds no finished cell of a sweep (cells/*/{CELL_FILE})")
    records = []
    for path in paths:
        try:
            records.append(_checked(read_json(path, CELL), path))
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged ({error}): train the cell again") from error
    return records


def _checked(record: dict[str, Any], path: Path) -> dict[str, Any]:
    for key, value in record.items():
        if key not in _TEXTS and not (value is None or isinstance(value, bool | int | float)):
            CELL.fail(path, f"has {describe(value)} as its {key!r}, where a number was expected")
    return record


def label_of(record: Mapping[str, Any]) -> str:
    """Return the method of a cell and its other settings but `PLACE`, such as "beta=0.1"."""
    settings = (record.get("setting") or "").split(", ")
    own = (setting for setting in settings if setting and not setting.startswith(f"{PLACE}="))
    return ", ".join((record["method"], *own))


def latent_label(method: str, beta: float, lm_gradient: str) -> str:
    """Return the label that `label_of` gives a latent language in a sweep."""
    return f"{method}, beta={beta}, lm_gradient={lm_gradient}"


def is_sweep(folder: str | Path) -> bool:
    """Return whether a folder is the folder of a sweep."""
    return (Path(folder) / "manifest.json").exists()


@dataclasses.dataclass(frozen=True)
class Sample:
    """One score of one method and size.

    Attributes:
        by_seed: seed -> score.
    """

    by_seed: Mapping[int, float]

    @property
    def values(self) -> tuple[float, ...]:
        """The scores without their seeds."""
        return tuple(self.by_seed.values())

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds (n - 1); None for one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class Scores:
    """The scores of the cells of one group, by method and size.

    A "method" here is a label of `label_of`: the method with its other settings.

    Args:
        records: records of cells.
        group: only cells of this group are taken; "" takes those without a group.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], group: str = ""):
        """Sort the cells by method, setting and size."""
        self._cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for record in records:
            if record.get("group", "") == group:
                key = (label_of(record), record["size"])
                self._cells.setdefault(key, []).append(record)

    @property
    def methods(self) -> list[str]:
        """Methods in the order of their families' ranks, see `style.show_families`."""
        return sorted({method for method, _ in self._cells}, key=_order)

    @property
    def leading(self) -> list[str]:
        """One setting per method: that with the most seeds, and among those the fewest bits."""
        best: dict[str, str] = {}
        for label in sorted(self.methods, key=lambda label: self.rank(label, self.sizes)):
            best.setdefault(label.partition(", ")[0], label)
        return [label for label in self.methods if label in best.values()]

    @property
    def sizes(self) -> list[str]:
        """Sizes, the smallest first."""
        sizes = {size for _, size in self._cells}
        return sorted(sizes, key=lambda size: min(self._parameters(size)))

    def rank(self, method: str, sizes: Sequence[str]) -> tuple[int, float]:
        """Return a sort key: more seeds first, then fewer bits per byte.

        Raises:
            ValueError: the method has no cell of these sizes.
        """
        samples = [self.sample(method, size) for size in sizes]
        samples = [sample for sample in samples if sample is not None]
        return -max(len(s.values) for s in samples), min(s.mean for s in samples)

    def cells(self, method: str, size: str) -> list[Mapping[str, Any]]:
        """Return the records of a method and size, one per seed; [] if there are none."""
        return self._cells.get((method, size), [])

    def sample(self, method: str, size: str, key: str = "bits_per_byte") -> Sample | None:
        """Return a score over seeds, or None where there is none."""
        cells = [r for r in self.cells(method, size) if r.get(key) is not None]
        return Sample({r["seed"]: float(r[key]) for r in cells}) if cells else None

    def mean(self, method: str, size: str, key: str = "bits_per_byte") -> float | None:
        """Return the mean of a score over seeds, or None where there is none."""
        sample = self.sample(method, size, key)
        return None if sample is None else sample.mean

    def of_method(self, method: str, key: str) -> float | None:
        """Return the mean over sizes of a score that does not depend on the size.

        An example is bytes per token. None if there is no such score.
        """
        values = [self.mean(method, size, key) for size in self.sizes]
        values = [value for value in values if value is not None]
        return statistics.fmean(values) if values else None

    def bytes_per_step(self, method: str, size: str) -> float | None:
        """Return raw bytes per step of the model, or None where they are not known.

        A step reads an id; of a model that cuts its text by itself, its network over chunks reads a
        chunk of the last stage.
        """
        keys = {key for record in self.cells(method, size) for key in record}
        stages = sorted(key for key in keys if re.fullmatch(r"bytes_per_chunk_\d", key))
        return self.mean(method, size, stages[-1] if stages else "bytes_per_token")

    def _parameters(self, size: str) -> list[float]:
        return [
            r["n_parameters"] - r["n_embedding_parameters"]
            for (_, s), records in self._cells.items()
            if s == size
            for r in records
        ]


def _order(method: str) -> tuple:
    numbers = {key: int(value) for key, value in re.findall(r"\b(\w)=(\d+)", method)}
    setting = re.search(r"beta=([\d.e-]+)", method)
    beta = float(setting[1]) if setting else 0.0
    name = method.partition(", ")[0]
    return rank_of(method), numbers.get("b", 0), numbers.get("v", 0), len(name), name, beta, method
