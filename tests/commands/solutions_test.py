"""`launch/analyze.py solutions` on a run of two steps, and what it refuses."""

import dataclasses
import json
import types

import pytest

from latent_jax.analysis.solutions.measure import SolutionsOptions
from latent_jax.commands.analyze import analyze
from latent_jax.commands.report_page import DRAWERS
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.thought_slots import Curriculum
from tests.analysis.pictures import drawn
from tests.small_reasoner import THINKER


def test_a_run_writes_in_all_ways(reasoner, tmp_path, capsys):
    options = SolutionsOptions(
        workdir=(reasoner,),
        max_problems=10,
        k=("1", "2"),
        json=str(tmp_path / "solutions.json"),
        out=str(tmp_path),
    )
    records = analyze("solutions", options)["solutions"]
    assert json.loads((tmp_path / "solutions.json").read_text()) == records
    assert [record["way"] for record in records] == ["as trained", "no thoughts", "k=1"]
    for record in records:
        assert record["n_problems"] == 10 and record["run"] == reasoner and record["step"] == 2
        n_blocks = record["blocks_per_solution"]
        assert record["slots_per_solution"] == pytest.approx(record["k"] * n_blocks)
        assert 0 < record["tokens_per_solution"] <= 26
        assert record["right_share_low"] <= record["right_share"] <= record["right_share_high"]
    none = records[1]
    assert none["blocks_per_solution"] == 0 and not none["opens_blocks"]
    printed = capsys.readouterr().out
    assert "10 held-out problems" in printed and "no thoughts" in printed
    drawn(tmp_path / "solutions.png")
    # A page shows these records as a table, and no figure of another analysis takes them.
    assert not any(draw("solutions", records) for draw in DRAWERS)


def test_what_cannot_be_asked_for_is_refused(reasoner, monkeypatch):
    with pytest.raises(ValueError, match="say which reasoners to analyze: --workdir RUN"):
        analyze("solutions", SolutionsOptions())
    with pytest.raises(ValueError, match="--k=3 is more than the 2 slots in use of Thoughts"):
        analyze("solutions", SolutionsOptions(workdir=(reasoner,), k=("3",)))
    bare = dataclasses.replace(THINKER, slots="none", curriculum=Curriculum(0))
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(name="", method="Thoughts[none]"),
        task=LatentReasoning(bare, 0.3),
        metadata={"step": 2},
    )
    monkeypatch.setattr("latent_jax.commands.analyze.load_run", lambda *_: run)
    with pytest.raises(ValueError, match=r"Thoughts\[none\] has no blocks .*: leave out --k"):
        analyze("solutions", SolutionsOptions(workdir=("runs/none",), k=("0",)))
