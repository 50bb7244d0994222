"""launch/slurm.sbatch under a Slurm that is played: srun starts the tasks here, as processes.

JAX finds them by the variables of Slurm itself, so two of them train as one.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.experiments.commands_test import SMALL, write_texts
from tests.launching import environment

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm.sbatch"

SRUN = """
import json, os, pathlib, subprocess, sys
folder = pathlib.Path(os.environ["FAKE_SLURM"])
options = [word for word in sys.argv[1:] if word.startswith("--")][:2]
command = sys.argv[1 + len(options):]
names = ("JAX_DISTRIBUTED", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")
words = {name: os.environ.get(name) for name in names}
(folder / "srun").write_text(json.dumps({"options": options, "command": command, **words}))
tasks = [
    subprocess.Popen(command, env={**os.environ, "SLURM_NTASKS": os.environ["TASKS"],
        "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i), "SLURM_STEP_NODELIST": "localhost"})
    for i in range(int(os.environ["TASKS"]))
]
(folder / "tasks").write_text(" ".join(str(task.pid) for task in tasks))
sys.exit(max(task.wait() % 256 if task.wait() >= 0 else 128 - task.wait() for task in tasks))
"""
SCANCEL = """
import os, pathlib, signal, sys
folder = pathlib.Path(os.environ["FAKE_SLURM"])
(folder / "scancel").write_text(" ".join(sys.argv[1:]))
for pid in (folder / "tasks").read_text().split():
    os.kill(int(pid), signal.SIGTERM)
"""
SCONTROL = """
import os, pathlib, sys
(pathlib.Path(os.environ["FAKE_SLURM"]) / "scontrol").write_text(" ".join(sys.argv[1:]))
"""


@pytest.fixture
def slurm(tmp_path):
    """A folder of the three commands, and what they were called with."""
    for name, code in (("srun", SRUN), ("scancel", SCANCEL), ("scontrol", SCONTROL)):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
        tool.chmod(0o755)
    return tmp_path


def submit(slurm, *arguments, tasks=1, cwd=ROOT, **changes):
    """Start the script as Slurm would, from a copy of it."""
    copy = slurm / "slurm_script"
    copy.write_bytes(SCRIPT.read_bytes())
    words = {
        "PATH": f"{slurm / 'bin'}:{os.environ['PATH']}",
        "FAKE_SLURM": str(slurm),
        "TASKS": str(tasks),
        "SLURM_JOB_ID": str(os.getpid()),  # JAX makes a port of it
        "SLURM_SUBMIT_DIR": str(cwd),
        "LATENT_JAX_PYTHON": sys.executable,
        **changes,
    }
    return subprocess.Popen(
        ["bash", copy, *map(str, arguments)],
        env={**environment(), "XLA_FLAGS": "", **words},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def called(slurm, name):
    file = slurm / name
    return file.read_text() if file.exists() else None


def test_flags_go_to_the_trainer_and_jax_is_left_as_the_user_has_it(slurm):
    words = {"LATENT_JAX_PYTHON": "/bin/true", "JAX_COMPILATION_CACHE_DIR": "", "XLA_FLAGS": ""}
    done = submit(slurm, "--config", "a b.py", **words)
    assert done.wait(60) == 0, done.stdout.read()
    srun = json.loads(called(slurm, "srun"))
    assert srun["command"] == ["/bin/true", "launch/train.py", "--config", "a b.py"]
    assert "--gpu-bind=none" in srun["options"] and srun["JAX_DISTRIBUTED"] == "1"
    # The trainer keeps programs itself, where that is safe (training/startup.py).
    assert srun["JAX_COMPILATION_CACHE_DIR"] == srun["XLA_FLAGS"] == ""
    assert called(slurm, "scontrol") is None


@pytest.mark.parametrize(("status", "is_asked"), [(0, True), (143, True), (3, False), (143, False)])
def test_only_a_job_that_was_asked_to_stop_and_has_more_to_do_is_queued_again(
    slurm, status, is_asked
):
    wait = f"trap 'exit {status}' TERM; touch {slurm}/ready; while :; do sleep 0.05; done"
    done = submit(slurm, "bash", "-c", wait if is_asked else f"exit {status}")
    if is_asked:
        while not ((slurm / "ready").exists() and called(slurm, "tasks")):
            assert done.poll() is None
            time.sleep(0.02)
        done.send_signal(signal.SIGUSR1)
    assert done.wait(60) == status
    is_queued = called(slurm, "scontrol") == f"requeue {os.getpid()}"
    assert is_queued == (is_asked and status != 0)
    assert (called(slurm, "scancel") is not None) == is_asked


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        ((), {}, "what shall be trained? sbatch launch/slurm.sbatch --config"),
        (
            ("--config=x",),
            {"LATENT_JAX_PYTHON": "/absent/python"},
            "there is no Python at /absent/python",
        ),
        (("--config=x",), {"SLURM_SUBMIT_DIR": "/"}, "/ is not the root of the repository"),
        (("--config=x",), {"SLURM_SUBMIT_DIR": ""}, "there is no Slurm job here"),
        (("--config=x",), {"SLURM_JOB_ID": ""}, "there is no Slurm job here"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(slurm, words, changes, message):
    done = submit(slurm, *words, **changes)
    text = done.communicate(timeout=60)[0]
    assert done.returncode == 2 and message in text and called(slurm, "srun") is None
    assert text.count("error: ") == 1
    # Who started it as a plain script may not know how it is meant to be used.
    assert ("sbatch --nodes=2 launch/slurm.sbatch" in text) == ("no Slurm job" in message)


@pytest.mark.parametrize("job", ["", "1"])
@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--config=x", "--help")])
def test_help_is_its_usage_and_starts_nothing(slurm, words, job):
    done = submit(slurm, *words, SLURM_JOB_ID=job)
    text = done.communicate(timeout=60)[0]
    assert done.returncode == 0 and called(slurm, "srun") is None
    assert text.startswith("Trains under Slurm") and "sbatch --nodes=2 launch/slurm" in text
    assert "#" not in text and "set -euo" not in text


def test_tasks_and_gpus_of_a_node_are_as_many():
    text = SCRIPT.read_text()
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    (tasks,) = [line for line in text.splitlines() if line.startswith("#SBATCH --ntasks-per-node=")]
    assert f"#SBATCH --gpus-per-node={tasks.partition('=')[2]}\n" in text
    # Slurm reads no directive after the first command.
    directives = [n for n, line in enumerate(text.splitlines()) if line.startswith("#SBATCH")]
    commands = [n for n, line in enumerate(text.splitlines()) if line and line[0] != "#"]
    assert max(directives) < min(commands)


@pytest.mark.slow
def test_two_tasks_train_as_one_and_go_on_after_the_time_limit(slurm):
    text = write_texts(slurm / "text")
    workdir = slurm / "run"
    flags = (
        "--config=configs/latent_lm.py:codes=16",
        f"--workdir={workdir}",
        "--config.data.source=files",
        f"--config.data.files=('{text}',)",
        f"--config.data.cache_dir={slurm / 'cache'}",
        *SMALL,
        "--config.training.eval_every=0",
        "--config.training.save_every=0",
        "--config.training.log_every=1",
        "--config.budget.steps=150",
    )
    job = submit(slurm, *flags, tasks=2)
    metrics = workdir / "metrics.jsonl"
    while not metrics.exists() or not metrics.read_text():
        assert job.poll() is None, job.stdout.read()
        time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    output = job.communicate(timeout=300)[0]
    assert job.returncode == 143, output
    assert called(slurm, "scancel") == f"--signal=TERM {os.getpid()}"
    assert called(slurm, "scontrol") == f"requeue {os.getpid()}"
    (saved,) = [int(folder.name) for folder in (workdir / "checkpoints").iterdir()]
    assert f"stopped at step {saved} of 150" in output and saved < 150
    assert json.loads((workdir / "environment.json").read_text())["process_count"] == 2

    (slurm / "scontrol").unlink()
    again = submit(slurm, *flags, tasks=2)
    output = again.communicate(timeout=600)[0]
    assert again.returncode == 0, output
    assert f"resumed from step {saved}" in output and called(slurm, "scontrol") is None
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == [*range(1, 151), 150]
