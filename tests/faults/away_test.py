"""A disk that fails for a moment: nothing is taken for damaged, replaced, deleted or made again."""

import errno
import hashlib
import os
from pathlib import Path

import grain
import pytest

from latent_jax import json_files, tokenizers
from latent_jax.data import corpus as corpora
from latent_jax.data import open_corpus
from latent_jax.data.documents import CorpusError
from latent_jax.data.rows import open_rows
from latent_jax.data.sources import DataConfig
from latent_jax.experiments.evaluate import load_run
from latent_jax.json_files import JsonError, read_json
from latent_jax.system_errors import AWAY, AwayError, describe_os_error, is_away
from latent_jax.tokenizers import storage
from latent_jax.training import Checkpoints, checkpoint_files
from latent_jax.training.checkpoint_files import DamagedError

KINDS = [errno.EIO, errno.ESTALE, errno.EINTR, errno.EAGAIN, errno.ENOTCONN, errno.EACCES]


def content(folder):
    """Return a digest of all files of a folder, by name."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def latest(workdir):
    """Return the step of the checkpoint that serves."""
    return load_run(workdir, "latest").metadata["step"]


@pytest.fixture
def fails(monkeypatch):
    """Let the first opening of a file whose path holds some words fail, and the later ones not."""

    def begin(words, number, module=json_files):
        left, opened = [words], module.open_to_read

        def failing(path):
            if left and words in str(path):
                left.clear()
                raise OSError(number, os.strerror(number))  # as from a descriptor, without a name
            return opened(path)

        monkeypatch.setattr(module, "open_to_read", failing)
        return left

    return begin


@pytest.mark.parametrize("number", KINDS)
def test_what_the_system_fails_to_read_is_no_damaged_json(tmp_path, fails, number):
    path = tmp_path / "a.json"
    path.write_text("{}")
    fails("a.json", number)
    with pytest.raises(AwayError, match=os.strerror(number)) as error:
        read_json(path)
    assert describe_os_error(error.value).startswith(f"{path}: {os.strerror(number)}")
    assert read_json(path) == {}, "the second time it can"


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda p: p.symlink_to(p.name)])
def test_what_is_not_there_or_no_file_is_found_wrong(tmp_path, make):
    make(tmp_path / "a.json")
    with pytest.raises(JsonError, match="cannot be read"):
        read_json(tmp_path / "a.json")


def test_words_of_libraries_are_understood():
    for number in AWAY:
        assert is_away(RuntimeError(f"Error reading local file: {os.strerror(number)}; a")), number
    for words in ("checksum mismatch", os.strerror(errno.ENOENT), "it is no file, but a pipe"):
        assert not is_away(RuntimeError(words)) and not is_away(OSError(words))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("file", ["6/run/metadata.json", "6/run/data_0.json", "6/metrics/metrics"])
def test_no_older_checkpoint_serves_because_the_disk_failed(workdir, fails, number, file):
    before = content(workdir)
    left = fails(f"checkpoints/{file}", number)
    with pytest.raises(AwayError, match=os.strerror(number)):
        Checkpoints(workdir / "checkpoints")
    assert not left and content(workdir) == before
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        assert checkpoints.steps == [2, 4, 6]


def test_arrays_that_the_system_fails_to_read_are_not_damaged(workdir, monkeypatch):
    """Orbax passes on what TensorStore says, under a class of its own."""
    before, load = content(workdir), checkpoint_files.ocp.load_checkpointables
    said = ["DATA_LOSS: Error reading d/0: [OS error 5: EIO Input/output error]"]

    def failing(path, abstract):
        if said:
            raise ValueError(said.pop())
        return load(path, abstract)

    monkeypatch.setattr(checkpoint_files.ocp, "load_checkpointables", failing)
    with pytest.raises(AwayError, match="Input/output error"):
        latest(workdir)
    assert latest(workdir) == 6 and content(workdir) == before
    said.append("DATA_LOSS: the checksum of d/0 differs")
    assert latest(workdir) == 4, "which was read, and found wrong"


@pytest.fixture
def corpus(text, tmp_path):
    words = dict(files=(f"{text}/text.jsonl",), max_bytes=20_000, validation_percent=20)
    config = DataConfig("files", **words, test_percent=0, cache_dir=str(tmp_path / "cache"))
    return config, open_corpus(config).folder


@pytest.mark.parametrize("file", ["index/", "corpus.json"])
def test_no_corpus_is_built_again_because_the_disk_failed(corpus, fails, monkeypatch, file):
    config, folder = corpus
    before = content(folder.parent)
    monkeypatch.setattr(corpora, "_build", lambda *_: pytest.fail("built it again"))
    fails(file, errno.EIO)
    with pytest.raises(AwayError, match="Input/output error"):
        open_corpus(config)
    assert content(folder.parent) == before
    assert open_corpus(config).folder == folder


def test_records_that_the_system_fails_to_read_are_not_damaged(corpus, monkeypatch):
    config, folder = corpus
    opened = grain.sources.ArrayRecordDataSource

    def failing(paths):
        raise RuntimeError("read of corpus-train failed: Stale file handle")

    monkeypatch.setattr(grain.sources, "ArrayRecordDataSource", failing)
    with pytest.raises(AwayError, match="Stale file handle"):
        open_corpus(config)
    monkeypatch.setattr(grain.sources, "ArrayRecordDataSource", opened)
    found = open_corpus(config)
    assert found.folder == folder and len([*found.documents("train")]) > 10


def test_a_cache_that_cannot_be_looked_at_is_not_left_for_another(corpus, monkeypatch):
    config, _ = corpus

    def failing(path):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    monkeypatch.setattr(Path, "is_dir", failing)
    with pytest.raises(OSError, match="Stale file handle"):
        corpora.own_cache(config.cache_dir)


def test_rows_and_tokenizers_are_not_said_to_be_broken(tmp_path, fails):
    tokenizers.GZip(256).save(tmp_path / "tokenizer")
    fails("gzip.json", errno.EIO, storage)
    with pytest.raises(AwayError, match="Input/output error"):
        tokenizers.load(tmp_path / "tokenizer")
    assert tokenizers.load(tmp_path / "tokenizer").name == "GZip[v=256]"
    fails("plan.json", errno.EIO)
    with pytest.raises(AwayError, match="Input/output error"):
        open_rows(tmp_path)
    with pytest.raises(CorpusError, match="holds no encoded rows"):
        open_rows(tmp_path)


def test_a_damaged_checkpoint_is_one_still(workdir):
    (workdir / "checkpoints" / "6" / checkpoint_files.METADATA).write_text("{")
    with pytest.raises(DamagedError, match=r"metadata\.json cannot be read as JSON"):
        checkpoint_files.read_metadata(workdir / "checkpoints" / "6")
    assert latest(workdir) == 4
