"""Kernels are kept by the content of all files that have some."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import latent_jax
from latent_jax.kept_programs import KERNEL_ROOMS, UNUSED_SECONDS, keep_kernels, sources_digest

PACKAGE = Path(latent_jax.__file__).parent


@pytest.fixture
def package(tmp_path):
    for room in KERNEL_ROOMS:
        shutil.copytree(PACKAGE / room, tmp_path / "package" / room)
    return tmp_path / "package"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "numba")
    return tmp_path / "kept"


@pytest.mark.parametrize("file", ["exact/bounds.py", "tokenizers/arithmetic.py"])
def test_a_change_in_any_file_with_kernels_chooses_another_folder(file, package, place):
    before = keep_kernels(package)
    assert before.parent == place and keep_kernels(package) == before
    source = package / file
    source.write_text(source.read_text() + "A_CONSTANT = 1\n")
    after = keep_kernels(package)
    assert after != before and after.parent == place
    assert os.environ["NUMBA_CACHE_DIR"] == str(after)


def test_what_has_no_kernels_does_not_matter(package, place):
    before = sources_digest(package)
    (package / "exact" / "notes.txt").write_text("none")
    (package / "models").mkdir()
    (package / "models" / "gpt.py").write_text("x = 1")
    assert sources_digest(package) == before


def test_kernels_of_sources_that_are_long_gone_are_deleted(package, place):
    old, young = (place / f"kernels-{digit * 16}" for digit in "01")
    for folder in (old, young):
        folder.mkdir(parents=True)
    long_ago = time.time() - UNUSED_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    kept = keep_kernels(package)
    assert not old.exists() and young.exists() and kept.exists()


def test_without_a_place_numba_chooses(package, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert keep_kernels(package) is None and "NUMBA_CACHE_DIR" not in os.environ


def test_kernels_of_this_package_are_kept_there(tmp_path):
    code = (
        "from latent_jax.exact import matmul\n"
        "from latent_jax.tokenizers import arithmetic\n"
        "for module in (matmul, arithmetic):\n"
        "    kept = [f._cache._cache_path for f in vars(module).values() if hasattr(f, '_cache')]\n"
        "    print(kept[0])\n"
    )
    words = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=words, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    folder = tmp_path / f"kernels-{sources_digest(PACKAGE)}"
    assert [Path(line).is_relative_to(folder) for line in said.stdout.split()] == [True, True]
