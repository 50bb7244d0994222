"""Training that is killed (SIGKILL) at twenty random moments ends as if it never had been."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from latent_jax.json_files import DIGEST
from latent_jax.training.metrics import read_records
from tests.experiments.commands_test import write_texts
from tests.launching import ROOT, environment

N_KILLS = 20
TIMED = ("seconds", "bytes_per_second", "steps_per_second", DIGEST)

CONFIGS = {
    "language_modeling": "language_model.py:size=nano,method=Bytes",
    "snippets": "m1.py:size=nano,optimizer=adamw,windows=anywhere",
    "latent_language": "latent_lm.py:size=nano,codes=16",
}

WORDS = (
    "--config.row_length=64",
    "--config.batch_size=8",
    "--config.budget.bytes=0",
    "--config.budget.steps=240",
    "--config.optimizer.warmup_steps=2",
    "--config.training.eval_every=20",
    "--config.training.save_every=4",
    "--config.training.log_every=4",
    "--config.training.keep_best=1",
    "--config.evaluation_bytes=2000",
    "--config.data.num_workers=1",
    "--config.model.d_model=32",
    "--config.model.n_layers=1",
    "--config.model.n_heads=2",
)


def start(folder, config):
    """Start training; its processes are one group."""
    return subprocess.Popen(
        [
            *(sys.executable, ROOT / "launch" / "train.py"),
            f"--config={ROOT}/configs/{config}",
            f"--workdir={folder / 'run'}",
            "--config.data.source=files",
            f"--config.data.files=('{folder / 'text'}',)",
            f"--config.data.cache_dir={folder / 'cache'}",
            *WORDS,
        ],
        stdout=open(folder / "printed.txt", "ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment(),
    )


def kill_somewhen(run, folder, draw):
    """Kill a run in its start, or up to two seconds after its first records; it may end before."""
    records = folder / "run" / "metrics.jsonl"
    if draw.random() < 0.25:
        time.sleep(draw.uniform(0.0, 8.0))
    else:
        size = records.stat().st_size if records.exists() else 0
        while run.poll() is None and (not records.exists() or records.stat().st_size <= size):
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 2.0))
    is_killed = run.poll() is None
    if is_killed:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return is_killed


def outcome(folder):
    """Return the records without clocks, and the arrays of the last checkpoint, by path."""
    found = read_records(folder / "run" / "metrics.jsonl")
    records = [{k: v for k, v in record.items() if k not in TIMED} for record in found]
    steps = [int(path.name) for path in (folder / "run" / "checkpoints").iterdir() if path.is_dir()]
    last = folder / "run" / "checkpoints" / str(max(steps))
    tree = {item: arrays(last / item) for item in ("variables", "optimizer")}
    return records, {key: np.asarray(leaf) for key, leaf in flat(tree, "").items()}


def arrays(item):
    """Return an item of a checkpoint as NumPy arrays, by what Orbax says of itself."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(item).item_metadata.tree
        args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(item, restore_args=args)


def flat(tree, prefix):
    if not isinstance(tree, dict | list | tuple):
        return {prefix: tree} if tree is not None else {}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {k: v for name, sub in items for k, v in flat(sub, f"{prefix}/{name}").items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_twenty_kills_change_no_bit(tmp_path, name):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        write_texts(folder / "text")
    assert start(whole, CONFIGS[name]).wait() == 0, (whole / "printed.txt").read_text()
    draw, n_kills = random.Random(name), 0
    for _ in range(N_KILLS):
        n_kills += kill_somewhen(start(parts, CONFIGS[name]), parts, draw)
    assert start(parts, CONFIGS[name]).wait() == 0, (parts / "printed.txt").read_text()
    printed = (parts / "printed.txt").read_text()
    assert n_kills >= N_KILLS // 2 and "resumed from step" in printed, printed
    assert "Traceback" not in printed and "error:" not in printed, printed
    records, arrays = outcome(whole)
    found_records, found_arrays = outcome(parts)
    assert found_records == records and records[-1]["step"] == 240
    assert found_arrays.keys() == arrays.keys() and len(arrays) > 10
    for key, array in arrays.items():
        np.testing.assert_array_equal(found_arrays[key], array, key)
