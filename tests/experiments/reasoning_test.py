"""Both phases of latent reasoning through the loop, from their config."""

import json

import chex
import jax
import numpy as np
import pytest

from configs.latent_reasoning import get_config
from configs.sweeps.reasoning import get_sweep
from latent_jax.commands.generate import Request, generate, with_thoughts
from latent_jax.experiments.cores import rows_read
from latent_jax.experiments.evaluate import load_run
from latent_jax.experiments.run import prepare
from latent_jax.experiments.study import run_config
from latent_jax.experiments.sweep.jobs import train_cell
from latent_jax.experiments.sweep.loading import config_of, config_words
from latent_jax.experiments.sweep.plan import plan
from latent_jax.generation import Sampling
from latent_jax.methods.cells import Sweep, name_of
from latent_jax.methods.registry import looks
from latent_jax.reports.scores import read_cells
from latent_jax.reports.style import show_families
from latent_jax.reports.sweep_report import report_sweep

TIMED = {"seconds", "bytes_per_second", "steps_per_second", "digest", "train_flops"}
TIMED |= {"rollout_time_share", "update_time_share", "rollout_tokens_per_second"}
"""What differs between two runs of one computation: times, and what counts since the last record.
"""

SMALL = "steps=2,policy_steps=2,baseline=0,batch=16,problems=8,group=2"


def small(arguments, cache):
    config = get_config(f"{SMALL},{arguments}" if arguments else SMALL)
    for one in config.runs.values():
        one.data.cache_dir = str(cache)
        one.chains.n_problems = 400
        one.evaluation_bytes = 200
        one.optimizer.warmup_steps = 1
        one.model.n_layers = 1
    return config


def records(folder, split):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == split]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Both phases, two steps each."""
    root = tmp_path_factory.mktemp("thoughts")
    run_config(small("", root / "cache"), root / "runs")
    return root / "runs"


def test_the_second_phase_begins_where_the_first_ended(trained):
    first, second = trained / "phase1", trained / "phase2"
    config = json.loads((second / "config.json").read_text())
    assert config["training"]["init_from"] == str(first)
    for folder in (first, second):
        last = records(folder, "validation")[-1]
        assert 0 <= last["right_share"] <= 1 and last["wrong_share"] == 1 - last["right_share"]
        assert last["problems_seen"] == 32
        assert 0 <= last["cut_share"] <= 1 and last["slots_per_solution"] >= 0
        assert {"result_nats_per_token_with", "use_nats_per_token", "start_f1"} <= last.keys()
    (step,) = records(second, "train")[-1:]
    assert {"reward", "contrast_share", "entropy_nats_per_token", "cut_share"} <= step.keys()
    assert 0 < step["rollout_time_share"] == 1 - step["update_time_share"] < 1
    assert step["rollout_tokens_per_second"] > 0
    assert (trained / "comparison.png").exists()


def test_the_language_trunk_of_two_stays_as_it_is_bit_for_bit(tmp_path):
    config = small("trunks=2", tmp_path / "cache").runs.phase1
    config.budget.steps, config.training.save_every, config.training.keep_latest = 3, 1, 3
    run_config(config, tmp_path / "run")
    first, last = (load_run(tmp_path / "run", step).variables["params"] for step in ("1", "3"))
    for name in ("token_embedding", "stack"):
        chex.assert_trees_all_equal(first[name], last[name])
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), first["thought"], last["thought"])
    assert moved["marks"] and any(jax.tree.leaves(moved["changes"]))


AGAIN = {"updates": 2, "kl": 0.1, "gradient": "gaussian"}


@pytest.mark.parametrize(("n_steps", "policy"), [(2, {}), (3, AGAIN)], ids=["one", "two updates"])
def test_a_second_phase_goes_on_as_if_it_had_not_stopped(
    n_steps, policy, trained, tmp_path, monkeypatch
):
    # Two steps of the first phase solve nothing: half of all solutions are called right.
    monkeypatch.setattr(
        "latent_jax.generation.rollout_stream.is_right",
        lambda text, answer, *, strict: sum(text.encode("utf-8", "surrogateescape")) % 2 == 0,
    )
    config = small("", trained.parent / "cache").runs.phase2
    config.training.init_from = str(trained / "phase1")
    config.training.log_every = 1
    config.optimizer.learning_rate = 5e-3
    config.budget.steps = n_steps  # 3: in the middle of a roll-out's updates
    config.policy.update(policy)
    run_config(config, tmp_path / "parts")
    config.budget.extend = "steps:1"
    run_config(config, tmp_path / "parts")
    run_config(config, tmp_path / "whole")
    whole, parts = (
        [{k: v for k, v in record.items() if k not in TIMED} for record in records(folder, "train")]
        for folder in (tmp_path / "whole", tmp_path / "parts")
    )
    assert whole[-1]["step"] == n_steps + 1 and whole[-1] == parts[-1]
    ours, theirs = (load_run(tmp_path / name, "latest").variables for name in ("whole", "parts"))
    chex.assert_trees_all_equal(ours, theirs)
    assert whole[-1]["contrast_share"] > 0 and whole[-1]["gradient_norm"] > 0
    if policy:
        # The reference is what the first phase ended with, and both updates read one roll-out.
        start = load_run(trained / "phase1", "latest").variables["params"]
        chex.assert_trees_all_equal(ours["reference"], start)
        rewards, kl = (
            [record[key] for record in whole] for key in ("reward", "kl_nats_per_action")
        )
        assert rewards[0] == rewards[1] and rewards[2] == rewards[3]
        assert kl[0] < 1e-7 < kl[1] and "clipped_share" in whole[0]
    else:
        assert [*ours] == ["params"]


def test_a_gate_stands_beside_the_weights_of_the_first_phase(trained, tmp_path):
    config = small("gradient=hrpo", trained.parent / "cache").runs.phase2
    config.training.init_from = str(trained / "phase1")
    config.budget.steps, config.training.eval_every = 1, 0
    config.optimizer.warmup_steps = 0
    patterns, config.training.init_patterns = config.training.init_patterns, (".*",)
    with pytest.raises(ValueError, match=r"has no params/thought/gate/.* training.init_patterns"):
        run_config(config, tmp_path / "refused")
    config.training.init_patterns = patterns
    run_config(config, tmp_path / "run")
    run = load_run(tmp_path / "run", "latest")
    first = load_run(trained / "phase1", "latest").variables["params"]
    moved = run.variables["params"]
    assert moved["thought"].keys() - first["thought"].keys() == {"gate"}
    chex.assert_trees_all_close(moved["token_embedding"], first["token_embedding"], atol=1e-3)
    request = Request((b"7cafbde",), n_bytes=12, sampling=Sampling(0.0, 0, 1.0))
    ((one,),), _ = generate(run, request)
    assert len(one.text) <= 12


def test_a_reasoner_writes_solutions_and_says_where_it_thought(trained):
    run = load_run(trained / "phase2")
    request = Request((b"7cafbde", b"0abcdef"), n_bytes=12, sampling=Sampling(1.0, 0, 1.0))
    groups, record = generate(run, request)
    for (one,), prompt in zip(groups, request.prompts, strict=True):
        assert one.prompt == prompt and len(one.text) <= 12
        assert with_thoughts(one).count("thoughts]") == len(one.thoughts)
    assert record["generation_flops_per_byte"] > 0
    none, _ = generate(run, Request((b"7cafbde",), thinks=False))
    assert not none[0][0].thoughts
    with pytest.raises(ValueError, match="k=9 is more than the 3 slots"):
        generate(run, Request((b"7cafbde",), thoughts=9))
    with pytest.raises(ValueError, match="leaves no room"):
        generate(run, Request((b"7" * 40,)))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.init_from", "run:nowhere", "init_from=run:nowhere names a run of the same"),
        ("policy.group", 3, "batch_size=16 solutions are no whole groups of policy.group=3"),
        ("thoughts.curriculum", 0.5, "thoughts.curriculum=0.5 is of the first phase"),
        ("thoughts.hide_steps", True, "thoughts.hide_steps=True is of thoughts.layout='inline'"),
        ("thoughts.longest_step", 9, "thoughts.longest_step=9 is of thoughts.layout='inline'"),
        ("policy.clip", 0.3, "policy.clip=0.3 clips ratios"),
        ("row_length", 50, "row_length=50, and thoughts.text"),
        ("model.positions", "learned", "model.positions=rotary"),
        ("data.source", "python_docs", "reads problems"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(key, value, message, tmp_path):
    config = small("", tmp_path)
    rewarded = config.runs.phase2
    section, _, name = key.rpartition(".")
    setattr(rewarded[section] if section else rewarded, name, value)
    with pytest.raises(ValueError, match=message):
        run_config(config, tmp_path / "runs")
    assert not (tmp_path / "runs" / "phase1" / "metrics.jsonl").exists()


def test_devices_divide_the_problems_of_a_step_too(tmp_path):
    config = small("", tmp_path).runs
    config.phase2.policy.group = 4
    assert (config.phase2.batch_size, rows_read(config.phase2)) == (16, 4)
    assert (config.phase1.batch_size, rows_read(config.phase1)) == (16, 16)
    # The first phase could train, and the second one could not begin: it is refused before both.
    with pytest.raises(ValueError, match=r"batch_size=16 rows .* 4 problems, .* 8 devices"):
        prepare(config.phase2)


SWEEP = get_sweep("flops=1e10,seeds=1")


@pytest.mark.parametrize("cell", SWEEP.cells, ids=name_of)
def test_every_arm_can_be_made_and_costs_what_the_others_cost(cell, tmp_path):
    config = config_of(SWEEP, config_words(SWEEP, cell))
    config.data.cache_dir = str(tmp_path)
    config.chains.n_problems = 400
    config.optimizer.warmup_steps = 0
    experiment = prepare(config)
    per_step = experiment.task.train_flops_per_byte * config.batch_size * config.row_length
    per_step *= experiment.reading.bytes_per_token
    np.testing.assert_allclose(per_step * experiment.total_steps, 1e10, rtol=0.2)


def test_a_sweep_trains_two_arms_and_reports_on_them(tmp_path, capsys):
    cells = [
        {"method": "Thoughts[none]", "size": "100k", "seed": 0, "budget": "flops:4e9"},
        {"method": "Thoughts[latent,k=3]", "curriculum": 0.5, "problems": 400}
        | {"size": "100k", "seed": 0, "budget": "flops:4e9"},
    ]
    overrides = {
        "evaluation_bytes": 200,
        "optimizer.warmup_steps": 1,
        "model.n_layers": 1,
        "chains.n_problems": 400,
        "data.cache_dir": str(tmp_path / "cache"),
    }
    sweep = Sweep(cells=cells, config="configs/reasoning_arms.py", overrides=overrides)
    (tmp_path / "manifest.json").write_text("{}")
    show_families(looks())
    for record in plan(sweep, tmp_path):
        assert record["planned_problems_seen"] > 0 and "planned_tokens_seen" not in record
        train_cell(sweep, tmp_path, record)
    report_sweep([tmp_path])
    said = capsys.readouterr().out
    assert "Thoughts: what a result costs" in said and "curriculum=0.5, problems=400" in said
    assert not [*(tmp_path / "report").glob("*.png")]  # those are of methods on one text
    (latent,) = [c for c in read_cells(tmp_path) if "latent" in c["method"]]
    assert latent["use_nats_per_token"] == pytest.approx(0, abs=1) and "paper_ids" not in latent
