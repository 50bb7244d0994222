"""The rooms of the house: imports run down only, and no two files import each other."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    {
        *(
            "contracts",
            "platform",
            "nearest",
            "spelling",
            "paths",
            "ranges",
            "sharding_constraints",
        ),
        *("json_files", "config_file", "folder_lock", "lock_file", "processes", "interrupts"),
        *("system_errors", "array_files", "registration", "bars", "standard_streams"),
        *("kept_programs",),
    },
    {"layers", "quantizers", "exact", "tokenizers", "reports"},
    {"data", "chunking"},
    {"models"},
    {"tasks", "generation"},
    {"training"},
    {"methods", "analysis"},
    {"codec", "costs"},
    {"experiments", "command_line", "command_verbs", "flag_values"},
    {"bench", "commands"},
)
"""From the ground up. Rooms of one floor may import each other, without circles."""

ALLOWED = {
    # Of an older file, read for its types: nothing is imported while the program runs.
    ("contracts", "generation"),
    ("contracts", "layers"),
    ("contracts", "tokenizers"),
}

FILES = sorted((ROOT / "latent_jax").rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path, top_only=False):
    """Return the modules of this package that a file imports."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        yield from (name for name in names if name in MODULES)


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor(name):
    found = [number for number, rooms in enumerate(FLOORS) if name in rooms]
    assert len(found) == 1, f"{name} stands on {len(found)} floors"
    return found[0]


@pytest.mark.parametrize("own", sorted(set().union(*FLOORS)))
def test_a_room_imports_from_below_only(own):
    above = []
    for path in (path for path in FILES if room(module_of(path)) == own):
        for module in imports(path):
            other = room(module)
            if other and other != own and (own, other) not in ALLOWED and floor(other) > floor(own):
                above.append(f"{module_of(path)} imports {module}")
    assert not above


def test_no_files_import_each_other():
    graph = {module: set(imports(path, top_only=True)) for module, path in MODULES.items()}
    # A package's own files import it by being in it; only what it lists itself counts.
    done, path = set(), []

    def visit(module):
        if module in path:
            circle = [*path[path.index(module) :], module]
            raise AssertionError(f"a circle of imports: {' -> '.join(circle)}")
        if module in done:
            return
        path.append(module)
        for other in sorted(graph[module]):
            visit(other)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_configs_import_no_experiment_also_by_path():
    for path in sorted((ROOT / "configs").rglob("*.py")):
        used = {room(module) for module in imports(path)}
        above = {name for name in used if name and floor(name) >= floor("codec")}
        assert not above, f"{path} imports {above}"
        assert "spec_from_file_location" not in path.read_text()


def test_a_wheel_carries_the_configs():
    from setuptools import find_packages

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = find_packages(str(ROOT), **project["tool"]["setuptools"]["packages"]["find"])
    assert {"configs", "configs.sweeps", "latent_jax.methods"} <= set(found)
    assert not {"tests", "launch"} & set(found)


def test_launch_scripts_hold_no_logic():
    """They name flags and call one function: no loop and no class."""
    for path in sorted((ROOT / "launch").glob("*.py")):
        tree = ast.parse(path.read_text())
        kinds = [type(node).__name__ for node in ast.walk(tree)]
        assert not {"For", "While", "ClassDef", "With"} & set(kinds), path


def test_every_room_stands_on_a_floor():
    rooms = {room(module) for module in MODULES} - {""}
    assert rooms == set().union(*FLOORS)


def test_the_two_writers_of_json_have_names_of_their_own():
    """A value whole, path first; and a table of records, as `reports` writes everything."""
    made = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and "json" in node.name.split("_"):
                made.setdefault(node.name, []).append(module_of(path))
    assert made["write_json"] == made["read_json"] == ["latent_jax.json_files"]
