"""Training that is killed (SIGKILL) at twenty random moments ends as if it never had been.

    python -m pytest -n 0 -m slow tests/faults/kills_test.py

It takes an hour or more. N_KILLS=3 kills three times; -k inline is one case alone.
"""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from latent_jax.json_files import DIGEST
from latent_jax.training.metrics import read_records
from tests.experiments.commands_test import write_texts
from tests.launching import ROOT, environment

N_KILLS = int(os.environ.get("N_KILLS", "20"))
TIMED = ("seconds", "bytes_per_second", "steps_per_second", DIGEST)
TIMED += ("rollout_time_share", "update_time_share", "rollout_tokens_per_second")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained and killed.

    Attributes:
        config: file of configs/ and its arguments.
        steps: optimizer steps of each run, by the name of its folder; "" is that of the command.
        words: keys of the configuration besides.
    """

    config: str
    steps: Mapping[str, int]
    words: tuple[str, ...]

    def folders(self, folder):
        """Return the folders of the runs."""
        return [folder / "run" / name if name else folder / "run" for name in self.steps]


TEXT = (
    "row_length=64",
    "batch_size=8",
    "budget.bytes=0",
    "budget.steps=240",
    "optimizer.warmup_steps=2",
    "training.eval_every=20",
    "training.save_every=4",
    "training.log_every=4",
    "training.keep_best=1",
    "evaluation_bytes=2000",
    "data.num_workers=1",
    "data.source=files",
    "data.files=('FOLDER/text',)",
    "data.cache_dir=FOLDER/cache",
    "model.d_model=32",
    "model.n_layers=1",
    "model.n_heads=2",
)


def on_text(config):
    return Case(config, {"": 240}, TEXT)


def thinking(arguments, steps, *words):
    """Return a case of chains of operations, whose runs have names."""
    shared = (
        "chains.n_problems=400",
        "evaluation_bytes=200",
        "optimizer.warmup_steps=2",
        "training.eval_every=8",
        "training.save_every=2",
        "training.log_every=2",
        "training.keep_best=1",
        "data.cache_dir=FOLDER/cache",
        "model.n_layers=1",
        "model.d_model=32",
        *words,
    )
    counts = f"steps={steps['phase1']},policy_steps={steps.get('phase2', 0)},baseline=0"
    return Case(
        f"latent_reasoning.py:{counts},{arguments}",
        steps,
        tuple(f"runs.{name}.{word}" for name in steps for word in shared),
    )


CASES = {
    "language_modeling": on_text("language_model.py:size=nano,method=Bytes"),
    "snippets": on_text("m1.py:size=nano,optimizer=adamw,windows=anywhere"),
    "latent_language": on_text("latent_lm.py:size=nano,codes=16"),
    "integers": on_text("m1.py:size=nano,optimizer=adamw,windows=anywhere,quantized=true"),
    "latent_reasoning": thinking("batch=8", {"phase1": 120}),
    "inline": thinking("batch=8", {"phase1": 120}, "thoughts.layout=inline"),
    "policy": thinking("batch=8,problems=4,group=2", {"phase1": 20, "phase2": 60}),
}


def start(folder, case):
    """Start training; its processes are one group."""
    return subprocess.Popen(
        [
            *(sys.executable, ROOT / "launch" / "train.py"),
            f"--config={ROOT}/configs/{case.config}",
            f"--workdir={folder / 'run'}",
            *(f"--config.{word.replace('FOLDER', str(folder))}" for word in case.words),
        ],
        stdout=open(folder / "printed.txt", "ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment(),
    )


def size_of(folders):
    records = [folder / "metrics.jsonl" for folder in folders]
    return sum(path.stat().st_size for path in records if path.exists())


def kill_somewhen(run, folders, draw):
    """Kill a run in its start, or up to two seconds after its first records; it may end before."""
    if draw.random() < 0.25:
        time.sleep(draw.uniform(0.0, 8.0))
    else:
        size = size_of(folders)
        while run.poll() is None and size_of(folders) <= size:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 2.0))
    is_killed = run.poll() is None
    if is_killed:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return is_killed


def outcome(folder):
    """Return the records without clocks, and the arrays of the last checkpoint, by path."""
    found = read_records(folder / "metrics.jsonl")
    records = [{k: v for k, v in record.items() if k not in TIMED} for record in found]
    steps = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.is_dir()]
    last = folder / "checkpoints" / str(max(steps))
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
@pytest.mark.parametrize("name", CASES)
def test_kills_change_no_bit(tmp_path, name):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        write_texts(folder / "text")
    case = CASES[name]
    assert start(whole, case).wait() == 0, (whole / "printed.txt").read_text()
    draw, n_kills = random.Random(name), 0
    for _ in range(N_KILLS):
        n_kills += kill_somewhen(start(parts, case), case.folders(parts), draw)
    assert start(parts, case).wait() == 0, (parts / "printed.txt").read_text()
    printed = (parts / "printed.txt").read_text()
    assert n_kills >= N_KILLS // 2 and "resumed from step" in printed, printed
    assert "Traceback" not in printed and "error:" not in printed, printed
    for one, other, steps in zip(
        case.folders(whole), case.folders(parts), case.steps.values(), strict=True
    ):
        records, arrays = outcome(one)
        found_records, found_arrays = outcome(other)
        assert found_records == records and records[-1]["step"] == steps
        assert found_arrays.keys() == arrays.keys() and len(arrays) > 10
        for key, array in arrays.items():
            np.testing.assert_array_equal(found_arrays[key], array, key)
