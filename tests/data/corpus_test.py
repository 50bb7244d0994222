import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from latent_jax.data import CorpusError, DataConfig, files, load_corpus, open_corpus
from latent_jax.data.dataset import MAX_DOCUMENT_BYTES
from latent_jax.data.splits import split_of


def _write(path, texts):
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)))
    return (str(path),)


def _made(cache):
    """What a user finds in the cache: finished corpora, and nothing else but the index."""
    return sorted(path.name for path in Path(cache).iterdir() if path.name != "index")


def test_every_document_is_in_the_split_of_its_key(config, corpus, jsonl_file):
    expected = {"train": set(), "validation": set(), "test": set()}
    for line in jsonl_file.read_text().splitlines():
        record = json.loads(line)
        key = str(record["id"])
        expected[split_of(key, 15, 15)].add((key, record["text"].encode()))
    for split, documents in expected.items():
        assert set(corpus.documents(split)) == documents
        assert len(corpus.split(split)) == corpus.n_documents[split] == len(documents) > 5
        assert corpus.n_bytes[split] == sum(len(text) for _, text in documents)
    assert _made(config.cache_dir) == [corpus.fingerprint[:32]]


def test_splits_have_the_asked_shares_and_stay_when_shares_grow():
    splits = [split_of(str(key), 10, 20) for key in range(5000)]
    assert abs(splits.count("validation") / 5000 - 0.1) < 0.02
    assert abs(splits.count("test") / 5000 - 0.2) < 0.02
    assert {split_of(str(key), 0, 20) == "test" for key, s in enumerate(splits) if s == "test"} == {
        True
    }


def test_documents_stop_after_max_bytes(corpus):
    whole = list(corpus.documents("train"))
    some = list(corpus.documents("train", max_bytes=500))
    assert some == whole[: len(some)]
    assert sum(len(d.text) for d in some[:-1]) < 500 <= sum(len(d.text) for d in some)


def test_fingerprint_follows_content_not_paths(config, corpus, jsonl_file, tmp_path):
    import lzma

    elsewhere = tmp_path / "other_name.jsonl.xz"
    elsewhere.write_bytes(lzma.compress(jsonl_file.read_bytes()))
    moved = dataclasses.replace(config, files=(str(elsewhere),), cache_dir=str(tmp_path / "cache"))
    assert open_corpus(moved).fingerprint == corpus.fingerprint
    assert open_corpus(moved).n_bytes == corpus.n_bytes
    for change in ({"test_percent": 16}, {"max_bytes": 4000}):
        changed = open_corpus(dataclasses.replace(moved, **change))
        assert changed.fingerprint != corpus.fingerprint


def test_a_warm_cache_is_not_read_again(config, corpus, monkeypatch, jsonl_file):
    def refuse(path):
        raise AssertionError(f"{path} was read")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_chunks", refuse)
        assert open_corpus(config) == corpus
        stat = jsonl_file.stat()
        os.utime(jsonl_file, ns=(0, 0))
        with pytest.raises(AssertionError, match="was read"):
            open_corpus(config)
    # Read again because the time changed, and found to be the same corpus.
    assert open_corpus(config) == corpus
    os.utime(jsonl_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _made(config.cache_dir) == [corpus.fingerprint[:32]]


def test_text_of_any_encoding_and_repeated_keys(tmp_path):
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_bytes(bytes(range(256)) + name.encode())
    config = DataConfig(
        source="files",
        files=tuple(str(tmp_path / name / "same.txt") for name in "abcdefghij"),
        cache_dir=str(tmp_path / "cache"),
        validation_percent=0,
        test_percent=0,
    )
    corpus = open_corpus(config)
    assert list(corpus.n_documents) == ["train"]
    texts = sorted(document.text for document in corpus.documents("train"))
    assert texts == [bytes(range(256)) + name.encode() for name in "abcdefghij"]
    with pytest.raises(CorpusError, match=r"no 'validation' split.*raise data\.validation_percent"):
        corpus.split("validation")


def test_long_documents_are_stored_in_pieces_of_one_split(tmp_path):
    long = "word " * (MAX_DOCUMENT_BYTES // 2)
    paths = _write(tmp_path / "a.jsonl", [long, *"bcdefghijklmnop"])
    cache = str(tmp_path / "cache")
    corpus = open_corpus(
        DataConfig("files", paths, cache_dir=cache, validation_percent=30, test_percent=30)
    )
    home = split_of("0", 30, 30)
    pieces = [d for d in corpus.documents(home) if d.key.startswith("0#")]
    assert sorted(d.key for d in pieces) == ["0#0", "0#1", "0#2"]
    assert b"".join(d.text for d in sorted(pieces)) == long.encode()
    assert sum(corpus.n_bytes.values()) == len(long) + 15


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["", ""], "holds no text"),
        ([], "holds no text"),
        (["one", "two"], r"split is empty: none of the 2 documents .*data\.validation_percent=5"),
    ],
)
def test_a_corpus_without_text_or_without_a_split(tmp_path, texts, message):
    paths = _write(tmp_path / "a.jsonl", texts)
    with pytest.raises(CorpusError, match=message):
        open_corpus(DataConfig("files", paths, cache_dir=str(tmp_path / "cache")))
    assert _made(tmp_path / "cache") == []


def test_a_source_that_breaks_off_leaves_nothing(tmp_path):
    paths = _write(tmp_path / "a.jsonl", ["text"] * 50)
    with open(paths[0], "a") as file:
        file.write("{")
    with pytest.raises(CorpusError, match="line 51 is not JSON"):
        open_corpus(DataConfig("files", paths, cache_dir=str(tmp_path / "cache")))
    assert _made(tmp_path / "cache") == []


def _open_when_all_are_ready(config, barrier):
    barrier.wait(60)
    return open_corpus(config)


def test_many_builders_at_once(config, corpus, tmp_path):
    config = dataclasses.replace(config, cache_dir=str(tmp_path / "cache"))
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as pool,
    ):
        barrier = manager.Barrier(3)
        opened = list(pool.map(_open_when_all_are_ready, [config] * 3, [barrier] * 3))
    assert {(c.folder, c.fingerprint) for c in opened} == {
        (tmp_path / "cache" / corpus.fingerprint[:32], corpus.fingerprint)
    }
    assert _made(tmp_path / "cache") == [corpus.fingerprint[:32]]
    assert set(opened[0].documents("train")) == set(corpus.documents("train"))


def test_what_a_killed_builder_left_is_swept(config, corpus, tmp_path):
    config = dataclasses.replace(config, cache_dir=str(tmp_path))
    killer = textwrap.dedent(f"""
        import os, signal
        from latent_jax.data import files, open_corpus, DataConfig
        records = files._records
        def killed(*arguments):
            for number, record in enumerate(records(*arguments)):
                if number == 50:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield record
        files._records = killed
        open_corpus({config!r})
    """)
    assert subprocess.run([sys.executable, "-c", killer]).returncode == -9
    (left,) = _made(tmp_path)
    assert left.startswith(".building-")
    assert open_corpus(config).fingerprint == corpus.fingerprint
    assert _made(tmp_path) == [corpus.fingerprint[:32]]


def test_a_full_disk_is_one_clear_message(tmp_path):
    # A limit on the size of files stands in for a disk that is too small.
    paths = _write(tmp_path / "a.jsonl", [os.urandom(5000).hex() for _ in range(60)])
    config = DataConfig("files", paths, cache_dir=str(tmp_path / "cache"))
    script = textwrap.dedent(f"""
        import resource
        from latent_jax.data import CorpusError, DataConfig, open_corpus
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, {resource.RLIM_INFINITY}))
        try:
            open_corpus({config!r})
        except CorpusError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "The file size limit is reached while a corpus was built in" in done.stdout, done.stderr
    assert "set data.cache_dir to a larger disk" in done.stdout
    assert _made(tmp_path / "cache") == []
    assert sum(open_corpus(config).n_documents.values()) == 60


def test_a_cache_that_is_no_folder(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match=r"is no folder .*set data\.cache_dir"):
        open_corpus(dataclasses.replace(config, cache_dir=str(tmp_path / "file")))


@pytest.mark.parametrize("damage", ["no records", "other records", "no corpus.json"])
def test_damaged_corpora_are_named(corpus, tmp_path, damage):
    folder = tmp_path / "copy"
    shutil.copytree(corpus.folder, folder)
    name = "corpus/1.0.0/corpus-{}.array_record-00000-of-00001".format
    if damage == "no records":
        (folder / name("train")).unlink()
    elif damage == "other records":
        shutil.copy(folder / name("test"), folder / name("train"))
    else:
        (folder / "corpus.json").unlink()
    with pytest.raises(CorpusError, match="delete the folder to have it built again"):
        list(load_corpus(folder).documents("train"))


def test_other_programs_read_it_with_tfds(corpus):
    builder = tfds.builder("corpus", data_dir=corpus.folder)
    texts = {example["text"] for example in builder.as_data_source(split="train[:50%]")}
    assert texts < {document.text for document in corpus.documents("train")}


def test_tensorflow_is_never_imported(config, corpus):
    script = textwrap.dedent(f"""
        import dataclasses, sys, tempfile
        from latent_jax.data import DataConfig, evaluation_batches, open_corpus, train_batches
        from latent_jax.tokenizers import Bytes
        config = dataclasses.replace({config!r}, cache_dir=tempfile.mkdtemp())
        corpus = open_corpus(config)
        sizes = dict(batch_size=2, row_length=16)
        next(train_batches(corpus, Bytes(), seed=0, **sizes))
        list(evaluation_batches(corpus, Bytes(), **sizes))
        again = DataConfig("tfds", tfds_name="corpus", tfds_data_dir=str(corpus.folder),
                           cache_dir=config.cache_dir, validation_percent=15, test_percent=15)
        print(sum(open_corpus(again).n_documents.values()))
        assert "tensorflow" not in sys.modules
        assert "tensorflow_datasets" in sys.modules
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == corpus.n_documents["train"]
