"""The times and FLOPs of roll-outs and updates, of a config and of a trained run."""

import pytest

from configs import language_model
from configs.latent_reasoning import get_config
from latent_jax.bench.rollout import benchmark_rollout, benchmark_rollout_and_print
from latent_jax.experiments.study import run_config
from latent_jax.reports.tables import read_table


def small(cache):
    config = get_config("steps=1,policy_steps=2,baseline=0,batch=8,problems=8,group=2")
    for one in config.runs.values():
        one.data.cache_dir = str(cache)
        one.chains.n_problems = 200
        one.evaluation_bytes = 100
        one.optimizer.warmup_steps = 0
        one.model.update(n_layers=1, d_model=16, n_heads=2)
    return config


def test_roll_outs_and_updates_are_timed_with_their_flops(tmp_path, capsys):
    config = small(tmp_path / "cache")
    config.runs.phase2.policy.updates = 2
    path = tmp_path / "rollout.json"
    benchmark_rollout_and_print(config, n_steps=2, json_path=str(path))
    printed = capsys.readouterr().out
    assert "roll-outs" in printed and "forward FLOPs" in printed
    (record,) = read_table(path)
    assert record["name"] == "Thoughts[latent,k=3], rewarded" and record["updates"] == 2
    assert record["n_solutions"] == 16 and 16 <= record["n_tokens"] <= 16 * 26
    assert record["rollout_seconds"] > 0 < record["update_seconds"]
    spent = record["rollout_seconds"] + 2 * record["update_seconds"]
    assert record["rollout_time_share"] == pytest.approx(record["rollout_seconds"] / spent)
    assert 0 < record["rollout_tokens_per_s"] * record["rollout_seconds"] <= 2 * 16 * 26
    parts = {"rollout", "old", "text", "thoughts", "blocks", "head", "projection"}
    assert {f"{part}_flops" for part in parts} < record.keys()
    # An update passes backward too, for twice the cost; the roll-out is written and read once.
    once = record["rollout_flops"] + record["old_flops"]
    forward = sum(record[f"{part}_flops"] for part in parts) - once
    assert record["train_flops"] == pytest.approx(once + 3 * forward)
    line = next(line for line in printed.splitlines() if line.split()[:1] == ["old"])
    assert "roll-out" in line


def test_a_trained_run_is_measured_with_its_weights(tmp_path):
    config = small(tmp_path / "cache")
    run_config(config, tmp_path / "runs")
    record = benchmark_rollout(None, workdir=tmp_path / "runs" / "phase2", n_steps=1)
    assert record["updates"] == 1 and record["rollout_tokens_per_s"] > 0
    with pytest.raises(ValueError, match=r"rollout measures one second phase .* of 1 there are 0"):
        benchmark_rollout(None, workdir=tmp_path / "runs" / "phase1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "rollout needs a second phase: --config configs/latent_reasoning.py, or"),
        ({"config": language_model.get_config("size=nano")}, "of 1 there are 0: name another"),
        ({"workdir": "nowhere", "n_steps": 0}, "n_steps must be at least 1; got 0"),
        ({"workdir": "nowhere"}, r"nowhere is no run folder"),
    ],
)
def test_what_has_no_roll_outs_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        benchmark_rollout(words.pop("config", None), **words)
