"""Several processes train as one."""

import os
import socket
import time

import jax
import pytest

from tests.training.byte_task import run, start_process, untimed_records


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start_pair(code: str):
    port = free_port()
    code = "from latent_jax.training import *\ninitialize_distributed()\n" + code
    return [
        start_process(
            code,
            JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(i),
        )
        for i in range(2)
    ]


def test_two_processes_train_to_the_same_loss_as_one(tmp_path):
    two, one = tmp_path / "two", tmp_path / "one"
    code = f"import pathlib\nrun(pathlib.Path({str(two)!r}), strategy='fsdp')\n"
    processes = start_pair(code)
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
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
    processes = start_pair(
        f"import pathlib\nrun(pathlib.Path({str(tmp_path)!r}), total_steps=10**6, eval_every=0, "
        "save_every=0)\n"
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "metrics.jsonl").exists() or not untimed_records(tmp_path):
        assert time.monotonic() < deadline and processes[0].poll() is None
        time.sleep(0.1)
    processes[1].terminate()
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], errors
    (step,) = (int(name) for name in os.listdir(tmp_path / "checkpoints"))
    assert f"stopped at step {step} of" in errors[0]
