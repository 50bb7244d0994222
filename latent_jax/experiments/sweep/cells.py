"""Sweeps as data: cells made by a small algebra, and what makes them comparable.

A cell is a dictionary: the arguments of a config file, and perhaps a "group". Cells of one group
and size are compared with each other, so they must have one budget.
"""

import dataclasses
import importlib.util
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

import latent_jax
from latent_jax.methods.budget import Budget, from_config
from latent_jax.nearest import nearest

ROOT = Path(latent_jax.__file__).parents[1]
SWEEPS = ROOT / "configs" / "sweeps"

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


def config_words(sweep: Sweep, cell: Cell) -> str:
    """Return what `launch/train.py --config` takes for a cell, FILE:ARGUMENTS."""
    return f"{sweep.config}:{arguments_of(cell)}"


def config_of(sweep: Sweep, words: str) -> ConfigDict:
    """Return the configuration of a cell.

    Args:
        sweep: whose overrides count.
        words: see `config_words`.

    Raises:
        ValueError: an argument is wrong, or an override names no key (the nearest is named).
    """
    file, _, arguments = words.partition(":")
    config = load_file(ROOT / file).get_config(arguments)
    for key, value in sweep.overrides.items():
        section, *path = config, *key.split(".")
        for part in path[:-1]:
            section = section.get(part) if isinstance(section, ConfigDict) else None
        if not isinstance(section, ConfigDict) or path[-1] not in section:
            known = config.keys() if section is None else section.keys()
            raise ValueError(f"no configuration has the key {key!r}{nearest(path[-1], known)}")
        section[path[-1]] = value
    return config


def check_comparable(sweep: Sweep, configs: Sequence[ConfigDict]) -> None:
    """Refuse a sweep whose comparisons mix budgets.

    Cells of one group are measured in one unit, and those of one group and size have the same
    amount of it.

    Raises:
        ValueError: naming two cells that differ, and both budgets; or a cell that is extended.
    """
    first: dict[tuple, tuple[str, Budget]] = {}
    for cell, config in zip(sweep.cells, configs, strict=True):
        budget, name = from_config(config.budget), name_of(cell)
        if config.budget.extend:
            raise ValueError(
                f"{name} has budget.extend={config.budget.extend}: cells of a sweep have one "
                "budget from their start to their end"
            )
        group, size = cell.get("group", ""), cell.get("size", "")
        any_cell, any_budget = first.setdefault((group,), (name, budget))
        peer, peer_budget = first.setdefault((group, size), (name, budget))
        if any_budget.unit != budget.unit:
            raise ValueError(
                f"{any_cell} has the budget {any_budget} and {name} {budget}: a comparison keeps "
                "one unit equal. Give both the same, or different groups"
            )
        if peer_budget != budget:
            raise ValueError(
                f"{peer} has the budget {peer_budget} and {name} {budget}: what is compared must "
                "have one budget. Give both the same, or different groups"
            )


def load_sweep(words: str) -> tuple[str, Sweep]:
    """Return the name and the sweep of "NAME:ARGUMENTS" or "PATH.py:ARGUMENTS".

    Raises:
        ValueError: there is no such sweep (the nearest is named), or an argument is wrong.
    """
    name, _, arguments = words.partition(":")
    path = Path(name) if name.endswith(".py") else SWEEPS / f"{name}.py"
    if not path.exists():
        known = sorted(file.stem for file in SWEEPS.glob("[a-z]*.py"))
        raise ValueError(
            f"unknown sweep {name!r}{nearest(name, known)}; there are {', '.join(known)}"
        )
    return path.stem, load_file(path).get_sweep(arguments)


def load_file(path: Path) -> ModuleType:
    """Run a config file and return it as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
