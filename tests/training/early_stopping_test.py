"""A run that no longer improves ends in order, and stays ended."""

import os

import jax

from latent_jax.training import OptimizerConfig
from tests.training.byte_task import run, saved_state, untimed_records

STILL = OptimizerConfig(learning_rate=1e-30, warmup_steps=2)  # moves no float32
WORDS = dict(devices=jax.devices()[:1], eval_every=2, save_every=8, optimizer=STILL)


def test_it_ends_with_its_last_checkpoint_and_a_second_start_trains_nothing(tmp_path, capfd):
    final = run(tmp_path, patience=2, **WORDS)
    said = capfd.readouterr().err
    records = [r for r in untimed_records(tmp_path) if r["split"] == "validation"]
    assert [r["step"] for r in records] == [2, 4, 6]
    assert [r["evaluations_without_improvement"] for r in records] == [0, 1, 2]
    assert [r["stopped_early"] for r in records] == [0, 0, 1]
    assert "stopped early at step 6 of 12: bits_per_byte was " in said
    assert "at step 2 and no better in the 2 evaluations since (training.patience=2)" in said
    assert saved_state(tmp_path)[1]["step"] == 6
    before = untimed_records(tmp_path)
    assert run(tmp_path, patience=2, **WORDS) == final
    assert untimed_records(tmp_path) == before
    assert "stopped early at step 6 of 12" in capfd.readouterr().err
    # Without patience it goes on to the end.
    assert run(tmp_path, **WORDS)["step"] == 12
    assert sorted(map(int, os.listdir(tmp_path / "checkpoints")))[-1] == 12


def test_a_run_that_improves_is_not_stopped(tmp_path, capfd):
    words = {**WORDS, "save_every": 0, "eval_every": 3}
    del words["optimizer"]
    final = run(tmp_path, patience=1, **words)
    assert final["step"] == 12 and final["stopped_early"] == 0
    assert final["evaluations_without_improvement"] == 0
    assert "stopped early" not in capfd.readouterr().err
