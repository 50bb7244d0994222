"""Loads the sweeps of configs/sweeps, makes their cells into configurations, checks budgets."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

import latent_jax
from latent_jax.methods.budget import Budget
from latent_jax.methods.cells import Cell, Sweep, arguments_of, name_of
from latent_jax.methods.settings import state_rule
from latent_jax.methods.solve import budget_of
from latent_jax.nearest import nearest

ROOT = Path(latent_jax.__file__).parents[1]
SWEEPS = ROOT / "configs" / "sweeps"


def config_words(sweep: Sweep, cell: Cell) -> str:
    """Return FILE:ARGUMENTS of a cell, as `launch/train.py --config` takes them."""
    return f"{sweep.config}:{arguments_of(cell)}"


def config_of(sweep: Sweep, words: str) -> ConfigDict:
    """Return the configuration of a cell.

    Args:
        sweep: its overrides are applied.
        words: FILE:ARGUMENTS, see `config_words`.

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
    state_rule(config)
    return config


def check_comparable(sweep: Sweep, configs: Sequence[ConfigDict]) -> None:
    """Refuse a sweep that compares cells of different budgets.

    The budgets of a group must have one unit, and those of a group and size one amount.

    Raises:
        ValueError: naming two cells that differ, and both budgets; or a cell that is extended.
    """
    first: dict[tuple, tuple[str, Budget]] = {}
    for cell, config in zip(sweep.cells, configs, strict=True):
        budget, name = budget_of(config), name_of(cell)
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
                f"{peer} has the budget {peer_budget} and {name} {budget}: cells that are compared "
                "must have one budget. Give both the same, or different groups"
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
