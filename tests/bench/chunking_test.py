import importlib.util

import numpy as np
import pytest

from configs import chunking_arms
from latent_jax.bench import chunking as module
from latent_jax.bench.chunking import (
    METHODS,
    ChunkingBenchmark,
    benchmark_chunking,
    benchmark_chunking_and_print,
    names_of,
    twin_config,
)
from latent_jax.bench.chunking_sides import N_WARM_UP, PEER, take_turns
from latent_jax.bench.step import solved_config
from latent_jax.methods.tasks import make_task
from latent_jax.reports.tables import read_table

FIND_SPEC = importlib.util.find_spec


def tiny(method):
    config = chunking_arms.get_config(f"method={method}")
    config.update(context_bytes=16, batch_size=8, inference_flops_per_byte=6e4)
    config.model.update(d_model=16, n_heads=2, n_layers=1)
    config.hierarchy.layers = 1
    return config


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(
        module.importlib.util,
        "find_spec",
        lambda name: None if name == module.PEER_MODULE else FIND_SPEC(name),
    )


class Clockwork:
    """A side whose turn takes no time, and that writes down when it is called."""

    def __init__(self, name, calls, loss=1.0):
        self.name, self.calls, self.loss = name, calls, loss

    def before(self, ids_BT):
        self.calls.append((self.name, "before", ids_BT))

    def step(self, ids_BT):
        self.calls.append((self.name, "step", ids_BT))
        return self.loss

    def wait(self):
        self.calls.append((self.name, "wait", None))

    def after(self, ids_BT):
        return 3.0, None


def test_sides_take_turns_on_the_same_rows_and_none_is_always_first():
    calls, draws = [], iter(range(99))
    sides = {name: Clockwork(name, calls) for name in "abc"}
    turns = take_turns(sides, lambda: np.full((1, 1), next(draws)), 4, 2)
    assert {name: len(found) for name, found in turns.items()} == dict.fromkeys("abc", 4)
    per_turn = [calls[i : i + 12] for i in range(0, len(calls), 12)]
    assert len(per_turn) == N_WARM_UP + 4
    assert ["".join(name for name, what, _ in turn if what == "before") for turn in per_turn] == [
        *("abc", "bca", "cab", "abc", "bca", "cab")
    ]
    for number, turn in enumerate(per_turn):
        assert [what for _, what, _ in turn[:4]] == ["before", "step", "step", "wait"]
        assert {int(ids[0, 0]) for _, _, ids in turn if ids is not None} == {number}


def test_a_loss_that_is_no_number_ends_it():
    sides = {"a": Clockwork("a", [], float("nan"))}
    with pytest.raises(ValueError, match="a: the loss is nan"):
        take_turns(sides, lambda: np.zeros((1, 1), np.int32), 1, 1)


def test_models_are_compared_with_the_first_per_flop(alone, tmp_path, capsys):
    path, text = tmp_path / "chunking.json", tmp_path / "text.txt"
    text.write_text("A lambda is a function without a name.\n" * 9)
    configs = {name: tiny(name) for name in ("Bytes", "HNet[n=2,router=stride]")}
    benchmark = ChunkingBenchmark(n_steps=3, files=(str(text),))
    benchmark_chunking_and_print(configs, tiny("HNet[n=4]"), benchmark, str(path))
    shown = capsys.readouterr().out
    assert f"{PEER} is not installed" in shown and "peer's speed" not in shown
    of_bytes, of_chunks = read_table(path)
    assert "not installed" in of_chunks["no_peer"] and of_chunks["text"] == str(text)
    assert of_bytes["per_flop_ratio"] == 1 and of_bytes["bytes_per_chunk"] is None
    assert (of_chunks["outer"], of_chunks["bytes_per_chunk"]) == ("mamba", 2.0)
    for record in (of_bytes, of_chunks):
        assert record["train_flops_per_byte"] == 3 * record["inference_flops_per_byte"]
        assert record["inference_flops_per_byte"] == pytest.approx(6e4, rel=0.05)
        assert record["per_flop_ratio_low"] <= record["per_flop_ratio"]
        assert record["per_flop_ratio"] <= record["per_flop_ratio_high"]
        flops_per_s = record["bytes_per_s"] * record["train_flops_per_byte"]
        assert record["train_flops_per_s"] == pytest.approx(flops_per_s)
        assert record["bytes_per_s"] * record["step_ms"] == pytest.approx(1e3 * 8 * 16)


def test_what_cannot_be_compared_is_refused(alone, tmp_path):
    def measure(**words):
        configs = {name: tiny(name) for name in ("Bytes", "HNet[n=4]")}
        for name, change in words.pop("changes", {}).items():
            configs[name].update(change)
        benchmark_chunking(configs, tiny("HNet[n=4]"), ChunkingBenchmark(**words))

    with pytest.raises(ValueError, match="all models read the same rows"):
        measure(changes={"HNet[n=4]": {"batch_size": 16}})
    with pytest.raises(ValueError, match=r"BPE\[v=300\] does not read bytes"):
        measure(changes={"HNet[n=4]": {"method": "BPE[v=300]"}})
    with pytest.raises(ValueError, match="reads the entropies of a byte model"):
        measure(changes={"HNet[n=4]": {"method": "BLT[n=4]"}})
    with pytest.raises(ValueError, match="n_steps must be at least 1; got 0"):
        measure(n_steps=0)
    short = tmp_path / "short.txt"
    short.write_text("Too short.")
    with pytest.raises(ValueError, match="the text has 11 bytes, and a row 16"):
        measure(files=(str(short),))


def test_bytes_come_first_and_commas_in_brackets_are_part_of_a_name():
    assert names_of("HNet[n=4,router=stride], Bytes,HNet[n=2]", False) == [
        *("Bytes", "HNet[n=4,router=stride]", "HNet[n=2]")
    ]
    assert names_of("", True) == ["Bytes", "BLT[n=4]"]
    assert names_of(",".join(METHODS), False) == [*METHODS]


@pytest.mark.parametrize("n", ["4", "auto"])
def test_other_flops_are_those_of_all_methods(n):
    config = chunking_arms.get_config(f"method=HNet[n={n}]")
    chunking_arms.set_flops(config, 0.9e6)
    solved, vocabulary = solved_config(config, 1.0)
    task = make_task(solved, vocabulary)
    found = task.flops_at_rate if n == "auto" else task.flops_per_byte
    assert found == pytest.approx(0.9e6, rel=0.02)


def test_the_twin_has_attention_outside():
    config = chunking_arms.get_config("method=HNet[n=4]")
    twin = twin_config(config)
    assert (twin.hierarchy.outer, twin.hierarchy.layers) == ("attention", 1)
    assert (config.hierarchy.outer, config.hierarchy.layers) == ("auto", 2)
