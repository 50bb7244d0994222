import importlib.util

import jax
import numpy as np
import pytest

from latent_jax.bench import train as benchmark_module
from latent_jax.bench.train import (
    TrainBenchmark,
    benchmark_and_print,
    benchmark_training,
    make_jax_step,
    time_in_turns,
)
from latent_jax.models.gpt import GPT
from latent_jax.reports.tables import read_table

TINY = TrainBenchmark(
    vocab_size=31, row_length=12, batch_size=8, n_layers=2, d_model=16, n_heads=2, n_steps=3
)


def test_both_models_compute_the_same_logits():
    torch = pytest.importorskip("torch", reason="needs pip install -e .[benchmark]")
    from latent_jax.bench.torch_gpt import TorchGPT

    ids = jax.random.randint(jax.random.key(0), (2, 12), 0, 31)
    variables = jax.jit(GPT(TINY.model).init)(jax.random.key(1), ids)
    # Every parameter away from its initial value, so that none can be forgotten or mixed up.
    leaves, tree = jax.tree.flatten(variables)
    draw = np.random.default_rng(2)
    leaves = [np.asarray(x) + 0.3 * draw.standard_normal(x.shape, np.float32) for x in leaves]
    variables = jax.tree.unflatten(tree, leaves)

    model = TorchGPT(TINY.model)
    before = model(torch.from_numpy(np.array(ids)).long()).detach().numpy()
    model.copy_from(variables["params"])
    after = model(torch.from_numpy(np.array(ids)).long()).detach().numpy()
    ours = np.asarray(jax.jit(GPT(TINY.model).apply)(variables, ids))
    np.testing.assert_allclose(after, ours, atol=1e-4)
    assert np.abs(before - ours).max() > 0.1
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert n_parameters == sum(leaf.size for leaf in leaves)


def test_both_sides_learn_and_are_reported(tmp_path, capsys):
    pytest.importorskip("torch", reason="needs pip install -e .[benchmark]")
    path = tmp_path / "speed.json"
    benchmark_and_print(TINY, str(path), profile=tmp_path / "traces", n_traced=1)
    table = capsys.readouterr().out
    for peer in ("PyTorch", "latent_jax"):
        assert list((tmp_path / "traces" / peer).rglob("*.xplane.pb")) and f"\n{peer}: " in table
    assert "tokens/s" in table and "PyTorch" in table and "latent_jax" in table
    theirs, ours = read_table(path)
    assert (theirs["peer"], ours["peer"]) == ("PyTorch", "latent_jax")
    assert theirs["speed_ratio"] == 1.0 and ours["speed_ratio"] > 0
    np.testing.assert_allclose(ours["tokens_per_s"] * ours["step_ms"] / 1e3, 8 * 12)
    assert ours["n_parameters"] == theirs["n_parameters"] > 6000


def test_the_step_that_is_timed_trains():
    ids = np.tile(np.arange(12, dtype=np.int32), (8, 1))
    step = make_jax_step(TINY)
    losses = [step(ids, ids) for _ in range(20)]
    assert losses[-1] < 0.99 * losses[0]


def test_steps_take_turns_and_warm_up_is_not_counted():
    calls = []

    def step(name):
        def take(inputs_BT, targets_BT):
            calls.append((name, targets_BT.tobytes()))
            np.testing.assert_array_equal(inputs_BT[:, 1:], targets_BT[:, :-1])
            return 0.0

        return take

    seconds = time_in_turns({"a": step("a"), "b": step("b")}, TINY)
    assert [name for name, _ in calls] == ["a", "b"] * 5
    assert all(calls[i][1] == calls[i + 1][1] for i in range(0, 10, 2)), "same rows for both"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_a_missing_peer_is_one_clear_message(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        benchmark_module.importlib.util,
        "find_spec",
        lambda name: None if name == "torch" else find_spec(name),
    )
    with pytest.raises(ValueError, match=r"PyTorch.*pip install -e '\.\[benchmark\]'"):
        benchmark_training(TINY)
