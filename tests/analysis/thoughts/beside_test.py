"""Probes of several runs side by side, and what is above the control."""

import pytest

from latent_jax.analysis.thoughts.beside import probe_columns, probe_rows, probe_tables
from latent_jax.reports.tables import text_table


def probe(run, slots, accuracy, target="operand", slot=1, name=None):
    return {
        "part": "probe",
        "run": run,
        "name": name or run,
        "slots": slots,
        "source": "state behind it",
        "target": target,
        "slot": slot,
        "accuracy": accuracy,
        "majority_share": 0.1,
    }


def test_a_run_stands_beside_its_control():
    records = [
        probe("latent", "latent", 0.9),
        probe("latent", "latent", 0.8, slot=2),
        {"part": "geometry", "run": "other", "name": "other"},
        probe("pauses", "pause", 0.3),
    ]
    first, second = probe_rows(records)
    assert (first["accuracy_1"], first["accuracy_2"]) == (0.9, 0.3)
    assert first["above_control_1"] == pytest.approx(0.6) and "above_control_2" not in first
    assert second["accuracy_1"] == 0.8 and "above_control_1" not in second
    shown = text_table(probe_rows(records), probe_columns(records))
    assert "pauses" in shown and "+60.0" in shown and "more than pauses" in shown
    (table,) = probe_tables("thoughts", records)
    assert table.columns[-1] == "latent, more than pauses" and len(table.records) == 2
    assert table.records[0]["right, pauses"] == 0.3


def test_without_a_control_nothing_is_above_one():
    records = [probe("a", "latent", 0.9, name="same"), probe("b", "written", 0.3, name="same")]
    (row,) = probe_rows(records)
    assert "above_control_1" not in row
    assert [column.header for column in probe_columns(records)][-2:] == ["right,\na", "right,\nb"]
    assert probe_tables("thoughts", records[:1]) == []
    assert probe_columns([probe("a", "pause", 0.9)])[-1].header == "right,\na"
