"""Sweeps as data: cells made by a small algebra.

A cell is a dictionary: the arguments of a config file, and perhaps a "group". Cells of one group
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
    """Return every cell of the first with the words of every cell of the second."""
    return [{**a, **b} for a, b in itertools.product(first, second)]


def where(cells: Sequence[Cell], keep: Callable[[Cell], bool]) -> list[dict[str, Any]]:
    """Return the cells that are to be kept."""
    return [dict(cell) for cell in cells if keep(cell)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """What `get_sweep` of a file in configs/sweeps returns.

    Attributes:
        cells: see above; `name_of` is different for each.
        config: the config file whose arguments the cells are.
        overrides: dotted keys of the configuration that every cell sets, such as "data.source".
        train_bytes: raw bytes of the training split that are encoded at most for methods that M1
            drives, which are read again where a budget needs more; 0 = what the budgets need.
        cut_bytes: into texts of so many bytes; see `EncodeConfig`.
        example_bytes: or as the beginnings of examples; see `EncodeConfig`.
        paper_batches: batches of its own tokens on which a cell is scored as in the paper
            (Lester et al. 2024, section 3.8), beside the same raw bytes for every method.
        follow_up: called with the records of all cells when they are finished; returns the cells
            that are to be trained then, such as seeds of the best.
    """

    cells: Sequence[Cell]
    config: str = "configs/m2.py"
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train_bytes: int = 0
    cut_bytes: int = 2560
    example_bytes: int = 0
    paper_batches: int = 20
    follow_up: Callable[[Sequence[Mapping[str, Any]]], Sequence[Cell]] | None = None

    def __post_init__(self):
        """Refuse cells that cannot be told apart.

        Raises:
            ValueError: there is none, or two have one name.
        """
        if not self.cells:
            raise ValueError("a sweep needs at least one cell")
        names = [name_of(cell) for cell in self.cells]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"cells stand twice in the sweep: {', '.join(twice)}")


def name_of(cell: Cell) -> str:
    """Return the name of a cell, which is the name of its run folder too."""
    words = [str(v) if key in _PLAIN else f"{key}={v}" for key, v in cell.items()]
    return re.sub(r"[^\w=,.\-]+", "_", "-".join(words))


def setting_of(cell: Cell) -> dict[str, Any]:
    """Return what else than its method, size, seed and budget tells a cell from others.

    "setting" has all of it in words, as tables name it; it is missing where there is nothing.
    """
    words = {key: value for key, value in cell.items() if key not in (*_PLAIN, "seed")}
    if not words:
        return {}
    return words | {"setting": ", ".join(f"{key}={value}" for key, value in words.items())}


def arguments_of(cell: Cell) -> str:
    """Return a cell as the arguments of its config file."""
    return ",".join(f"{key}={value}" for key, value in cell.items() if key != "group")
