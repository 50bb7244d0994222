import itertools
import json
import pydoc_data.topics

import numpy as np
import pytest

from latent_jax.bench import data as module
from latent_jax.bench.data import DataBenchmark, benchmark_data, grain_batches
from latent_jax.data import DataConfig, open_corpus
from latent_jax.reports.tables import read_table
from latent_jax.tokenizers import Bytes


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "topics.jsonl"
    topics = list(pydoc_data.topics.topics.values())[:40]
    path.write_text("".join(json.dumps({"text": topic}) + "\n" for topic in topics))
    return path


@pytest.mark.slow
def test_a_table_of_tokenizers_and_workers(text, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "METHODS", ("Bytes", "BPE[v=300]"))
    benchmark = DataBenchmark(row_length=64, batch_size=4, workers=(0, 1), seconds=0.1)
    path = tmp_path / "data.json"
    words = dict(cache_dir=str(tmp_path / "cache"), json_path=str(path))
    records = benchmark_data(benchmark, [str(text)], **words)
    table = capsys.readouterr().out
    assert "Grain" in table and table.count("BPE[v=300]") == 2
    assert read_table(path) == records
    assert [(r["method"], r["n_workers"]) for r in records] == [
        (method, n) for method in ("Bytes", "BPE[v=300]") for n in (0, 1)
    ]
    for record in records:
        assert record["peer"].startswith("grain ")
        assert min(record[key] for key in ("mb_per_s", "peer_mb_per_s", "speed_ratio")) > 0
    assert records[0]["bytes_per_token"] < 1 < records[2]["bytes_per_token"]


def test_a_row_is_told_and_kept_as_soon_as_it_is_known(text, tmp_path, monkeypatch, caplog):
    path = tmp_path / "data.json"

    def measure(benchmark, corpus, tokenizer, id_bytes, n_workers):
        if n_workers == 2:
            raise KeyboardInterrupt
        words = dict(method=tokenizer.name, n_workers=n_workers, mb_per_s=3.0, peer_mb_per_s=2.0)
        return {**words, "bytes_per_token": id_bytes}

    monkeypatch.setattr(module, "_measure", measure)
    monkeypatch.setattr(module, "METHODS", ("Bytes",))
    monkeypatch.setattr(module.logger, "propagate", True)
    benchmark = DataBenchmark(workers=(0, 1, 2), seconds=4.0)
    with caplog.at_level("INFO", module.logger.name), pytest.raises(KeyboardInterrupt):
        benchmark_data(
            benchmark, [str(text)], cache_dir=str(tmp_path / "cache"), json_path=str(path)
        )
    assert [record["n_workers"] for record in read_table(path)] == [0, 1]
    assert caplog.messages[0].startswith("3 rows of 20 s each, 1.0 minutes in all")
    assert caplog.messages[-2:] == [
        f"{n}/3 Bytes, {n - 1} workers: 3.0 MB/s, Grain's packing 2.0 MB/s" for n in (1, 2)
    ]


def test_a_warm_up_takes_a_quarter_of_the_seconds(monkeypatch):
    asked = []

    def during(amounts, seconds):
        asked.append(seconds)
        return itertools.islice(amounts, 2)

    monkeypatch.setattr(module, "_during", during)
    total, _, _ = module._read(iter([1, 2, 4, 8]), 8.0)
    assert (asked, total) == ([2.0, 8.0], 12)


def test_the_peer_reads_the_same_text(text, tmp_path):
    corpus = open_corpus(
        DataConfig(
            source="files",
            files=(str(text),),
            cache_dir=str(tmp_path),
            validation_percent=0.0,
            test_percent=0.0,
        )
    )
    benchmark = DataBenchmark(row_length=50, batch_size=2, workers=(0,))
    n_ids = corpus.n_bytes["train"] + corpus.n_documents["train"]
    batches = grain_batches(benchmark, corpus, Bytes(), 0)
    ids = np.concatenate([next(batches)["ids"].ravel() for _ in range(-(-n_ids // 100))])[:n_ids]
    batches.close()
    parts = np.split(ids, np.flatnonzero(ids == 256))
    texts = sorted(bytes(part[part < 256].astype(np.uint8)) for part in parts if len(part) > 1)
    assert texts == sorted(document.text for document in corpus.documents("train"))


def test_numbers_that_make_no_sense():
    with pytest.raises(ValueError, match=r"workers=\(\)"):
        DataBenchmark(workers=())
    with pytest.raises(ValueError, match="must be positive"):
        DataBenchmark(seconds=0)
    with pytest.raises(ValueError, match="batch_size=4 has fewer than 8"):
        DataBenchmark(workers=(0, 8), batch_size=4)
