"""`launch/analyze.py thoughts` on a run of two steps, and what it refuses."""

import dataclasses
import json
import types

import pytest

from latent_jax.analysis.thoughts.figure import thoughts_page_figures
from latent_jax.analysis.thoughts.measure import ThoughtsOptions, thinker_of
from latent_jax.commands.analyze import analyze
from latent_jax.experiments.evaluate import load_run
from latent_jax.models.inline_memory import Inline
from latent_jax.reports.page.analyses import analysis_sections
from tests.analysis.pictures import drawn


def test_a_run_is_analyzed_beside_another(reasoner, tmp_path, capsys):
    options = ThoughtsOptions(
        workdir=(reasoner, reasoner),
        max_problems=20,
        json=str(tmp_path / "thoughts.json"),
        out=str(tmp_path),
    )
    records = analyze("thoughts", options)["thoughts"]
    assert json.loads((tmp_path / "thoughts.json").read_text()) == records
    assert {record["n_problems"] for record in records} == {20}
    own = records[: len(records) // 2]
    assert own == records[len(records) // 2 :]
    parts = {record["part"] for record in own}
    assert parts == {
        *("intervention", "gain", "geometry", "decoded", "attention", "probe", "problem")
    }
    ways = [r["way"] for r in own if r["part"] == "intervention" and r["block"] == 0]
    assert ways[0] == "own" and ways[1] == "of another problem" and "k=2" in ways
    assert "attention to them masked" in ways
    (gain,) = (r for r in own if r["part"] == "gain")
    assert gain["row_flops_with"] > gain["row_flops_without"] and gain["text_weight"] == 0
    probed = {r["target"] for r in own if r["part"] == "probe"}
    assert {"written token", "operand", "operator", "result's first token"} <= probed
    by_block = [r for r in own if r.get("way") == "own"]
    assert by_block[0]["n_results"] == 40
    assert by_block[0]["n_results"] == sum(r["n_results"] for r in by_block[1:])
    slots = [(r["block"], r["slot"]) for r in own if r["part"] == "problem"]
    assert slots == [(1, 1), (1, 2), (2, 1), (2, 2)]
    last = [r for r in own if r["part"] == "problem"][-1]
    assert last["step_there"].startswith(last["result_there"][:-1])
    assert "#### " in last["step_there"] and len(last["step_said"]) > 2
    printed = capsys.readouterr().out
    assert "20 held-out problems" in printed and "effective" in printed
    drawn(tmp_path / "thoughts.png")
    figure, problem = thoughts_page_figures("thoughts", records)
    assert len(figure.records) == 2 * len(ways)
    assert "of results lost" in figure.caption and "shares of scripts" in printed
    assert problem.columns[-3:] == ["step_there", "step_said", "step_said_swapped"]
    (section,) = analysis_sections([tmp_path / "thoughts.json"], [thoughts_page_figures])
    assert [part.id for part in section.parts] == [
        "analysis_thoughts",
        "analysis_thoughts_problem",
        "analysis_thoughts_table",
    ]
    assert thoughts_page_figures("other", [{"part": "group", "method": "Latent"}]) == []


def test_what_has_no_thoughts_is_refused(reasoner):
    with pytest.raises(ValueError, match="say which reasoners to analyze: --workdir RUN"):
        analyze("thoughts", ThoughtsOptions())
    with pytest.raises(ValueError, match="7"):
        analyze("thoughts", ThoughtsOptions(workdir=(reasoner,), checkpoint="7"))
    with pytest.raises(ValueError, match="best, latest or a step, not 'first'"):
        analyze("thoughts", ThoughtsOptions(workdir=(reasoner,), checkpoint="first"))
    found = load_run(reasoner)
    bare = dataclasses.replace(found.task.thinker, slots="none")
    task = dataclasses.replace(found.task, thinker=bare)
    named = types.SimpleNamespace(method="Thoughts[none]")
    with pytest.raises(ValueError, match=r"Thoughts\[none\] has no blocks"):
        thinker_of(types.SimpleNamespace(config=named, task=task))
    rows = dataclasses.replace(found.task.thinker, inline=Inline(9))
    task = dataclasses.replace(found.task, thinker=rows)
    with pytest.raises(ValueError, match="layout='inline': attention to thoughts is analyzed in"):
        thinker_of(types.SimpleNamespace(config=named, task=task))
    named = types.SimpleNamespace(method="Bytes")
    with pytest.raises(ValueError, match=r"Bytes has no thoughts: name a run of Thoughts"):
        thinker_of(types.SimpleNamespace(config=named, task=object()))
