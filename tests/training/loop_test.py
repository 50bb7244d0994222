"""The loop as a whole: it learns, it stops, it goes on to the bit, and it says what went wrong."""

import json
import math
import os
import signal
import time

import chex
import jax
import numpy as np
import pytest

from latent_jax.platform import Platform
from latent_jax.training import (
    Checkpoints,
    DataError,
    NonFiniteError,
    TrainingInterrupted,
    loop,
)
from tests.training.byte_task import (
    ByteTask,
    eval_batches,
    run,
    saved_state,
    start_process,
    train_batches,
    untimed_records,
)

ONE = jax.devices()[:1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run of 12 steps on one device, and what it returned."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    seen = []
    final = run(
        workdir, devices=ONE, on_evaluation=lambda step, variables, record: seen.append(step)
    )
    return workdir, final, seen


def test_a_run_learns_and_records_exact_sums(uninterrupted):
    workdir, final, seen = uninterrupted
    records = untimed_records(workdir)
    steps = [(r["step"], r["split"]) for r in records]
    assert steps == [
        *((step, "train") for step in (2, 4, 6)),
        (6, "validation"),
        *((step, "train") for step in (8, 10, 12)),
        (12, "validation"),
    ]
    assert seen == [6, 12]
    batches = train_batches(16)
    n_bytes = sum(int(next(batches)["n_bytes"].sum()) for _ in range(12))
    assert final["bytes_seen"] == records[-1]["bytes_seen"] == n_bytes
    assert isinstance(records[-1]["bytes_seen"], int)
    assert final["train_flops"] == 3 * ByteTask().flops_per_byte * n_bytes
    train_bits = [r["bits_per_byte"] for r in records if r["split"] == "train"]
    assert train_bits[-1] < 0.7 * train_bits[0] and final["bits_per_byte"] < 5.5
    assert any(name.startswith("events") for name in os.listdir(workdir / "tensorboard"))
    # The validation metric is that of the saved weights.
    state, metadata = saved_state(workdir)
    task = ByteTask()
    scores = [task.evaluate(state.variables, batch) for batch in eval_batches()]
    sums = {name: sum(float(score[name]) for score in scores) for name in scores[0]}
    np.testing.assert_allclose(task.summarize(sums)["bits_per_byte"], final["bits_per_byte"], 1e-6)
    assert metadata["metric"] == final["bits_per_byte"] and metadata["step"] == 12


def test_a_finished_run_returns_what_it_had(uninterrupted):
    workdir, final, _ = uninterrupted
    before = untimed_records(workdir)
    assert run(workdir, devices=ONE) == final
    assert untimed_records(workdir) == before


def test_kill_and_resume_is_bitwise_equal_to_never_having_stopped(uninterrupted, tmp_path):
    # Killed after the evaluation of step 10, so that metrics.jsonl is ahead of the last checkpoint.
    killed = start_process(f"""
        import pathlib, signal, time
        workdir = pathlib.Path({str(tmp_path)!r})
        def kill(step, variables, record):
            while step == 10 and not (workdir / "checkpoints" / "6" / "variables").exists():
                time.sleep(0.05)
            if step == 10:
                os.kill(os.getpid(), signal.SIGKILL)
        run(workdir, eval_every=2, on_evaluation=kill)
        """)
    assert killed.wait(300) == -signal.SIGKILL, killed.stderr.read()
    records = untimed_records(tmp_path)
    assert records[-1]["step"] == 10
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 11, "spl')
    whole = tmp_path / "whole"
    resumed = start_process(f"""
        import pathlib
        run(pathlib.Path({str(tmp_path)!r}), eval_every=2, progress=True)
        run(pathlib.Path({str(whole)!r}), eval_every=2)
        """)
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert "resumed from step 6" in errors
    state, metadata = saved_state(tmp_path)
    expected, expected_metadata = saved_state(whole)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(expected))
    assert metadata["digests"] == expected_metadata["digests"]
    assert untimed_records(tmp_path) == untimed_records(whole)
    assert len(untimed_records(whole)) > len(records)


class WithoutBytes:
    """Batches of which the third and fourth stand for no raw byte, as a header of GZip does."""

    def __init__(self, iterator):
        self.iterator, self.number = iterator, 0
        self.get_state, self.set_state = iterator.get_state, iterator.set_state

    def __next__(self):
        self.number += 1
        batch = next(self.iterator)
        return {**batch, "n_bytes": 0 * batch["n_bytes"]} if self.number in (3, 4) else batch


def test_a_window_without_a_byte_goes_on_until_there_is_one(uninterrupted, tmp_path):
    run(tmp_path, devices=ONE, train_data=WithoutBytes(train_batches(16)))
    found, whole = (
        [r for r in untimed_records(f) if r["split"] == "train"]
        for f in (tmp_path, uninterrupted[0])
    )
    assert [r["step"] for r in found] == [2, 6, 8, 10, 12]
    assert found[0] == whole[0]
    lacking = whole[1]["bytes_seen"] - whole[0]["bytes_seen"]
    assert found[-1]["bytes_seen"] == whole[-1]["bytes_seen"] - lacking
    assert found[1]["bits_per_byte"] > 1.5 * whole[2]["bits_per_byte"]


class SignalAt:
    """An iterator that sends this process a signal when it is asked for a certain batch."""

    def __init__(self, iterator, batch, kind):
        self.iterator, self.left, self.kind = iterator, batch, kind
        self.get_state, self.set_state = iterator.get_state, iterator.set_state

    def __next__(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.kind)
        return next(self.iterator)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_next_start_goes_on(uninterrupted, tmp_path, capfd, kind):
    before = signal.getsignal(kind)
    with pytest.raises(TrainingInterrupted) as caught:
        run(tmp_path, devices=ONE, train_data=SignalAt(train_batches(16), 9, kind))
    assert caught.value.code == 128 + kind
    assert "stopped at step 9 of 12; saved in" in capfd.readouterr().err
    assert signal.getsignal(kind) == before
    assert saved_state(tmp_path)[1]["step"] == 9
    final = run(tmp_path, devices=ONE)
    workdir, expected, _ = uninterrupted
    assert final["bits_per_byte"] == expected["bits_per_byte"]
    assert final["bytes_seen"] == expected["bytes_seen"]
    chex.assert_trees_all_equal(
        *(jax.device_get(saved_state(folder)[0]) for folder in (tmp_path, workdir))
    )


def test_a_signal_during_evaluation_saves_first_and_evaluates_after_the_resume(
    uninterrupted, tmp_path
):
    def interrupted_batches():
        os.kill(os.getpid(), signal.SIGTERM)
        return eval_batches()

    with pytest.raises(TrainingInterrupted):
        run(tmp_path, devices=ONE, eval_data=interrupted_batches)
    assert [r["split"] for r in untimed_records(tmp_path)] == ["train"] * 3
    run(tmp_path, devices=ONE)
    assert untimed_records(tmp_path) == untimed_records(uninterrupted[0])


@pytest.mark.parametrize("patience", [0, 3])
def test_a_signal_during_the_last_evaluation_leaves_a_run_that_can_be_started_again(
    tmp_path, capfd, patience
):
    words = dict(devices=ONE, eval_every=12, save_every=6, keep_best=1, patience=patience)

    def interrupted_batches():
        os.kill(os.getpid(), signal.SIGTERM)
        return eval_batches()

    with pytest.raises(TrainingInterrupted):
        run(tmp_path, eval_data=interrupted_batches, **words)
    with Checkpoints(tmp_path / "checkpoints", is_reader=True) as checkpoints:
        assert checkpoints.steps == [6, 12]
    final = run(tmp_path, **words)
    records = untimed_records(tmp_path)
    assert records[-1]["split"] == "validation" and records[-1]["step"] == 12
    metadata = json.loads((tmp_path / "checkpoints/12/run/metadata.json").read_text())
    assert metadata["metric"] == final["bits_per_byte"] and metadata["evaluated_step"] == 12
    # Its digests hold, nothing is evaluated twice, and no record is missed.
    assert run(tmp_path, **words) == final
    assert untimed_records(tmp_path) == records
    assert "cut or changed" not in capfd.readouterr().err


def test_sigterm_from_outside_ends_the_process_with_143_and_no_traceback(tmp_path):
    process = start_process(f"""
        import pathlib
        run(pathlib.Path({str(tmp_path)!r}), total_steps=10**6, eval_every=0, save_every=0)
        """)
    deadline = time.monotonic() + 200
    while not (tmp_path / "metrics.jsonl").exists() or not untimed_records(tmp_path):
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 143
    assert "stopped at step" in errors and "Traceback" not in errors
    (step,) = os.listdir(tmp_path / "checkpoints")
    assert untimed_records(tmp_path)[-1]["step"] == int(step)


def test_nan_stops_with_the_step_and_the_last_good_checkpoint(tmp_path):
    with pytest.raises(
        NonFiniteError, match=r"loss is not finite at step 9 .*last good .* step 6 "
    ):
        run(tmp_path, devices=ONE, task=ByteTask(poison_step=8))
    records = untimed_records(tmp_path)
    assert records[-1]["step"] == 8 and all(math.isfinite(r["bits_per_byte"]) for r in records)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["6"]


def test_nan_at_the_step_of_a_save_is_not_saved(tmp_path):
    with pytest.raises(NonFiniteError, match=r"step 6 .*there is no checkpoint yet"):
        run(tmp_path, devices=ONE, task=ByteTask(poison_step=5))
    assert os.listdir(tmp_path / "checkpoints") == []


class Finite:
    """The first few batches of an iterator."""

    def __init__(self, iterator, left):
        self.iterator, self.left = iterator, left
        self.get_state = iterator.get_state

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        return next(self.iterator)


def test_data_that_ends_is_named(tmp_path):
    with pytest.raises(DataError, match=r"training data ended after step 4: repeat it"):
        run(tmp_path, devices=ONE, train_data=Finite(train_batches(16), 4))


def test_a_killed_grain_worker_is_named(tmp_path):
    import multiprocessing

    def kill_workers(step, variables, record):
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(
        DataError, match=r"after step \d+.*exit code -9.*lower the number of workers"
    ):
        run(tmp_path, devices=ONE, total_steps=10**4, workers=1, on_evaluation=kill_workers)
    assert not multiprocessing.active_children()


def test_a_batch_that_the_mesh_does_not_divide_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"12 rows .* 8 devices .* use a batch of 8 or 16"):
        run(tmp_path, batch_size=12)
    assert os.listdir(tmp_path / "checkpoints") == []
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_best_metric_that_is_not_measured_names_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"best_metric 'accuracy' is not in .* bits_per_byte"):
        run(tmp_path, devices=ONE, best_metric="accuracy")


def test_on_a_chip_steps_begin_while_the_evaluation_is_compiled(
    uninterrupted, tmp_path, monkeypatch
):
    compile_eval_step, state = loop.compile_eval_step, {"steps": 0}

    class Counted:
        def __init__(self, step):
            self.step = step

        def __call__(self, *arguments):
            state["steps"] += 1
            return self.step(*arguments)

    def late(*arguments):
        deadline = time.monotonic() + 60
        while state["steps"] < 3:
            assert time.monotonic() < deadline, "training waits for the evaluation step"
            time.sleep(0.01)
        return compile_eval_step(*arguments)

    compile_train_step = loop.compile_train_step
    monkeypatch.setattr(loop, "compile_train_step", lambda *a: Counted(compile_train_step(*a)))
    monkeypatch.setattr(loop, "compile_eval_step", late)
    monkeypatch.setattr(Platform, "works_beside_host", True)
    assert run(tmp_path, devices=ONE)["bits_per_byte"] == uninterrupted[1]["bits_per_byte"]


def test_an_evaluation_that_cannot_be_compiled_ends_the_run_before_it_is_due(tmp_path, monkeypatch):
    def broken(*arguments):
        raise MemoryError("out of memory")

    seen = []
    words = dict(total_steps=5000, eval_every=5000, on_evaluation=lambda *a: seen.append(a))
    monkeypatch.setattr(loop, "compile_eval_step", broken)
    monkeypatch.setattr(Platform, "works_beside_host", True)
    with pytest.raises(MemoryError):
        run(tmp_path, devices=ONE, **words)
    assert not seen
    assert all(record["step"] < 5000 for record in untimed_records(tmp_path))
