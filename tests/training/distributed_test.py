"""Several processes train as one, stop as one, and end when one of them is gone."""

import os
import signal
import socket
import time

import chex
import jax
import pytest

from latent_jax.command_line import TRY_AGAIN
from tests.training.byte_task import run, saved_state, start_process, untimed_records


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


JOIN = "from latent_jax.training import *\ninitialize_distributed()\n"


def start_pair(code: str, **environment: str):
    port = free_port()
    return [
        start_process(
            f"import pathlib\n{code}",
            JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(i),
            **environment,
        )
        for i in range(2)
    ]


def train_pair(code: str):
    """Run `code` in both processes of a run to its end."""
    processes = start_pair(JOIN + code)
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors


def wait_for(processes, is_there):
    deadline = time.monotonic() + 200
    while not is_there():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def trains(workdir):
    """Return whether a run has written its first record."""
    return lambda: (workdir / "metrics.jsonl").exists() and untimed_records(workdir)


def steps(workdir):
    return sorted(int(name) for name in os.listdir(workdir / "checkpoints"))


def test_two_processes_train_to_the_same_loss_as_one(tmp_path):
    two, one = tmp_path / "two", tmp_path / "one"
    train_pair(f"run(pathlib.Path({str(two)!r}), strategy='fsdp')")
    run(one, strategy="fsdp", devices=jax.devices()[:2])
    expected, found = untimed_records(one), untimed_records(two)
    assert len(found) == len(expected) and found[-1]["step"] == 12
    for a, b in zip(expected, found, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert b[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5))
    assert sorted(p.name for p in (two / "checkpoints" / "12" / "run").glob("data_*")) == [
        "data_0.json",
        "data_1.json",
    ]
    with pytest.raises(ValueError, match=r"process_count is 2, here it is 1; start as many"):
        run(two, strategy="fsdp", devices=jax.devices()[:2])


def test_sigterm_to_one_process_stops_all_at_one_step(tmp_path):
    code = f"run(pathlib.Path({str(tmp_path)!r}), total_steps=10**6, eval_every=0, save_every=0)"
    processes = start_pair(JOIN + code)
    wait_for(processes, trains(tmp_path))
    processes[1].terminate()
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], errors
    (step,) = steps(tmp_path)
    assert f"stopped at step {step} of" in errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_nothing_is_lost_where_one_process_gets_sigterm(tmp_path, victim):
    words = (
        "strategy='fsdp', eval_every=0, save_every=0, log_every=1, "
        "optimizer=OptimizerConfig(schedule='constant', warmup_steps=2)"
    )
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    processes = start_pair(f"{JOIN}run(pathlib.Path({str(stopped)!r}), total_steps=10**6, {words})")
    wait_for(processes, trains(stopped))
    processes[victim].terminate()
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], errors
    (step,) = steps(stopped)
    assert [record["step"] for record in untimed_records(stopped)] == [*range(1, step + 1)]

    for workdir in (stopped, whole):
        train_pair(f"run(pathlib.Path({str(workdir)!r}), total_steps={step + 8}, {words})")
    assert untimed_records(stopped) == untimed_records(whole)
    chex.assert_trees_all_equal(*(saved_state(workdir)[0] for workdir in (stopped, whole)))


@pytest.mark.slow
def test_sigterm_in_an_evaluation_stops_all_in_it(tmp_path):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    evaluates = tmp_path / "evaluates"
    endless = f"""
def endless():
    pathlib.Path({str(evaluates)!r}).touch()
    while True:
        yield from eval_batches()
run(pathlib.Path({str(stopped)!r}), eval_every=4, save_every=0, log_every=1, eval_data=endless)
"""
    processes = start_pair(JOIN + endless)
    wait_for(processes, evaluates.exists)
    processes[1].terminate()
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], errors
    assert steps(stopped) == [4]
    assert {record["split"] for record in untimed_records(stopped)} == {"train"}

    for workdir in (stopped, whole):
        train_pair(f"run(pathlib.Path({str(workdir)!r}), eval_every=4, save_every=0, log_every=1)")
    assert untimed_records(stopped) == untimed_records(whole)
    chex.assert_trees_all_equal(*(saved_state(workdir)[0] for workdir in (stopped, whole)))


LOOSE = """
from latent_jax.command_line import run_command
run_command(lambda: run(pathlib.Path({!r}), total_steps=10**6, eval_every=0, save_every={}))
"""


@pytest.mark.parametrize("save_every", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_ends_the_other_with_one_line(tmp_path, save_every):
    processes = start_pair(LOOSE.format(str(tmp_path), save_every))
    wait_for(processes, trains(tmp_path))
    processes[1].kill()
    began = time.monotonic()
    errors = processes[0].communicate(timeout=60)[1]
    assert time.monotonic() - began < 45
    if save_every == 0:
        assert processes[0].returncode == TRY_AGAIN == 75, errors
        assert "error: step" in errors and "failed in process 0 of 2" in errors, errors
        assert "resumes from the last checkpoint" in errors
    else:  # it may wait for the other one's part of a checkpoint, and then JAX ends it
        assert processes[0].returncode in (TRY_AGAIN, -signal.SIGABRT), errors
    assert processes[1].wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_process_that_hangs_is_taken_for_dead_after_its_heartbeats_cease(tmp_path):
    processes = start_pair(LOOSE.format(str(tmp_path), 0), LATENT_JAX_HEARTBEAT_SECONDS="10")
    wait_for(processes, trains(tmp_path))
    processes[1].send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        errors = processes[0].communicate(timeout=60)[1]
        assert 5 < time.monotonic() - began < 45
        assert processes[0].returncode == -signal.SIGABRT, errors
        assert "another task died" in errors and "heartbeat" in errors
    finally:
        processes[1].kill()
        processes[1].communicate()


REFUSALS = """
import sys
from latent_jax.training import run_folder

run_folder.SHARED_WITHIN_SECONDS = 1.0
folder = pathlib.Path({folder!r})

def refuse(what, start):
    try:
        start()
    except ValueError as error:
        print(what, "refused:", error, file=sys.stderr)

def other_text():
    open_run_folder(folder / "text", dict(seed=0), agreed=dict(text=jax.process_index()))

refuse("unseen", lambda: run(folder / str(jax.process_index())))
refuse("foreign", lambda: run(folder / "foreign"))
refuse("other", other_text)
"""


def test_what_is_wrong_for_one_process_is_refused_by_all(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("x")
    processes = start_pair(JOIN + REFUSALS.format(folder=str(tmp_path)))
    first, second = (process.communicate(timeout=200)[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0], (first, second)
    for error in (first, second):
        assert "unseen refused: " in error and "gs://BUCKET" in error
        assert "process 1 does not see the run folder" in error
        assert "other refused: process 1 has another text than process 0: start the same" in error
    assert "foreign refused: " in first and "holds no config.json" in first
    assert "foreign refused: process 0 could not open the run folder" in second
