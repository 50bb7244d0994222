"""The README's code: three methods, each in one file, trained from a copy of the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package_links import link_package

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Before each block of code stands a sentence, whose last path is its file's.
BLOCKS = re.findall(r"\n\n([^\n]*(?:\n[^\n]+)*)\n\n```python\n(.*?)```", README, re.DOTALL)
CODE = {re.findall(r"`(latent_jax/[\w/]+\.py)`", said)[-1]: code for said, code in BLOCKS}
METHODS = ("ByteGroups[n=2]", "Latent[mean_pool,c=2,k=16]", "Bigram")

PROGRAM = """
import pydoc_data.topics, sys
from pathlib import Path

import latent_jax
from configs import language_model
from latent_jax.experiments.evaluate import evaluate
from latent_jax.experiments.run import run
from latent_jax.methods.names import parse

folder = Path(sys.argv[1])
assert Path(latent_jax.__file__).parents[1] == folder, latent_jax.__file__
(folder / "text.txt").write_text("".join(pydoc_data.topics.topics.values()))
for method in sys.argv[2:]:
    config = language_model.get_config(f"method={method},size=nano")
    config.update(row_length=32, batch_size=8, evaluation_bytes=20000)
    config.budget.update(bytes=0.0, steps=40.0)
    for section in (config.model, config.autoencoder):
        section.update(d_model=16, n_heads=2, n_layers=1)
    config.optimizer.update(warmup_steps=1, learning_rate=1e-2)
    config.training.progress = False
    config.data.update(source="files", files=(f"{folder}/text.txt",), cache_dir=f"{folder}/cache")
    record = run(config, folder / "runs" / method.split("[")[0])
    again = evaluate(folder / "runs" / method.split("[")[0], max_bytes=20000)
    assert again["bits_per_byte"] == record["bits_per_byte"]
    uniform = record.get("uniform_bits_per_byte", 8.0)  # as a GPT over these ids has it
    uniform = 8.0 if method.startswith("Latent") else uniform  # of bytes, not of codes
    print(parse(method), record["bits_per_byte"], uniform)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The package as links, with the README's files in their places."""
    tree = tmp_path_factory.mktemp("lab")
    link_package(tree, "configs")
    for name, code in CODE.items():
        assert not (tree / name).exists()
        (tree / name).write_text(code)
    return tree


def test_the_readme_has_a_file_for_each_kind_of_method():
    assert sorted(CODE) == [
        "latent_jax/chunking/fixed/mean_pool.py",
        "latent_jax/methods/bigram.py",
        "latent_jax/methods/byte_groups.py",
    ]


def test_each_file_is_all_that_a_method_needs(tree):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tree), *METHODS],
        env=os.environ | {"PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"},
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.rsplit(maxsplit=2) for line in done.stdout.splitlines() if line[:1] in "BL"]
    found = {name: (float(bits), float(uniform)) for name, bits, uniform in lines}
    assert tuple(found) == METHODS
    for name, (bits, uniform) in found.items():
        assert bits < uniform, f"{name} learned nothing"


def test_they_keep_the_contracts_of_their_kind(tree):
    tests = [
        ROOT / "tests" / "chunking" / "fixed_test.py",
        ROOT / "tests" / "methods" / "registry_test.py",
        ROOT / "tests" / "methods" / "codes_test.py",
        ROOT / "tests" / "experiments" / "every_family_test.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
        + ["--rootdir", str(ROOT), "--import-mode=importlib", *map(str, tests)]
        + ["-k", "mean_pool or ByteGroups or Bigram"],
        env=os.environ | {"PYTHONPATH": f"{tree}:{ROOT}"},
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    n_passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert n_passed >= 16, done.stdout
