"""Tests of how runs use the cores and the memory of a CPU."""

import pytest

from configs.latent_lm import get_config
from latent_jax.bench import step
from latent_jax.experiments import cores


def test_devices_divide_the_rows_of_all_runs_and_long_rows_make_steps_large(monkeypatch):
    asked, shared = [], []
    monkeypatch.setattr(cores, "spread_over_cores", lambda rows: asked.extend(rows) or 2)
    monkeypatch.setattr(cores, "share_heap", lambda *sizes, **more: shared.append((sizes, more)))
    config = get_config("size=nano")
    config.batch_size, config.row_length, config.context_bytes = 8, 256, 0
    config.training.accumulation = 2
    cores.use_cores([config])
    assert asked == [4, 8]  # of a micro-batch, and those that a step reads
    (n_positions, d_model, n_layers), more = shared[0]
    assert n_positions == 2 * 256
    assert (d_model, n_layers) == (config.model.d_model, config.model.n_layers)
    assert more == dict(n_heads=config.model.n_heads, row_length=256, n_devices=2)
    config.context_bytes = 1024  # rows are made later, and are not longer than that
    cores.use_cores([config])
    assert shared[1][0][0] == 2 * 1024 and shared[1][1]["row_length"] == 1024


def test_a_benchmark_asks_for_devices_before_anything_computes(monkeypatch):
    calls = []

    def solve(*_):
        calls.append("solve")
        raise InterruptedError

    monkeypatch.setattr(step, "use_cores", lambda configs: calls.append("cores"))
    monkeypatch.setattr(step, "solved_config", solve)
    with pytest.raises(InterruptedError):
        step.benchmark_step(get_config("size=nano"), name="nano", n_steps=1)
    assert calls == ["cores", "solve"]
