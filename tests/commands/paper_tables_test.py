"""The tables that follow from the paper's numbers, and the slip of the slides about it."""

import json
import math

import pytest

from latent_jax.commands.paper_tables import datasets, perplexities, report_paper


def test_the_slides_took_two_to_the_nats():
    best, *others = perplexities()
    assert best["nats_per_token"] == pytest.approx(0.87 * 4.28 * math.log(2))
    assert round(best["two_to_the_nats"], 2) == 5.98  # what the slides print
    assert round(best["perplexity_per_token"], 1) == 13.2
    assert best["bits_per_byte_at_its_length"] == pytest.approx(0.87)
    assert [row["perplexity_per_token"] for row in others] == [6.63, 6.94]
    # By the slip the model is ahead of both, by its perplexity twice as far behind as they are.
    assert best["two_to_the_nats"] < min(row["perplexity_per_token"] for row in others)
    assert all(0.49 < row["times_first"] < 0.54 for row in others)


def test_the_records_are_written_table_by_table(tmp_path, capsys):
    report_paper([], "lester_2024", results=str(tmp_path / "lester_2024.json"))
    printed = capsys.readouterr().out
    assert "26,188,185,600" in printed and "13.21" in printed and "5.98" in printed
    kept = json.loads((tmp_path / "lester_2024_datasets.json").read_text())
    assert kept == datasets() and len(kept) == 16
    assert json.loads((tmp_path / "lester_2024_perplexity.json").read_text()) == perplexities()
    with pytest.raises(ValueError, match="reads no folder: leave out runs/x"):
        report_paper(["runs/x"], "lester_2024")
