"""A command that is asked to end leaves no process and no shared memory behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    "--config.batch_size=8",
    "--config.row_length=512",
    "--config.budget.bytes=0",
    "--config.budget.steps=100000",
    "--config.training.eval_every=0",
    "--config.model.d_model=32",
    "--config.model.n_layers=1",
    "--config.model.n_heads=2",
)


@pytest.mark.parametrize(
    ("line", "all_processes", "n_workers"),
    [
        # Workers start while programs are compiled.
        ("steps of 8 x 512 ids", False, 1),
        # So signals a terminal, `timeout` and Slurm.
        ("first step after", True, 2),
    ],
)
def test_sigterm_leaves_nothing(tmp_path, line, all_processes, n_workers):
    text = tmp_path / "text.txt"
    text.write_bytes(b"".join(b"%d green bottles, " % i for i in range(20_000)))
    printed = tmp_path / "printed.txt"
    with open(printed, "wb") as file:
        run = subprocess.Popen(
            [
                *(sys.executable, ROOT / "launch" / "train.py"),
                f"--config={ROOT}/configs/language_model.py:size=nano",
                f"--workdir={tmp_path / 'run'}",
                "--config.data.source=files",
                f"--config.data.files=('{text}',)",
                f"--config.data.cache_dir={tmp_path / 'cache'}",
                f"--config.data.num_workers={n_workers}",
                *SMALL,
            ],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        )
    deadline = time.monotonic() + 300
    while line not in printed.read_text():
        assert run.poll() is None and time.monotonic() < deadline, printed.read_text()
        time.sleep(0.1)
    time.sleep(1.0)
    if all_processes:
        os.killpg(run.pid, signal.SIGTERM)
    else:
        run.terminate()
    assert run.wait(timeout=300) == 128 + signal.SIGTERM
    # The process that tracks shared memory goes a moment later, and complains of what is left.
    while _is_there(run.pid):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.1)
    said = printed.read_text()
    assert "leaked" not in said and "Traceback" not in said, said
    assert ("stopped at step" in said) == all_processes


def _is_there(group):
    """Return whether a process of the group lives."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
