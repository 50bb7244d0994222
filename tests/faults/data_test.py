"""Corpora and rows: damage is named by its file, and what others wrote is read as data."""

import dataclasses
import json
import os
import shutil

import pytest

from latent_jax.codec.encode import EncodeConfig, encode_corpus
from latent_jax.data import CorpusError, DataConfig, open_corpus
from latent_jax.data.corpus import load_corpus
from latent_jax.data.rows import open_rows
from latent_jax.data.tfds_source import Tfds

ENCODE = EncodeConfig(tokenizer="GZip[v=256]", row_length=64)


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def swap(folder, one, other):
    (folder / one).rename(folder / "between")
    (folder / other).rename(folder / one)
    (folder / "between").rename(folder / other)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 16
    path.write_bytes(content)


@pytest.fixture(scope="module")
def config(text):
    words = dict(source="files", files=(f"{text}/text.jsonl",), validation_percent=10)
    return DataConfig(**words, test_percent=0, cache_dir=f"{text}/corpora")


@pytest.fixture(scope="module")
def encoded(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoded") / "rows"
    assert encode_corpus(ENCODE, config, folder)
    return folder


@pytest.fixture
def rows(encoded, tmp_path):
    return shutil.copytree(encoded, tmp_path / "rows")


def read(folder):
    found = open_rows(folder)
    return [row["ids"].tolist() for split in found.n_rows for row in found.split(split)]


TRAIN, NEXT = "train-00000.array_record", "train-00001.array_record"

ROWS = {
    "rows {}": (lambda f: (f / "rows.json").write_text("{}"), "rows.json has no 'n_rows'"),
    "rows []": (lambda f: (f / "rows.json").write_text("[]"), "rows.json holds an empty list"),
    "fewer rows": (
        lambda f: rewrite(f / "rows.json", n_rows={"train": 1, "validation": 1}),
        "rows.json was damaged or changed",
    ),
    "no seal": (
        lambda f: replace(f / "rows.json", "sealed", "sealad"),
        "rows.json was damaged: a part of its seal is missing",
    ),
    "another length": (lambda f: rewrite(f / "plan.json", row_length=32), "plan.json was damaged"),
    "plan null": (lambda f: (f / "plan.json").write_text("null"), "plan.json holds null"),
    "plan of brackets": (
        lambda f: (f / "plan.json").write_text("[" * 100_000),
        "plan.json is nested too deeply",
    ),
    "a file is gone": (lambda f: (f / TRAIN).unlink(), f"{TRAIN} cannot be read"),
    "a file is cut": (lambda f: os.truncate(f / TRAIN, 3000), TRAIN),
    "a file is empty": (lambda f: os.truncate(f / TRAIN, 0), TRAIN),
    "a pipe": (
        lambda f: ((f / TRAIN).unlink(), os.mkfifo(f / TRAIN)),
        f"{TRAIN} cannot be read .it is no file, but a folder, a pipe",
    ),
    "an endless file": (
        lambda f: ((f / NEXT).unlink(), (f / NEXT).symlink_to("/dev/zero")),
        f"{NEXT} cannot be read .it is no file",
    ),
    "files swapped": (lambda f: swap(f, TRAIN, NEXT), r"train-0000\d.array_record is not the file"),
    "splits swapped": (
        lambda f: swap(f, TRAIN, "validation-00000.array_record"),
        "array_record is not the file that was written",
    ),
    "a bit of a row": (lambda f: flip(f / TRAIN, 0.3), TRAIN),
    "a bit of the last row": (lambda f: flip(f / NEXT, 0.1), NEXT),
}


@pytest.mark.parametrize("name", ROWS)
def test_damaged_rows_are_named_and_none_is_missing_in_silence(rows, name):
    assert len(read(rows)) > 100
    damage, message = ROWS[name]
    damage(rows)
    with pytest.raises(CorpusError, match=message) as caught:
        read(rows)
    assert "\n" not in str(caught.value)


def test_a_damaged_shard_record_is_not_summed_up(rows, config):
    (rows / "train-00000.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"train-00000.json has no 'n_rows'.*remove it"):
        encode_corpus(ENCODE, config, rows)
    (rows / "train-00000.json").unlink()
    before = read(rows)
    assert encode_corpus(ENCODE, config, rows) and read(rows) == before


def test_rows_of_an_older_version_open_with_a_line(rows, caplog):
    expected = read(rows)
    for path in [rows / "rows.json", rows / "plan.json"]:
        said = json.loads(path.read_text())
        for key in ("sealed", "digest", "files"):
            said.pop(key, None)
        path.write_text(json.dumps(said))
    assert read(rows) == expected and "rows.json carries no digest" in caplog.text


@pytest.fixture
def cache(config, tmp_path):
    """A copy of the cache with one corpus, and the configuration that opens it."""
    open_corpus(config)
    folder = shutil.copytree(config.cache_dir, tmp_path / "cache")
    return folder, dataclasses.replace(config, cache_dir=str(folder))


@pytest.mark.parametrize(
    "written",
    [
        '{"folder": "../../elsewhere"}',
        '{"folder": "/etc"}',
        '{"folder": 5}',
        "[]",
        "null",
        "",
        '{"a": ' * 5000,
    ],
)
def test_an_index_of_others_leads_nowhere(cache, tmp_path, written, caplog):
    folder, config = cache
    expected = open_corpus(config)
    elsewhere = shutil.copytree(expected.folder, tmp_path / "elsewhere")
    rewrite(elsewhere / "corpus.json", n_documents={"train": 1})
    (entry,) = (folder / "index").iterdir()
    entry.write_text(written)
    assert open_corpus(config) == expected
    assert f"{entry}" in caplog.text and "the text is read again" in caplog.text


def test_an_index_of_another_source_is_not_believed(cache, caplog):
    folder, config = cache
    other = open_corpus(dataclasses.replace(config, max_bytes=20_000))
    one, two = (folder / "index").iterdir()
    swap(folder / "index", one.name, two.name)
    assert open_corpus(config) != other and "is that of another source" in caplog.text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "corpus.json").write_text("[]"), "corpus.json holds an empty list"),
        (lambda f: rewrite(f / "corpus.json", n_documents={"train": 3}), "was damaged or changed"),
        (lambda f: os.truncate(f / "corpus.json", 40), "corpus.json cannot be read as JSON"),
        (
            lambda f: swap(
                f / "corpus/1.0.0",
                *(f"corpus-{s}.array_record-00000-of-00001" for s in ("train", "validation")),
            ),
            "is not the file that was written",
        ),
    ],
)
def test_a_damaged_corpus_is_named(cache, damage, message):
    _, config = cache
    damage(open_corpus(config).folder)
    with pytest.raises(CorpusError, match=rf"{message}.*delete the folder to have it built again"):
        open_corpus(config)


@pytest.mark.parametrize(
    "name",
    [
        "trap.Text",
        "os.system",
        "tensorflow_datasets.core.features.feature.importlib",
        "tensorflow_datasets.testing.test_utils.MockFs",
    ],
)
def test_features_of_others_import_nothing(cache, tmp_path, monkeypatch, name):
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nText = int\n")
    monkeypatch.syspath_prepend(tmp_path)
    folder = open_corpus(cache[1]).folder
    path = folder / "corpus/1.0.0/features.json"
    features = json.loads(path.read_text())
    features["featuresDict"]["features"]["text"]["pythonClassName"] = name
    path.write_text(json.dumps(features))
    with pytest.raises(CorpusError, match=rf"features.json names '{name}', which is no feature"):
        Tfds("corpus", data_dir=str(folder))
    assert next(load_corpus(folder).documents("train")).text, "a corpus has features of our own"
    assert not (tmp_path / "sprung").exists()
