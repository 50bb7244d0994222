"""Rows encoded beforehand: exact, resumable, shared among processes, and what training reads."""

import json

import jax
import numpy as np
import pytest

from latent_jax import tokenizers
from latent_jax.codec import encode, measure
from latent_jax.codec.encode import EncodeConfig, encode_corpus
from latent_jax.data import CorpusError, DataConfig, open_corpus
from latent_jax.data.rows import evaluation_row_batches, open_rows, train_row_batches

N_DOCUMENTS = 120


@pytest.fixture
def data(tmp_path):
    lines = [
        json.dumps({"text": f"Document {i} counts: " + ", ".join(map(str, range(i * 2)))})
        for i in range(N_DOCUMENTS)
    ]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    return DataConfig(
        source="files", files=(str(tmp_path / "text.jsonl"),), cache_dir=str(tmp_path / "cache")
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(encode, "SHARD_DOCUMENTS", 25)
    monkeypatch.setattr(measure, "JOINED_DOCUMENTS", 10)


CONFIG = EncodeConfig(tokenizer="GZip[v=256]", row_length=64)


def read(rows, split):
    return [rows.split(split)[i] for i in range(len(rows.split(split)))]


def test_rows_hold_every_document_and_every_byte(data, tmp_path):
    assert encode_corpus(CONFIG, data, tmp_path / "rows")
    rows, corpus = open_rows(tmp_path / "rows"), open_corpus(data)
    tokenizer = tokenizers.load(tmp_path / "rows" / "tokenizer")
    for split in ("train", "validation", "test"):
        assert rows.n_bytes[split] == corpus.n_bytes[split]
        found = read(rows, split)
        assert sum(int(row["n_bytes"]) for row in found) == corpus.n_bytes[split]
        ids = np.concatenate([row["ids"][row["weights"] > 0] for row in found])
        assert len(ids) == rows.n_tokens[split]
        parts = np.split(ids, np.flatnonzero(ids == tokenizer.separator_id) + 1)
        texts = [tokenizer.decode(part) for part in parts if len(part)]
        assert texts == [document.text for document in corpus.documents(split)]


def test_a_row_is_the_beginning_of_an_example(data, tmp_path):
    config = EncodeConfig(tokenizer="GZip[v=256]", row_length=64, example_bytes=1000)
    assert encode_corpus(config, data, tmp_path / "rows")
    rows, corpus = open_rows(tmp_path / "rows"), open_corpus(data)
    tokenizer = tokenizers.load(tmp_path / "rows" / "tokenizer")
    texts = [document.text for document in corpus.documents("train")]
    joined = [
        b"".join(texts[at : min(at + 10, shard + 25)])
        for shard in range(0, len(texts), 25)
        for at in range(shard, min(shard + 25, len(texts)), 10)
    ]
    examples = [text[at : at + 1000] for text in joined for at in range(0, len(text), 1000)]
    found = read(rows, "train")
    assert len(found) == len(examples)
    for row, example in zip(found, examples, strict=True):
        ids = row["ids"][row["weights"] > 0]
        assert len(ids) <= 64
        beginning = tokenizer.decode(ids)
        assert example.startswith(beginning) and len(beginning) == row["n_bytes"] > 0


def test_what_is_there_is_kept_and_what_lacks_is_made(data, tmp_path):
    out = tmp_path / "rows"
    encode_corpus(CONFIG, data, out)
    whole = {path.name: path.read_bytes() for path in out.glob("*.array_record")}
    (out / "rows.json").unlink()
    lost = out / "train-00001.array_record"
    lost.with_suffix(".json").unlink()
    lost.write_bytes(b"half a file")
    kept = out / "train-00000.array_record"
    before = kept.stat().st_mtime_ns
    with pytest.raises(CorpusError, match="the same command goes on"):
        open_rows(out)
    assert encode_corpus(CONFIG, data, out)
    assert kept.stat().st_mtime_ns == before
    assert {path.name: path.read_bytes() for path in out.glob("*.array_record")} == whole
    assert not list(out.glob(".*"))


def test_two_processes_make_what_one_makes(data, tmp_path):
    encode_corpus(CONFIG, data, tmp_path / "one")
    done = [
        encode_corpus(
            EncodeConfig(tokenizer="GZip[v=256]", row_length=64, process=i, n_processes=2),
            data,
            tmp_path / "two",
        )
        for i in (1, 0)
    ]
    assert done == [False, True]
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.array_record")}
        for name in ("one", "two")
    )
    assert one == two


def test_a_folder_begun_with_something_else_is_refused(data, tmp_path):
    encode_corpus(CONFIG, data, tmp_path / "rows")
    other = EncodeConfig(tokenizer="GZip[v=256]", row_length=32)
    with pytest.raises(ValueError, match="row_length: 64 then, 32 now"):
        encode_corpus(other, data, tmp_path / "rows")
    with pytest.raises(ValueError, match="process must be from 0 to n_processes - 1 = 1; got 2"):
        EncodeConfig(tokenizer="Bytes", process=2, n_processes=2)


def test_training_reads_each_row_once_an_epoch_and_resumes_exactly(data, tmp_path):
    encode_corpus(CONFIG, data, tmp_path / "rows")
    rows = open_rows(tmp_path / "rows")
    n_rows = rows.n_rows["train"]
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    plain = train_row_batches(rows, batch_size=4, seed=1)
    split = train_row_batches(rows, batch_size=4, seed=1, sharding=sharding)
    seen = []
    with plain, split:
        for i in range(n_rows // 4):
            batch, placed = next(plain), next(split)
            for name, array in batch.items():
                np.testing.assert_array_equal(placed[name], array)
            seen += [row.tobytes() for row in batch["ids"]]
            if i == 2:
                state = json.loads(json.dumps(plain.get_state()))
                after = next(plain), next(split)
                seen += [row.tobytes() for row in after[0]["ids"]]
                break
        assert len(set(seen)) == len(seen)
    with train_row_batches(rows, batch_size=4, seed=1) as again:
        again.set_state(state)
        np.testing.assert_array_equal(next(again)["ids"], after[0]["ids"])
    with train_row_batches(rows, batch_size=4, seed=2) as other:
        with pytest.raises(ValueError, match="seed: 1 then, 2 now"):
            other.set_state(state)
        assert next(other)["ids"].tobytes() != seen[0]
    with pytest.raises(CorpusError, match="fewer than a batch of 100000"):
        train_row_batches(rows, batch_size=100000, seed=0)


def test_evaluation_reads_every_row_once_and_fills_up_with_nothing(data, tmp_path):
    encode_corpus(CONFIG, data, tmp_path / "rows")
    rows = open_rows(tmp_path / "rows")
    batches = list(evaluation_row_batches(rows, batch_size=7))
    assert sum(int(batch["n_bytes"].sum()) for batch in batches) == rows.n_bytes["validation"]
    assert sum(int(batch["weights"].sum()) for batch in batches) == rows.n_tokens["validation"]
    assert {batch["ids"].shape for batch in batches} == {(7, 64)}
    first = next(evaluation_row_batches(rows, batch_size=1, max_bytes=1))
    assert len(list(evaluation_row_batches(rows, batch_size=1, max_bytes=1))) == 1
    np.testing.assert_array_equal(first["ids"][0], batches[0]["ids"][0])


def test_splits_are_cut_to_the_bytes_that_are_asked_for(data, tmp_path):
    config = EncodeConfig(
        tokenizer="GZip[v=256]",
        row_length=64,
        cut_bytes=100,
        split_bytes={"train": 3000, "validation": 250},
    )
    assert encode_corpus(config, data, tmp_path / "rows")
    rows, corpus = open_rows(tmp_path / "rows"), open_corpus(data)
    tokenizer = tokenizers.load(tmp_path / "rows" / "tokenizer")
    assert rows.n_bytes == {"train": 3000, "validation": 250}
    whole = b"".join(document.text for document in corpus.documents("validation"))
    ids = np.concatenate([row["ids"][row["weights"] > 0] for row in read(rows, "validation")])
    parts = np.split(ids, np.flatnonzero(ids == tokenizer.separator_id) + 1)
    texts = [tokenizer.decode(part) for part in parts if len(part)]
    assert b"".join(texts) == whole[:250] and max(map(len, texts)) == 100
    with pytest.raises(ValueError, match="leave cut_bytes 0"):
        EncodeConfig(tokenizer="Bytes", cut_bytes=5, example_bytes=5)


def test_tokens_of_two_widths_come_from_one_pass_of_m1(data, tmp_path, monkeypatch):
    configs = [
        EncodeConfig(
            tokenizer=f"EqualInfoAC[b=32,v={v}]",
            row_length=64,
            split_bytes={"train": 300},
            lanes=8,
        )
        for v in ("256", "65k")
    ]
    for config, name in zip(configs, "ab", strict=True):
        encode_corpus(config, data, tmp_path / name)
    passes = []
    encode_group = tokenizers.EqualInfoAC._encode_group
    monkeypatch.setattr(
        tokenizers.EqualInfoAC,
        "_encode_group",
        lambda *args: passes.append(1) or encode_group(*args),
    )
    assert encode.encode_corpora(configs, data, [tmp_path / "c", tmp_path / "d"])
    assert len(passes) == 1
    for alone, together in (("a", "c"), ("b", "d")):
        one, two = (
            {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.array_record")}
            for name in (alone, together)
        )
        assert one == two
    ratios = [
        open_rows(tmp_path / name).n_bytes["train"] / open_rows(tmp_path / name).n_tokens["train"]
        for name in "cd"
    ]
    assert 1.7 < ratios[1] / ratios[0] < 2.0
    other = EncodeConfig(tokenizer="EqualInfoAC[b=64,v=256]", split_bytes={"train": 300}, lanes=8)
    with pytest.raises(ValueError, match="do not make the same bits"):
        encode.encode_corpora([configs[0], other], data, [tmp_path / "e", tmp_path / "f"])


def test_a_folder_goes_on_with_the_lanes_that_it_was_begun_with(data, tmp_path):
    words = dict(tokenizer="EqualInfoAC[b=32,v=256]", row_length=16, split_bytes={"test": 200})
    encode_corpus(EncodeConfig(**words, lanes=3), data, tmp_path / "rows")
    assert tokenizers.load(tmp_path / "rows" / "tokenizer").lanes == 3
    assert encode_corpus(EncodeConfig(**words), data, tmp_path / "rows")
    with pytest.raises(ValueError, match="was begun with another plan"):
        encode_corpus(EncodeConfig(**words, lanes=2), data, tmp_path / "rows")
