"""Sweeps as data: lists of cells, and functions that build them from axes.

A cell is a dictionary: the arguments of a config file, and an optional "group". Cells of one group
and size are compared with each other, so they must have one budget.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Cell = Mapping[str, Any]

_PLAIN = ("group", "method", "size", "budget")


def product(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return a cell for every combination of the axes; the last one changes fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def zipped(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return a cell for the first values of all axes, one for the second, and so on.

    Raises:
        ValueError: the axes are not equally long.
    """
    return [dict(zip(axes, values, strict=True)) for values in zip(*axes.values(), strict=True)]


def crossed(first: Sequence[Cell], second: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return every pair of a first and a second cell, merged; the second one's values win."""
    return [{**a, **b} for a, b in itertools.product(first, second)]


def where(cells: Sequence[Cell], keep: Callable[[Cell], bool]) -> list[dict[str, Any]]:
    """Return the cells for which `keep` is true."""
    return [dict(cell) for cell in cells if keep(cell)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep, as `get_sweep` of a file in configs/sweeps returns it.

    Attributes:
        cells: dictionaries; `name_of` is different for each.
        config: the config file that takes the cells as its arguments.
        overrides: values of config keys for every cell, by dotted key, such as "data.source".
        train_bytes: raw bytes of the training split to encode at most, for methods that M1 drives;
            a larger budget reads them again. 0 = as many as the budgets need.
        cut_bytes: see `EncodeConfig`; documents are cut into texts of so many bytes.
        example_bytes: see `EncodeConfig`; or texts are the beginnings of examples.
        paper_batches: batches of the method's own tokens on which a cell is also scored as in the
            paper (Lester et al. 2024, section 3.8), besides the same raw bytes for every method.
        published: what a paper states of the text of each method, by the method in its cells.
            "bytes_per_token" is what --dry_run plans with: it reads no text then, and trains no
            tokenizer. "tokens" and "bytes" stand beside the plan's. {} = the text is read.
        follow_up: called with the records of all cells when they are finished; returns further
            cells to train, such as other seeds of the best ones.
    """

    cells: Sequence[Cell]
    config: str = "configs/m2.py"
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train_bytes: int = 0
    cut_bytes: int = 2560
    example_bytes: int = 0
    paper_batches: int = 20
    published: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    follow_up: Callable[[Sequence[Mapping[str, Any]]], Sequence[Cell]] | None = None

    def __post_init__(self):
        """Refuse cells that cannot be told apart.

        Raises:
            ValueError: there is no cell, or two have the same name.
        """
        if not self.cells:
            raise ValueError("a sweep needs at least one cell")
        names = [name_of(cell) for cell in self.cells]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"cells stand twice in the sweep: {', '.join(twice)}")


def name_of(cell: Cell) -> str:
    """Return the name of a cell, which is also the name of its run folder."""
    words = [str(v) if key in _PLAIN else f"{key}={v}" for key, v in cell.items()]
    return re.sub(r"[^\w=,.\-]+", "_", "-".join(words))


def setting_of(cell: Cell) -> dict[str, Any]:
    """Return the arguments of a cell other than its group, method, size, seed and budget.

    The key "setting" lists them in one string, as tables show it. Without such arguments the result
    is {}.
    """
    words = {key: value for key, value in cell.items() if key not in (*_PLAIN, "seed")}
    if not words:
        return {}
    return words | {"setting": ", ".join(f"{key}={value}" for key, value in words.items())}


def arguments_of(cell: Cell) -> str:
    """Return a cell as the arguments of its config file."""
    return ",".join(f"{key}={value}" for key, value in cell.items() if key != "group")
