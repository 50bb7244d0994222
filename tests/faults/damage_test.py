"""Random damage to a small run: what it is read to is what it was to the bit, or one error that
names a file.

A few seconds' worth by default; 100,000 of a run and 100,000 of a corpus take hours; N_DAMAGES=1000
tries fewer:

    python -m pytest -n 0 -m slow tests/faults/damage_test.py

configs/results/faults.md says how many have been tried.
"""

import os
import shutil

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latent_jax import tokenizers
from latent_jax.data import load_corpus, open_corpus
from latent_jax.data.sources import DataConfig
from latent_jax.experiments.evaluate import load_run, read_config
from latent_jax.reports.records import read_run
from latent_jax.training import Checkpoints

FEW, MANY = 30, int(os.environ.get("N_DAMAGES", "100000"))

SHAPES = (b"", b"[]", b"null", b"5", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"a": NaN}', b"\0" * 99)

KINDS = ("truncate", "flip", "empty", "delete", "swap", "shape", "duplicate", "delete folder")


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damage(data, folder):
    """Damage a folder in one of many ways; return the file."""
    files = files_of(folder)
    path = data.draw(st.sampled_from(files), "file")
    kind = data.draw(st.sampled_from(KINDS), "kind")
    content = path.read_bytes()
    if kind == "truncate":
        os.truncate(path, data.draw(st.integers(0, max(len(content) - 1, 0))))
    elif kind == "flip" and content:
        at = data.draw(st.integers(0, len(content) - 1))
        flipped = bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))])
        path.write_bytes(content[:at] + flipped + content[at + 1 :])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "delete":
        path.unlink()
    elif kind == "swap":
        other = data.draw(st.sampled_from(files), "other")
        theirs = other.read_bytes()
        other.write_bytes(content)
        path.write_bytes(theirs)
    elif kind == "shape":
        path.write_bytes(data.draw(st.sampled_from(SHAPES)))
    elif kind == "duplicate":
        path.write_bytes(content * 2)
    elif kind == "delete folder" and path.parent != folder:
        shutil.rmtree(path.parent)
    return path


def read_run_folder(folder, step, abstract):
    """Return what `load_run` reads, without making the task anew."""
    config, tokenizer = read_config(folder), tokenizers.load(folder / "tokenizer")
    with Checkpoints(folder / "checkpoints", is_reader=True) as checkpoints:
        variables, metadata = checkpoints.restore_variables(abstract, step)
    return jax.device_get(variables), metadata, config.to_dict(), tokenizer.fingerprint()


def same(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


@pytest.fixture(scope="module")
def known(finished):
    """What an undamaged run says, by step, and its records."""
    for name in ("tensorboard", "samples"):
        shutil.rmtree(finished / name, ignore_errors=True)  # nobody reads them back
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one),
        load_run(finished).variables,
    )
    by_step = {step: read_run_folder(finished, step, abstract) for step in (2, 4, 6)}
    return by_step, read_run(finished), abstract


def check_run(data, finished, known, scratch):
    by_step, undamaged, abstract = known
    folder = scratch / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished, folder)
    damage(data, folder)
    asked = data.draw(st.sampled_from([-1, "best", 6, 4]), "asked")
    try:
        variables, metadata, *rest = read_run_folder(folder, asked, abstract)
    except ValueError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        # An earlier one serves where the last is damaged, and is that one to the bit.
        expected, *others = by_step[metadata["step"]]
        assert [metadata, *rest] == others and same(variables, expected)
        assert asked in (-1, "best", metadata["step"])
    try:
        found = read_run(folder)
    except ValueError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        assert found.config == undamaged.config
        # Cut at the end of a line it reads as a run that was stopped there.
        lines = [*found.records]
        for split in ("train", "validation"):
            mine = [record for record in lines if record["split"] == split]
            assert mine == undamaged.split(split)[: len(mine)]


@settings(max_examples=FEW, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_a_damaged_run_reads_the_same_or_names_a_file(data, finished, known, tmp_path_factory):
    check_run(data, finished, known, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@settings(max_examples=MANY, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_a_run_damaged_in_many_ways(data, finished, known, tmp_path_factory):
    check_run(data, finished, known, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def corpus(text, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    words = dict(files=(f"{text}/text.jsonl",), max_bytes=20_000, validation_percent=20)
    config = DataConfig("files", **words, test_percent=0, cache_dir=str(cache))
    folder = open_corpus(config).folder
    return folder, read_corpus(folder)


def read_corpus(folder):
    found = load_corpus(folder)
    return {split: [*found.documents(split)] for split in found.n_documents}


def check_corpus(data, corpus, scratch):
    corpus, expected = corpus
    folder = scratch / "corpus"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(corpus, folder)
    damage(data, folder)
    try:
        assert read_corpus(folder) == expected
    except ValueError as error:
        assert str(folder) in str(error) and "\n" not in str(error)


@settings(max_examples=FEW, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_a_damaged_corpus_reads_the_same_or_names_it(data, corpus, tmp_path_factory):
    check_corpus(data, corpus, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@settings(max_examples=MANY, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_a_corpus_damaged_in_many_ways(data, corpus, tmp_path_factory):
    check_corpus(data, corpus, tmp_path_factory.getbasetemp())
