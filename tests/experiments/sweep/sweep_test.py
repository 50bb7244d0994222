"""A sweep as a user starts it: once, again, with a cell that fails, and killed at any moment."""

import json
import os
import pydoc_data.topics
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.launching import ROOT, environment, launch
from tests.tokenizers.byte_models import byte_model

SWEEP = """
from latent_jax.methods.cells import Sweep, product

def get_sweep(arguments):
    arguments, _, then = arguments.partition(";then;")
    steps, *methods = arguments.split(";")
    words = dict(size=("100k",), row_length=(64,), budget=(f"tokens:{{int(steps) * 256}}",))

    def follow_up(records):
        assert [record["method"] for record in records] == methods
        assert all(record["bits_per_byte"] > 0 for record in records)
        return product(method=then.split(";"), **words)

    return Sweep(
        cells=product(method=methods, **words),
        overrides={{
            "data.source": "files",
            "data.files": ("{text}",),
            "data.cache_dir": "{cache}",
            "data.validation_percent": 10.0,
            "data.test_percent": 10.0,
            "batch_size": 4,
            "model.d_model": 16,
            "model.n_heads": 1,
            "model.n_layers": 1,
            "tokenizer.m1": "{m1}",
            "tokenizer.lanes": 8,
            "optimizer.warmup_steps": 2,
            "evaluation_bytes": 1500,
            "training.save_every": {save_every},
            "training.log_every": 1,
        }},
        train_bytes=4000,
        cut_bytes=200,
        paper_batches=2,
        follow_up=follow_up if then else None,
    )
"""
SAVE_EVERY = 5


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "text").mkdir()
    for name, topic in list(pydoc_data.topics.topics.items())[:60]:
        (folder / "text" / f"{name.replace('/', '_')}.txt").write_text(topic)
    path = folder / "tiny.py"
    (folder / "m1.msgpack").write_bytes(byte_model(lanes=8).to_bytes())
    words = dict(text=folder / "text", cache=folder / "cache", m1=folder / "m1.msgpack")
    words["save_every"] = SAVE_EVERY
    path.write_text(SWEEP.format(**words))
    return path


def results(workdir):
    paths = sorted(workdir.glob("cells/*/cell.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_a_sweep_trains_every_cell_once_and_says_what_failed(sweep_file, tmp_path):
    words = f"{sweep_file}:8;Bytes;then;AC[v=256]"  # its rows are encoded first, by another job
    plan = launch("sweep.py", words, f"--workdir={tmp_path}", "--dry_run")
    assert plan.returncode == 0, plan.stderr
    assert "1 cells" in plan.stdout and "decide which others are added" in plan.stdout
    assert "feed" in plan.stdout and not results(tmp_path)
    first = launch(
        "sweep.py", words, f"--workdir={tmp_path}", "--workers=2", f"--json={tmp_path}/all.json"
    )
    assert first.returncode == 0, first.stderr
    cells = results(tmp_path)
    assert [cell["method"] for cell in cells.values()] == ["AC[v=256]", "Bytes"]
    records = json.loads((tmp_path / "all.json").read_text())
    assert {r["name"]: r["bits_per_byte"] for r in records} == {
        name: cell["bits_per_byte"] for name, cell in cells.items()
    }
    for cell in cells.values():
        # Rows of ids that were encoded beforehand end where a text does.
        least = 1.0 if cell["method"] == "Bytes" else 0.9
        assert cell["step"] == 8 and least * 8 * 256 <= cell["tokens_seen"] <= 8 * 256
        assert least * 2 * 256 <= cell["paper_ids"] <= cell["paper_expected_ids"] == 2 * 256
        # The paper divides by the ratio of the whole text, which such short texts differ from.
        tolerance = 0.1 if cell["method"] == "Bytes" else 0.5
        assert cell["paper_bits_per_byte"] == pytest.approx(cell["bits_per_byte"], rel=tolerance)
        assert cell["paper_bits_per_byte"] != cell["bits_per_byte"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert {cell["state"] for cell in manifest["cells"]} == {"finished"}

    # A cell that fails is tried again and reported; those that are finished stay as they are.
    before = {path: path.read_bytes() for path in tmp_path.glob("cells/*/metrics.jsonl")}
    blocked = tmp_path / "cells" / "GZip_v=65k_-100k-row_length=64-tokens_2048"
    blocked.mkdir()
    (blocked / "something").write_text("else")
    words += ";GZip[v=65k]"
    options = (f"--workdir={tmp_path}", "--workers=1", "--retries=1")
    second = launch("sweep.py", words, *options)
    assert second.returncode == 2
    assert "1 cells are not finished" in second.stderr and "is not empty" in second.stderr
    assert second.stderr.count("failed  ") == 2 and "2 of 3 cells are finished" in second.stderr
    assert {path: path.read_bytes() for path in before} == before


class Sweeping:
    """A sweep in a process group of its own, which can be killed at once."""

    def __init__(self, words, workdir):
        self.workdir = workdir
        arguments = (words, f"--workdir={workdir}", "--workers=2")
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "launch" / "sweep.py", *arguments],
            env=environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self):
        """Kill the sweep, not its workers, which must notice; return the last step of each cell."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return last_steps(self.workdir)
            time.sleep(0.1)
        raise AssertionError("the workers outlive their sweep")


def last_steps(workdir):
    steps = {}
    for path in workdir.glob("cells/*/metrics.jsonl"):
        found = re.findall(r'"step": (\d+)', path.read_text())
        steps[path.parent.name] = int(found[-1]) if found else 0
    return steps


@pytest.mark.slow
def test_a_sweep_that_is_killed_ten_times_ends_with_the_same_table(sweep_file, tmp_path):
    """Minutes: python -m pytest -m slow tests/experiments/sweep -s prints what each kill cost."""
    words = f"{sweep_file}:1200;Bytes;GZip[v=256];AC[v=256];StaticAC[v=256]"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reference = launch("sweep.py", words, f"--workdir={whole}", "--workers=2")
    assert reference.returncode == 0, reference.stderr
    draw = random.Random(0)
    for kill in range(10):
        sweeping = Sweeping(words, killed)
        time.sleep(draw.uniform(10, 20))
        if sweeping.process.poll() is not None:
            print(f"kill {kill}: the sweep had ended")
            break
        reached = sweeping.kill()
        saved = {
            name: max(
                (
                    int(p.name)
                    for p in (killed / "cells" / name / "checkpoints").glob("[0-9]*")
                    if p.name.isdigit()
                ),
                default=0,
            )
            for name in reached
        }
        print(f"kill {kill}: reached {reached}, saved {saved}")
        for name, step in reached.items():
            # A save is asynchronous: the one before it may be the last that is whole.
            assert step - saved[name] <= 2 * SAVE_EVERY
    last = launch("sweep.py", words, f"--workdir={killed}", "--workers=2")
    assert last.returncode == 0, last.stderr
    one, two = results(whole), results(killed)
    assert one.keys() == two.keys() and len(one) == 4
    for name, cell in one.items():
        for key in ("bits_per_byte", "paper_bits_per_byte", "bytes_seen", "step", "train_flops"):
            assert two[name][key] == cell[key], (name, key)
