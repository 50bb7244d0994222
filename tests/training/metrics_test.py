import json
import os
import time

import numpy as np
import pytest

from latent_jax.platform import chip
from latent_jax.training import progress as progress_module
from latent_jax.training.chrono import Chrono
from latent_jax.training.metrics import MetricsWriter, add_scores, read_records
from latent_jax.training.progress import Progress
from tests.bucket import Bucket, use_bucket


def test_sums_are_exact_where_float32_is_not():
    sums = {}
    for _ in range(3):
        add_scores(
            sums,
            {
                "n_bytes": np.int32(2**31 - 1),
                "nats": np.float32(0.1),
                "counts": np.ones(2, np.float32),
            },
        )
    assert int(sums["n_bytes"]) == 3 * (2**31 - 1)
    assert float(sums["nats"]) == 3 * float(np.float32(0.1))
    np.testing.assert_array_equal(sums["counts"], [3.0, 3.0])


def record(step, value=0.1):
    return {"step": step, "split": "train", "bits_per_byte": value}


def test_numbers_come_back_to_the_last_bit_and_a_resume_cuts_what_is_later(tmp_path):
    path = tmp_path / "metrics.jsonl"
    value = np.float64(1 / 3) + 2**-50
    writer = MetricsWriter(path, tmp_path / "tensorboard", 0)
    for step in (1, 2, 3):
        writer.write(record(step, value))
    writer.close()
    assert read_records(path)[0]["bits_per_byte"] == value
    with path.open("a") as file:
        file.write('{"step": 4, "spl')
    assert [r["step"] for r in read_records(path)] == [1, 2, 3]
    writer = MetricsWriter(path, tmp_path / "tensorboard", 2)
    writer.write(record(3, 7.0))
    writer.close()
    assert [(r["step"], r["bits_per_byte"]) for r in read_records(path)] == [
        (1, value),
        (2, value),
        (3, 7.0),
    ]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32("-inf")])
def test_a_metric_that_json_cannot_hold_is_named(tmp_path, value):
    writer = MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard", 0)
    with pytest.raises(ValueError, match=r"train metric 'bits_per_byte' is (nan|-?inf) at step 5"):
        writer.write(record(5, value))
    writer.close()
    assert read_records(tmp_path / "metrics.jsonl") == []


def test_a_full_disk_is_named(tmp_path):
    writer = MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard", 0)
    writer._file.close()
    writer._file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    with pytest.raises(ValueError, match=r"cannot write to .*No space left.*resumes"):
        writer.write(record(1))
    # What could not be written is still in the buffer of the file.
    with pytest.raises(OSError, match="No space left"):
        writer._file.close()
    writer._tensorboard.close()


def test_chrono_stands_still_in_a_pause_and_goes_on_from_saved_seconds():
    chrono = Chrono(100.0)
    assert chrono.seconds == 100.0
    chrono.start()
    time.sleep(0.02)
    with chrono.pause():
        before = chrono.seconds
        time.sleep(0.05)
        assert chrono.seconds == before
    assert before >= 100.02 and chrono.seconds < before + 0.04


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("TPU v4", 275e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("cpu", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_peak_is_known_or_not_shown(kind, peak):
    known = chip(kind)
    assert (known and known.flops) == peak


def test_without_a_terminal_progress_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "LINE_EVERY_SECONDS", 1000.0)
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    progress = Progress(total_steps=100, step=0, enabled=True)
    now[0] = 60.0
    for _ in range(10):
        progress.step()
        now[0] += 2.0
    shown = {**record(10, 2.5), "loss": 1.25, "bytes_per_second": 12_345.0}
    progress.train({**shown, "model_flops_utilization": 0.414})
    progress.train({**shown, "step": 20})
    progress.validation(record(20, 2.25))
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    # The minute before the first step does not count: 90 steps of 20 / 9 seconds are left.
    assert lines[0] == (
        "step 10/100: loss 1.2500, 2.5000 bits/byte, 12.3 kB/s, MFU 41.4%, 0:03:20 left"
    )
    assert lines[1] == "step 20/100: validation 2.2500 bits/byte"


def test_progress_says_how_long_chunks_are(capsys):
    progress = Progress(total_steps=100, step=0, enabled=True)
    progress.train({**record(1, 2.5), "loss": 1.25, "bytes_per_chunk_1": 4.128})
    progress.validation({**record(1, 2.25), "bytes_per_chunk_1": 3.6})
    assert capsys.readouterr().err.splitlines() == [
        "step 1/100: loss 1.2500, 2.5000 bits/byte, 4.13 bytes per chunk",
        "step 1/100: validation 2.2500 bits/byte, 3.60 bytes per chunk",
    ]


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_on_a_terminal_progress_is_a_bar():
    terminal = Terminal()
    progress = Progress(total_steps=10, step=4, enabled=True, stream=terminal)
    progress.train({**record(5), "loss": 1.25, "bytes_per_second": 12_345.0})
    for _ in range(6):
        progress.step()
    progress.close()
    assert "10/10" in terminal.text and "12.3 kB/s" in terminal.text


def test_in_a_bucket_records_are_there_after_a_flush_and_a_resume_cuts_them(monkeypatch):
    objects = use_bucket(monkeypatch)
    path, tensorboard = "gs://bucket/run/metrics.jsonl", "gs://bucket/run/tensorboard"
    writer = MetricsWriter(path, tensorboard, 0)
    for step in (1, 2, 3):
        writer.write(record(step))
    assert read_records(path) == []
    writer.flush()
    assert [r["step"] for r in read_records(path)] == [1, 2, 3]
    writer.write(record(4))
    writer.close()
    assert [r["step"] for r in read_records(path)] == [1, 2, 3, 4]
    (first,) = [name for name in objects if name.startswith("/bucket/run/tensorboard/")]

    writer = MetricsWriter(path, tensorboard, 2)
    assert [r["step"] for r in read_records(path)] == [1, 2]
    writer.write(record(3, 7.0))
    writer.close()
    assert [(r["step"], r["bits_per_byte"]) for r in read_records(path)] == [
        (1, 0.1),
        (2, 0.1),
        (3, 7.0),
    ]
    assert first in objects  # TensorBoard reads the files of all starts


def test_a_bucket_that_refuses_is_named(monkeypatch):
    use_bucket(monkeypatch)
    writer = MetricsWriter("gs://bucket/metrics.jsonl", "gs://bucket/tensorboard", 0)
    writer.write(record(1))

    def refuse(*_, **__):
        raise RuntimeError("403 Forbidden")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "_open", refuse)
        with pytest.raises(ValueError, match=r"cannot write .*403 Forbidden.*resumes"):
            writer.flush()
    writer.close()
    assert len(read_records("gs://bucket/metrics.jsonl")) == 1
