"""`launch/analyze.py solutions` on runs of two steps, and what it refuses."""

import json

import pytest

from configs import latent_reasoning
from latent_jax.analysis.solutions.measure import SolutionsOptions
from latent_jax.commands.analyze import analyze
from latent_jax.commands.report_page import DRAWERS
from latent_jax.experiments.run import run
from tests.analysis.pictures import drawn


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A reasoner after two steps, which opens blocks, and one without blocks."""
    folder = tmp_path_factory.mktemp("solutions")
    made = latent_reasoning.get_config("steps=2,policy_steps=0,baseline=2,k=2").runs
    for name, config in made.items():
        config.model.update(d_model=16, n_heads=2, n_layers=1)
        config.chains.n_problems = 600
        config.data.cache_dir = str(folder / "cache")
        config.batch_size = 8
        config.thoughts.segment = 0  # training writes none
        config.evaluation_bytes = 200
        config.optimizer.warmup_steps = 1
        config.training.update(eval_every=2, save_every=2)
        run(config, folder / name)
    return [str(folder / name) for name in ("phase1", "none")]


def test_two_runs_write_in_all_ways(folders, tmp_path, capsys):
    options = SolutionsOptions(
        workdir=tuple(folders),
        max_problems=10,
        k=("0", "1", "2"),
        json=str(tmp_path / "solutions.json"),
        out=str(tmp_path),
    )
    records = analyze("solutions", options)["solutions"]
    assert json.loads((tmp_path / "solutions.json").read_text()) == records
    own, none = records[:-1], records[-1]
    assert [record["way"] for record in own] == [
        "as trained",
        "no thoughts",
        "k=0, marks only",
        "k=1",
    ]
    assert {record["n_problems"] for record in records} == {10}
    assert none["way"] == "no thoughts" and none["method"] == "Thoughts[none]"
    for record in (own[1], none):
        assert record["blocks_per_solution"] == record["slots_per_solution"] == 0
        assert not record["opens_blocks"]
    for record in own:
        most = record["k"] * record["blocks_per_solution"]
        assert record["slots_per_solution"] == pytest.approx(most)
        assert 0 < record["tokens_per_solution"] <= 26
        assert record["right_share_low"] <= record["right_share"] <= record["right_share_high"]
    printed = capsys.readouterr().out
    assert "10 held-out problems" in printed and "marks only" in printed
    drawn(tmp_path / "solutions.png")
    # A page shows these records as a table, and no figure of another analysis takes them.
    assert not any(draw("solutions", records) for draw in DRAWERS)


def test_what_cannot_be_asked_for_is_refused(folders):
    reasoner, none = folders
    with pytest.raises(ValueError, match="say which reasoners to analyze: --workdir RUN"):
        analyze("solutions", SolutionsOptions())
    with pytest.raises(ValueError, match="--k=3 is more than the 2 slots in use of Thoughts"):
        analyze("solutions", SolutionsOptions(workdir=(reasoner,), k=("3",)))
    with pytest.raises(ValueError, match=r"Thoughts\[none\] has no blocks .*: leave out --k"):
        analyze("solutions", SolutionsOptions(workdir=(none,), k=("0",)))
    with pytest.raises(ValueError, match="best, latest or a step, not 'first'"):
        analyze("solutions", SolutionsOptions(workdir=(none,), checkpoint="first"))
