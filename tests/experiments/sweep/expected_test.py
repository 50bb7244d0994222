"""Expected times, in the units of people, and the speed that they assume."""

import pytest

from latent_jax.experiments.sweep import expected
from latent_jax.experiments.sweep.command import _print_plan
from latent_jax.experiments.sweep.expected import YEAR_SECONDS, expect, spoken


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (99, "99 s"),
        (600, "10 min"),
        (9000, "2.5 h"),
        (40 * 3600, "40 h"),
        (30 * 86_400, "30 days"),
        (3.4 * YEAR_SECONDS, "3 years"),
        (12_345 * YEAR_SECONDS, "12,000 years"),
    ],
)
def test_times_are_in_the_units_of_people(seconds, text):
    assert spoken(seconds) == text


def record(name, gigabytes):
    return {
        "name": name,
        "method": "Bytes",
        "size": "3m",
        "n_parameters": 3_000_000,
        "bytes_per_token": 1.0,
        "planned_steps": 10,
        "planned_tokens_seen": 1e9 * gigabytes,
        "planned_bytes_seen": 1e9 * gigabytes,
        "planned_train_flops": 1e15 * gigabytes,
        "train_flops_per_byte": 1e6,
        "tokenizer_flops_per_byte": 0.0,
        "memory_bytes": 1e9,
        "model_flops_per_byte": 3e5,
    }


@pytest.fixture
def machine(monkeypatch):
    """Let matrix products make 100 GFLOP/s."""
    monkeypatch.setattr(expected, "matmul_rate", lambda: 1e11)


def test_the_plan_says_cells_total_and_speed(machine, tmp_path, capsys):
    records = [record("small", 0.36), record("large", 36)]
    speed = expect(records, tmp_path, 2)
    assert [r["expected_seconds"] for r in records] == pytest.approx([36e3, 36e5])
    _print_plan(records, speed)
    printed = capsys.readouterr().out
    small, large = (
        next(line for line in printed.splitlines() if line.startswith(name))
        for name in ("small", "large")
    )
    assert small.endswith("10 h") and large.endswith("42 days")
    assert "3.64e+16 training FLOPs, about 21 days with 2 workers" in printed
    assert "Times assume 10 GFLOP/s for each worker" in printed
    assert "make 100 GFLOP/s, divided among 2, and 20% of that is assumed until" in printed


def test_finished_cells_show_their_speed(machine, tmp_path, monkeypatch):
    records = [record("small", 0.36), record("large", 36)]
    done = {**records[0], "bytes_seen": 0.36e9, "seconds": 14_400.0}
    monkeypatch.setattr(
        expected, "read_result", lambda folder, name: done if name == "small" else None
    )
    speed = expect(records, tmp_path, 2)
    assert speed.flops_per_s == pytest.approx(25e9)
    assert "50% of that is what one finished cell reached" in str(speed)
    assert records[1]["expected_seconds"] == pytest.approx(14.4e5)
