"""The shell scripts, run for real in a small project that needs nothing from the network."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*(ROOT / "launch").glob("*.sh"), ROOT / ".ci" / "run"])
TOOLS = ("bash", "cat", "cmp", "dirname", "rm")


@pytest.fixture
def project(tmp_path):
    """A folder with the set-up script, a script that uses it, and empty requirements."""
    (tmp_path / "launch").mkdir()
    shutil.copy(ROOT / "launch" / "setup.sh", tmp_path / "launch")
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "launch" / "hello.sh").write_text(
        'set -euo pipefail\ncd "$(dirname "${BASH_SOURCE[0]}")/.."\nsource launch/setup.sh\n'
        '"$PYTHON" -c "import sys; print(sys.prefix)"\n'
    )
    return tmp_path


def run(project, **environment):
    environment = {**os.environ, "LATENT_JAX_PYTHON": sys.executable, **environment}
    return subprocess.run(
        ["bash", project / "launch" / "hello.sh"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
    )


def path_with(tmp_path, **pythons):
    """Return a PATH of the tools that the script needs and of fake Pythons with these versions."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    for name, version in pythons.items():
        fake = folder / name.replace("_", ".")
        # A version manager's shim for an absent version says so and fails.
        fake.write_text(f"#!/bin/sh\n{f'echo {version}' if version else 'exit 127'}\n")
        fake.chmod(0o755)
    return str(folder)


COMMANDS = [path for path in SCRIPTS if path.parent.name == "launch" and path.name != "setup.sh"]


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.name)
def test_help_does_nothing_but_teach(script, word, tmp_path):
    words = dict(cwd=tmp_path, capture_output=True, text=True, timeout=60)
    # Nothing that would set up or compile is on this path.
    done = subprocess.run(
        ["/bin/bash", script, word], env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, **words
    )
    assert done.returncode == 0 and f"bash launch/{script.name} " in done.stdout, done.stderr
    assert "==>" not in done.stdout and "set -e" not in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid_bash(script):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert script.name == "setup.sh" or "set -euo pipefail" in text


def test_all_scripts_share_one_set_up():
    names = {path.name for path in SCRIPTS}
    assert {"quickstart.sh", "test.sh", "setup.sh", "run"} <= names
    for name in ("quickstart.sh", "test.sh"):
        text = (ROOT / "launch" / name).read_text()
        assert "source launch/setup.sh" in text
        installs = [line for line in text.splitlines() if "pip install" in line]
        assert all("--target" in line for line in installs)  # beside the environment
    assert "bash launch/test.sh" in (ROOT / ".ci" / "run").read_text()


def test_an_older_python_is_refused_by_name_with_the_way_out(project):
    path = path_with(project, python3="3.10.13", python3_12="", python="2.7.18")
    done = run(project, PATH=path, LATENT_JAX_PYTHON="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.11 or newer; found: python3 is 3.10.13, python is 2.7.18" in done.stderr
    assert "apt install python3.12" in done.stderr
    assert not (project / ".venv").exists()


def test_a_machine_without_python_is_told_so(project):
    done = run(project, PATH=path_with(project), LATENT_JAX_PYTHON="")
    assert done.returncode == 1
    assert "found: no working Python" in done.stderr


def test_the_first_python_that_is_new_enough_is_taken(project):
    path = path_with(project, python3="3.9.2", python3_14="", python3_12="3.12.1")
    done = run(project, PATH=path, LATENT_JAX_PYTHON="")
    # The fake is chosen, and cannot make an environment.
    assert "making .venv with python3.12 (Python 3.12.1)" in done.stdout


def test_set_up_runs_once_and_again_only_when_something_changed(project):
    first = run(project)
    assert first.returncode == 0, first.stderr
    assert "making .venv" in first.stdout and "installing requirements.txt" in first.stdout
    assert first.stdout.strip().endswith(str(project / ".venv"))

    second = run(project, PIP_INDEX_URL="http://localhost:9/unreachable")
    assert second.returncode == 0, second.stderr
    assert "up to date" in second.stdout and "installing" not in second.stdout

    # A requirement that pip cannot meet: said, and not taken for done by the next run.
    (project / "requirements.txt").write_text("./absent\n")
    for _ in range(2):
        failed = run(project)
        assert failed.returncode == 1
        assert "making .venv" not in failed.stdout and "installing" in failed.stdout
        assert "pip could not install requirements.txt" in failed.stderr
        assert "absent" in failed.stderr

    # What is installed points to where the project lay, so a move needs an installation too.
    (project / "requirements.txt").write_text("# nothing\n")
    moved = project.rename(project.with_name(project.name + "_moved"))
    after = run(moved)
    assert after.returncode == 0, after.stderr
    assert "installing" in after.stdout and after.stdout.strip().endswith(str(moved / ".venv"))


def test_pins_lie_within_the_ranges_of_the_package():

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = {
        Requirement(line).name: Requirement(line).specifier
        for line in project["dependencies"] + project["optional-dependencies"]["test"]
    }
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    assert {pin.name for pin in pins} == set(ranges)
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and specifier.version in ranges[pin.name], str(pin)
    assert [line for line in lines if line.startswith("-")] == ["-e .[test]"]


def test_the_image_gets_what_the_package_needs_and_no_tools_of_tests(tmp_path):
    text = (ROOT / "launch" / "Dockerfile").read_text()
    command = re.search(r"^RUN (.* requirements\.txt >)/tmp/pins\.txt &&", text, re.MULTILINE)[1]
    pins = tmp_path / "pins.txt"
    subprocess.run(["bash", "-c", f'{command}"$1"', "-", pins], cwd=ROOT, check=True)
    lines = [line for line in pins.read_text().splitlines() if line and line[0] != "#"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {Requirement(line).name for line in project["dependencies"]}
    assert {Requirement(line).name for line in lines} == needed
    assert "libtpu" not in needed
