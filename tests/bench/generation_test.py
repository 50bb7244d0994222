import dataclasses
import importlib.util

import pytest

from latent_jax.bench import generation as module
from latent_jax.bench.generation import (
    GenerationBenchmark,
    benchmark_generation,
    benchmark_generation_and_print,
)
from latent_jax.platform import Platform
from latent_jax.reports.tables import read_table

TINY = GenerationBenchmark(
    vocab_size=31,
    row_length=48,
    n_layers=1,
    d_model=16,
    n_heads=2,
    lanes=(1, 3),
    prompt_length=4,
    n_new=32,
    n_steps=2,
)


@pytest.fixture
def alone(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        module.importlib.util,
        "find_spec",
        lambda name: None if name == "transformers" else find_spec(name),
    )


def test_without_a_peer_ours_is_measured_and_the_reason_stated(alone, tmp_path, capsys):
    benchmark_generation_and_print(TINY, str(tmp_path / "speed.json"))
    shown = capsys.readouterr().out
    assert "transformers not installed" in shown and "tokens/s" in shown
    assert "peer's speed" not in shown
    records = read_table(tmp_path / "speed.json")
    assert [record["lanes"] for record in records] == [1, 3]
    for record in records:
        assert record["peer"] == "latent_jax" and record["dtype"] == "float32"
        assert record["tokens_per_s"] > 0 and "speed_ratio" not in record


def test_what_is_known_is_kept_when_the_rest_fails(alone, tmp_path, monkeypatch):
    def measured(benchmark, n_lanes, sides):
        if n_lanes > 1:
            raise MemoryError
        return measure(benchmark, n_lanes, sides)

    measure = module._measured
    monkeypatch.setattr(module, "_measured", measured)
    with pytest.raises(MemoryError):
        benchmark_generation_and_print(TINY, str(tmp_path / "speed.json"))
    (record,) = read_table(tmp_path / "speed.json")
    assert record["lanes"] == 1 and record["tokens_per_s"] > 0


def test_bytes_of_an_id_turn_ids_into_bytes(alone, tmp_path, capsys):
    path = tmp_path / "speed.json"
    for bytes_per_id, append in ((0.0, False), (4.0, True)):
        one = dataclasses.replace(TINY, lanes=(3,), bytes_per_id=bytes_per_id)
        benchmark_generation_and_print(one, str(path), append)
    plain, record = read_table(path)
    assert "bytes_per_id" not in plain and "new_bytes_per_s" not in plain
    assert record["new_bytes_per_s"] == 4 * record["tokens_per_s"]
    # Three lanes write side by side: each has 100 bytes after this time.
    assert record["ms_per_100_bytes"] == pytest.approx(3 * 1e5 / record["new_bytes_per_s"])
    assert "100 bytes" in capsys.readouterr().out
    with pytest.raises(ValueError, match="bytes_per_id must not be negative"):
        GenerationBenchmark(bytes_per_id=-1.0)


def test_the_dtype_is_that_of_the_platform(alone):
    one = dataclasses.replace(TINY, lanes=(1,))
    records = [*benchmark_generation(one, Platform("cuda"))]
    assert {record["dtype"] for record in records} == {"bfloat16"}
    assert TINY.model(Platform("cuda")).attention_implementation == "cudnn"
    assert TINY.model(Platform("cpu")).attention_implementation == "tiled"


def test_the_peer_computes_the_same():
    pytest.importorskip("transformers", reason="needs pip install -e .[benchmark]")
    records = [*benchmark_generation(TINY)]
    assert [(r["peer"], r["lanes"]) for r in records] == [
        ("transformers", 1),
        ("latent_jax", 1),
        ("transformers", 3),
        ("latent_jax", 3),
    ]
    assert all(record["greedy_agreement"] == 1 for record in records)
    assert all(record["speed_ratio"] == 1 for record in records[::2])


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="lanes and n_steps must be at least 1"):
        GenerationBenchmark(lanes=(1, 0))
