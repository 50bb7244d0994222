"""A run whose folder is in a bucket: trained, stopped, resumed and scored by the commands."""

import json
import subprocess
import sys

import pytest

from tests import fake_gcs
from tests.experiments.commands_test import SMALL, records, write_texts
from tests.launching import ROOT, environment

pytest.importorskip("gcsfs", reason="needs pip install -e .[gs]")


@pytest.fixture
def server():
    server = fake_gcs.start_server()
    yield server
    server.shutdown()


def launch(server, script, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "launch" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment(), **fake_gcs.environment(server)},
        timeout=600,
    )


def train(server, workdir, folder, steps):
    text = write_texts(folder / "text")
    return launch(
        server,
        "train.py",
        f"--config={ROOT}/configs/latent_lm.py:codes=16",
        f"--workdir={workdir}",
        "--config.data.source=files",
        f"--config.data.files=('{text}',)",
        f"--config.data.cache_dir={folder / 'cache'}",
        *SMALL,
        *steps,
    )


def content(server, name):
    return server.objects[f"runs/x/{name}"][1].decode()


@pytest.mark.slow
def test_train_stop_resume_and_evaluate_in_a_bucket(server, tmp_path):
    local = train(server, tmp_path / "run", tmp_path, [])
    assert local.returncode == 0, local.stderr
    workdir = "gs://bucket/runs/x"
    first = train(server, workdir, tmp_path, [])
    assert first.returncode == 0, first.stderr
    assert not (ROOT / "gs:").exists()
    names = {name.removeprefix("runs/x/") for name in server.objects}
    for name in ("config.json", "curves.png", "samples/step_0000003.txt", "metrics.jsonl"):
        assert name in names, sorted(names)
    assert any(name.startswith("tensorboard/events") for name in names)
    assert any(name.startswith("tokenizer/") for name in names)
    assert f"{workdir}/curves.png" in first.stdout and "bits/byte" in first.stdout

    # As if it had been killed after the checkpoint of step 3.
    for name in list(server.objects):
        if name.startswith("runs/x/checkpoints/6/"):
            del server.objects[name]
    again = train(server, workdir, tmp_path, [])
    assert again.returncode == 0, again.stderr
    assert "resumed from step 3 in gs://bucket/runs/x/checkpoints" in again.stderr
    timed = ("seconds", "bytes_per_second", "steps_per_second")
    found = [json.loads(line) for line in content(server, "metrics.jsonl").splitlines()]
    expected = records(tmp_path, "train") + records(tmp_path, "validation")
    key = lambda record: (record["split"], record["step"])  # noqa: E731
    for a, b in zip(sorted(expected, key=key), sorted(found, key=key), strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }

    scores = tmp_path / "scores.json"
    scored = launch(
        server, "evaluate.py", f"--workdir={workdir}", "--checkpoint=latest", f"--json={scores}"
    )
    assert scored.returncode == 0, scored.stderr
    (record,) = json.loads(scores.read_text())
    assert record["run"] == workdir and record["step"] == 6

    other = train(server, workdir, tmp_path, ["--config.seed=1"])
    assert other.returncode == 2 and "seed: 0 there, 1 now" in other.stderr
    absent = train(server, "gs://absent/x", tmp_path, [])
    assert absent.returncode == 2, absent.stderr
    assert "the run folder gs://absent/x cannot be read or written" in absent.stderr
