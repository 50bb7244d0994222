import collections
import dataclasses
import hashlib
import itertools
import json
import socket
import subprocess
import sys
import textwrap

import chex
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from latent_jax.contracts import Encoded, FieldSpec
from latent_jax.data import CorpusError, DataConfig, evaluation_batches, open_corpus, train_batches
from latent_jax.data.packing import RowLayout
from latent_jax.tokenizers import BPE, Bytes

SIZES = {"batch_size": 4, "row_length": 24}


def _take(batches, n):
    return list(itertools.islice(batches, n))


def _train(corpus, tokenizer=None, **words):
    return train_batches(corpus, tokenizer or Bytes(), **{**SIZES, "seed": 3, **words})


@pytest.fixture(scope="module")
def bpe(corpus):
    return BPE.train(_texts(corpus), 280)


def _texts(corpus):
    return (document.text for document in corpus.documents("train"))


def _check(batch, batch_size=4, row_length=24):
    chex.assert_shape(batch["ids"], (batch_size, row_length))
    chex.assert_shape(batch["weights"], (batch_size, row_length))
    chex.assert_shape(batch["n_bytes"], (batch_size,))
    assert [batch[name].dtype for name in ("ids", "weights", "n_bytes")] == [
        np.int32,
        np.float32,
        np.int32,
    ]


def test_training_rows_are_full_and_their_bytes_exact(corpus):
    with _train(corpus) as batches:
        for batch in _take(batches, 20):
            _check(batch)
            assert (batch["weights"] == 1).all()
            np.testing.assert_array_equal(batch["n_bytes"], (batch["ids"] < 256).sum(axis=1))


def test_a_lane_reads_whole_documents_of_the_training_split_in_turn(corpus):
    with _train(corpus, batch_size=1) as batches:
        stream = np.concatenate([batch["ids"][0] for batch in _take(batches, 2000)])
    ends = np.flatnonzero(stream == Bytes().separator_id)
    texts = [bytes(part[part < 256].astype(np.uint8)) for part in np.split(stream, ends)][:-1]
    known = collections.Counter(document.text for document in corpus.documents("train"))
    n = corpus.n_documents["train"]
    epochs = [texts[start : start + n] for start in range(0, len(texts) - n + 1, n)]
    assert len(epochs) >= 2
    assert all(collections.Counter(epoch) == known for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_seed_decides_the_order(corpus):
    with _train(corpus) as one, _train(corpus) as same, _train(corpus, seed=4) as other:
        one, same, other = next(one), next(same), next(other)
    chex.assert_trees_all_equal(one, same)
    assert not np.array_equal(one["ids"], other["ids"])


def test_a_batch_holds_as_many_documents_as_rows(corpus):
    with _train(corpus, batch_size=8, row_length=4) as batches:
        firsts = {tuple(row) for row in next(batches)["ids"]}
    assert len(firsts) == 8


class Features:
    """Not ids: three numbers for every byte, and each document counts once."""

    name = "Features"
    fields = {"features": FieldSpec("float32", (3,), -1.0), "kinds": FieldSpec("int8", (), 7)}
    amounts = ("bytes", "documents")

    def encode_example(self, example):
        values_T = np.frombuffer(example.text, np.uint8).astype(np.float32)
        features_T3 = np.stack([values_T, values_T + 1, values_T * 2], axis=1)
        last_T = np.arange(len(values_T)) == len(values_T) - 1
        amounts = {"bytes": np.ones(len(values_T), np.int32), "documents": last_T.astype(np.int32)}
        return Encoded({"features": features_T3, "kinds": last_T.astype(np.int8)}, amounts)

    def fingerprint(self):
        return "features-1"


def _check_features(batch, spec):
    assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {
        name: (x.shape, x.dtype) for name, x in spec.items()
    }
    there = batch["weights"] > 0
    features_BT3, kinds_BT = batch["features"], batch["kinds"]
    np.testing.assert_array_equal(features_BT3[there][:, 1], features_BT3[there][:, 0] + 1)
    np.testing.assert_array_equal(features_BT3[there][:, 2], features_BT3[there][:, 0] * 2)
    assert (features_BT3[~there] == -1).all() and (kinds_BT[~there] == 7).all()
    np.testing.assert_array_equal(batch["n_bytes"], there.sum(axis=1))
    np.testing.assert_array_equal(batch["n_documents"], (there & (kinds_BT == 1)).sum(axis=1))


def test_every_declared_field_is_packed_and_every_amount_counted(corpus):
    code = Features()
    spec = RowLayout.of(code, SIZES["row_length"]).batch_spec(SIZES["batch_size"])
    with _train(corpus, code, num_workers=2) as batches:
        found = _take(batches, 6)
        state = json.loads(json.dumps(batches.get_state()))
        rest = _take(batches, 3)
    for batch in found:
        _check_features(batch, spec)
    assert sum(int(batch["n_documents"].sum()) for batch in found + rest) > 0
    with _train(corpus, code, num_workers=2) as batches:
        batches.set_state(state)
        chex.assert_trees_all_equal(_take(batches, 3), rest)
    held_out = list(evaluation_batches(corpus, code, **SIZES))
    for batch in held_out:
        _check_features(batch, spec)
    assert sum(b["n_documents"].sum() for b in held_out) == corpus.n_documents["validation"]
    assert sum(b["n_bytes"].sum() for b in held_out) == corpus.n_bytes["validation"]


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_workers_make_the_same_batches_and_resume_exactly(corpus, bpe, num_workers):
    with _train(corpus, bpe) as batches:
        expected = _take(batches, 12)
    with _train(corpus, bpe, num_workers=num_workers) as batches:
        chex.assert_trees_all_equal(_take(batches, 7), expected[:7])
        state = json.loads(json.dumps(batches.get_state()))
        _take(batches, 2)  # the state must not have moved on
    with _train(corpus, bpe, num_workers=num_workers) as batches:
        batches.set_state(state)
        chex.assert_trees_all_equal(_take(batches, 5), expected[7:])


@pytest.mark.parametrize("n_before", [0, 1, 2, 17, 60])
def test_resume_is_exact_anywhere(corpus, n_before):
    # Rows of 3 ids end with a document often: the place where packing is easily resumed wrongly.
    with _train(corpus, row_length=3) as batches:
        before = _take(batches, n_before)
        state = json.loads(json.dumps(batches.get_state()))
        expected = _take(batches, 30)
        batches.set_state(state)
        chex.assert_trees_all_equal(_take(batches, 30), expected)
    with _train(corpus, row_length=3) as batches:
        batches.set_state(state)
        chex.assert_trees_all_equal(_take(batches, 30), expected)
    assert not before or not np.array_equal(before[0]["ids"], expected[0]["ids"])


def test_orbax_saves_the_iterator(corpus, tmp_path):
    with _train(corpus) as batches, _train(corpus) as other:
        _take(batches, 5)
        ocp.v1.save_checkpointables(tmp_path / "c", {"data": batches})
        expected = _take(batches, 3)
        ocp.v1.load_checkpointables(tmp_path / "c", {"data": other})
        chex.assert_trees_all_equal(_take(other, 3), expected)


@pytest.mark.parametrize(
    "change", [{"num_workers": 1}, {"batch_size": 2}, {"row_length": 23}, {"seed": 4}]
)
def test_a_state_of_another_pipeline_is_refused(corpus, change):
    with _train(corpus) as batches, _train(corpus, **change) as other:
        ((name, value),) = change.items()
        was = {**SIZES, "seed": 3, "num_workers": 0}[name]
        with pytest.raises(
            ValueError, match=rf"another pipeline \({name}: {was} then, {value} now"
        ):
            other.set_state(batches.get_state())


def test_a_state_of_another_tokenizer_or_process_count_is_refused(corpus, bpe):
    with _train(corpus) as batches, _train(corpus, bpe) as other:
        with pytest.raises(ValueError, match=r"another pipeline \(tokenizer: "):
            other.set_state(batches.get_state())
        state = batches.get_state()
        state["made_with"] = {**state["made_with"], "process_count": 2}
        with pytest.raises(ValueError, match="process_count: 2 then, 1 now"):
            batches.set_state(state)


def test_closed_batches_say_so(corpus):
    batches = _train(corpus)
    next(batches)
    batches.close()
    with pytest.raises(ValueError, match="closed"):
        next(batches)


def _mesh(*shape):
    names = ("data", "model")[: len(shape)]
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(shape))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (8,)])
def test_global_arrays_hold_the_same_batch(corpus, shape):
    sharding = NamedSharding(_mesh(*shape), PartitionSpec("data"))
    with (
        _train(corpus, batch_size=8) as plain,
        _train(corpus, batch_size=8, sharding=sharding) as put,
    ):
        for expected, batch in zip(_take(plain, 5), _take(put, 5), strict=True):
            assert all(
                array.sharding.is_equivalent_to(sharding, array.ndim) for array in batch.values()
            )
            chex.assert_trees_all_equal(jax.device_get(batch), expected)
    sizes = {"batch_size": 8, "row_length": 24}
    plain = list(evaluation_batches(corpus, Bytes(), **sizes))
    put = list(evaluation_batches(corpus, Bytes(), **sizes, sharding=sharding))
    chex.assert_trees_all_equal(jax.device_get(put), plain)


def test_a_batch_that_the_mesh_does_not_divide(corpus):
    sharding = NamedSharding(_mesh(8), PartitionSpec("data"))
    for make in (_train, lambda *a, **w: evaluation_batches(*a, Bytes(), **SIZES, **w)):
        with pytest.raises(ValueError, match="4 rows cannot be divided over the devices"):
            make(corpus, sharding=sharding)


def test_more_workers_than_rows(corpus):
    with pytest.raises(ValueError, match="num_workers=5 is more than the 4 rows"):
        _train(corpus, num_workers=5)


def test_a_corpus_too_small_for_one_row(corpus):
    ids = corpus.n_bytes["train"] + corpus.n_documents["train"]
    _train(corpus, row_length=ids).close()
    with pytest.raises(CorpusError, match=rf"too small for one row: .* make {ids} ids with Bytes"):
        _train(corpus, row_length=ids + 1)


@pytest.mark.parametrize("row_length", [1, 7, 24, 1000, 100_000])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_scores_every_byte_once(corpus, bpe, row_length, split):
    for tokenizer in (Bytes(), bpe):
        batches = list(
            evaluation_batches(corpus, tokenizer, batch_size=4, row_length=row_length, split=split)
        )
        for batch in batches:
            _check(batch, row_length=row_length)
            assert (batch["ids"][batch["weights"] == 0] == tokenizer.separator_id).all()
        assert sum(int(batch["n_bytes"].sum()) for batch in batches) == corpus.n_bytes[split]
        scored = np.concatenate([batch["ids"][batch["weights"] == 1] for batch in batches])
        assert (scored == tokenizer.separator_id).sum() == corpus.n_documents[split]
        texts = b"".join(document.text for document in corpus.documents(split))
        assert tokenizer.decode(scored) == texts
        weights = np.concatenate([batch["weights"].ravel() for batch in batches])
        assert (np.diff(weights) <= 0).all()  # padding only at the end
        assert batches[-1]["weights"].any()


@pytest.mark.parametrize("max_bytes", [1, 10, 333, 10**9])
def test_evaluation_stops_at_max_bytes_for_every_tokenizer(corpus, bpe, max_bytes):
    for tokenizer in (Bytes(), bpe):
        batches = list(evaluation_batches(corpus, tokenizer, **SIZES, max_bytes=max_bytes))
        total = sum(int(batch["n_bytes"].sum()) for batch in batches)
        assert total == min(max_bytes, corpus.n_bytes["validation"])
    whole = b"".join(document.text for document in corpus.documents("validation"))
    scored = np.concatenate([batch["ids"][batch["weights"] == 1] for batch in batches])
    assert tokenizer.decode(scored) == whole[:max_bytes]


PROCESS = """
import sys, hashlib, jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from pathlib import Path
from latent_jax.data import evaluation_batches, load_corpus, train_batches
from latent_jax.tokenizers import Bytes
corpus = load_corpus(Path({folder!r}))
for shape in ((4, 1), (1, 4)):
    mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sizes = dict(batch_size=4, row_length=24, sharding=sharding)
    train = train_batches(corpus, Bytes(), seed=3, **sizes)
    batches = [next(train) for _ in range(3)] + list(evaluation_batches(corpus, Bytes(), **sizes))
    for batch in batches:
        for shard in batch["ids"].addressable_shards:
            start = shard.index[0].indices(4)[0]
            for row, ids in enumerate(np.asarray(shard.data), start):
                print("row", row, hashlib.sha256(ids.tobytes()).hexdigest())
        print("batch")
    train.close()
    print("mesh")
"""


def test_two_processes_make_the_batches_of_one_on_any_mesh(corpus):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    script = textwrap.dedent(PROCESS.format(folder=str(corpus.folder)))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, address, str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    with _train(corpus) as train:
        batches = _take(train, 3)
    batches += evaluation_batches(corpus, Bytes(), **SIZES)
    of_meshes = [output.split("mesh\n")[:-1] for output, _ in outputs]
    assert [len(meshes) for meshes in of_meshes] == [2, 2]
    for one_mesh in zip(*of_meshes, strict=True):
        made = [output.split("batch\n")[:-1] for output in one_mesh]
        assert [len(batches)] * 2 == [len(m) for m in made]
        for batch, *parts in zip(batches, *made, strict=True):
            rows = {tuple(line.split()[1:]) for part in parts for line in part.splitlines()}
            assert rows == {
                (str(row), hashlib.sha256(ids.tobytes()).hexdigest())
                for row, ids in enumerate(batch["ids"])
            }


def test_a_text_file_alone_makes_a_corpus(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes("".join(f"Line {n}: été\n" for n in range(40_000)).encode("latin-1"))
    corpus = open_corpus(
        DataConfig(
            source="files",
            files=str(path),
            cache_dir=str(tmp_path / "cache"),
            validation_percent=20,
            test_percent=0,
        )
    )
    assert sum(corpus.n_bytes.values()) == path.stat().st_size
    batches = evaluation_batches(corpus, Bytes(), batch_size=16, row_length=512)
    assert sum(int(b["n_bytes"].sum()) for b in batches) == corpus.n_bytes["validation"] > 0


def test_config_is_checked():
    for words, message in [
        ({"source": "web"}, "unknown data.source 'web'; known: python_docs, files, tfds, encoded"),
        ({"validation_percent": 60, "test_percent": 40}, "below 100"),
        ({"test_percent": -1}, r"data.test_percent must be in \[0, 100\); got -1"),
        ({"num_workers": -1}, "data.num_workers must be at least 0; got -1"),
    ]:
        with pytest.raises(CorpusError, match=message):
            DataConfig(**words)
    assert dataclasses.replace(DataConfig(), files=["a", "b"]).files == ("a", "b")
