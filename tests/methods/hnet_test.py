"""The family HNet: names, what goes together, and the config file."""

import dataclasses

import jax.numpy as jnp
import pytest

from configs import hnet
from latent_jax.chunking.dynamic.schedule import aim
from latent_jax.contracts import Vocabulary
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.names import parse
from latent_jax.methods.settings import check_settings
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task
from latent_jax.methods.unused import unused_options
from latent_jax.tasks.boundary_policy import BoundaryPolicy
from tests.methods.hierarchical_configs import VOCABULARY, config_of, task_of


@pytest.mark.parametrize(
    ("name", "control", "text"),
    [
        ("HNet[n=6]", 1, "HNet[n=6]"),
        ("HNet[n=6,control=1,stages=1,router=cosine]", 1, "HNet[n=6]"),
        ("HNet[n=6,control=0]", 0, "HNet[n=6,control=0]"),
        ("HNet[n=3,stages=2]", 1, "HNet[n=3,stages=2]"),
        ("HNet[n=4.50]", 1, "HNet[n=4.5]"),
        ("HNet[n=4.0]", 1, "HNet[n=4]"),
        ("HNet[n=1.25,stages=2]", 1, "HNet[n=1.25,stages=2]"),
        ("HNet[n=4,router=stride]", 0, "HNet[n=4,router=stride]"),
        ("HNet[n=4,router=whitespace,control=0]", 0, "HNet[n=4,router=whitespace]"),
    ],
)
def test_names_state_what_is_unusual(name, control, text):
    method = parse(name)
    assert method["control"] == control and str(method) == text
    stages = task_of(name.replace(" ", "")).model_config.stages
    assert len(stages) == method["stages"]
    assert all(bool(stage.chunker.control_steps) == control for stage in stages)
    assert all(stage.chunker.rate == method["n"] for stage in stages)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HNet", r"lacks n \(bytes per chunk"),
        ("HNet[n=1]", "n must be more than 1"),
        ("HNet[n=0.5]", "n must be more than 1"),
        ("HNet[n=aut]", "'aut' is not a positive number such as 4 or 4.5, and is not auto"),
        ("HNet[n=auto,control=0]", "nothing holds the rate here: state n, or leave control out"),
        ("HNet[n=auto,router=whitespace]", "nothing holds the rate here: state n"),
        ("HNet[n=4.]", "'4.' is not a positive number such as 4 or 4.5"),
        ("HNet[n=4e0]", "'4e0' is not a positive number such as 4 or 4.5"),
        ("HNet[n=4.5k]", "'4.5k' is not a positive number such as 4 or 4.5"),
        ("HNet[n=4,stages=1.5]", "'1.5' is not a positive whole number such as 512"),
        ("HNet[n=4,control=2]", "control must be at most 1"),
        ("HNet[n=4,stages=5]", "stages must be at most 4"),
        ("HNet[n=4,router=cosin]", "unknown router 'cosin' .did you mean 'cosine'"),
        ("HNet[n=4,router=stride,control=1]", "stride decides by itself .* leave control out"),
        ("HNet[n=4,router=whitespace,stages=2]", "whitespace reads bytes, .* leave stages out"),
    ],
)
def test_names_that_make_no_sense_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name)


def test_the_network_over_chunks_is_the_section_model():
    task = task_of("HNet[n=4]", model__n_layers=3, model__d_model=64)
    assert task.model_config.main.stack.n_layers == 3 and task.model_config.widths == (64, 64)
    task = task_of("HNet[n=3,stages=2]", hierarchy__widths=(32, 64), model__d_model=96)
    assert task.model_config.widths == (32, 64, 96)
    attention = task_of("HNet[n=4]", hierarchy__outer="attention", hierarchy__window=7)
    outer = attention.model_config.stage.outer
    assert isinstance(outer, AttentionReach) and outer.window == 7 and outer.stack.norm == "rms"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model__positions": "learned"}, "needs model.positions=rotary; got 'learned'"),
        ({"hierarchy__widths": (8, 8)}, "has 2 widths, and HNet.n=4. has 1 stages: give one for"),
        ({"hierarchy__widths": (512,)}, "inner networks are at least as wide"),
        ({"snippets__every": 2}, "keys of a GPT over a tokenizer's ids"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        task_of("HNet[n=4]", **words)


def test_a_budget_of_flops_per_byte_chooses_the_width():
    config = config_of("HNet[n=4]", inference_flops_per_byte=2e5)
    solved = solve_shape(config, VOCABULARY)
    cost = make_task(solved, VOCABULARY).flops_per_byte
    assert solved.model.d_model != config.model.d_model and 1e5 < cost <= 2e5


@pytest.mark.parametrize("method", ["HNet[n=auto]", "HNet[n=auto,stages=2,router=stride]"])
def test_a_budget_of_flops_per_byte_chooses_n(method):
    config = config_of(method, hierarchy__flops_per_byte=1.4e6, name=f"my {method}")
    solved = solve_shape(config, VOCABULARY)
    n = parse(solved.method)["n"]
    assert solved.name == f"my {solved.method}" and 1.01 < n < 20.0
    cost = make_task(solved, VOCABULARY).flops_at_rate
    assert cost == pytest.approx(1.4e6, rel=1e-3)
    # What a step of generation costs at this rate, and what a task of the open name costs.
    model = make_task(solved, VOCABULARY).model_config
    assert cost == sum(model.forward_flops(config.row_length, at_rate=True).values())
    assert make_task(config, VOCABULARY).model_config == model
    assert solve_shape(solved, VOCABULARY).to_dict() == solved.to_dict()
    assert not unused_options(config, {"hierarchy.flops_per_byte": 1.4e6})


def test_n_is_solved_for_the_bytes_of_an_id():
    config = config_of("HNet[n=auto]", hierarchy__flops_per_byte=1.4e6)
    dearer = solve_shape(config, Vocabulary(257, 256, 0.9))
    assert parse(dearer.method)["n"] > parse(solve_shape(config, VOCABULARY).method)["n"]


@pytest.mark.parametrize(
    ("method", "hierarchy", "message"),
    [
        ("HNet[n=auto]", {}, r"HNet\[n=auto\] leaves n to be solved: set hierarchy.flops_per_byte"),
        ("HNet[n=auto]", {"flops_per_byte": 1e4}, "costs from .* with 256 bytes per chunk, to "),
        ("HNet[n=auto]", {"flops_per_byte": 1e9}, r"with 1.01: hierarchy.flops_per_byte=1e\+09 is"),
        ("HNet[n=4]", {"rate_from": 2.0}, "hierarchy.rate_steps=0 go together: give"),
        ("HNet[n=4]", {"rate_steps": 2}, "hierarchy.rate_from=0 and hierarchy.rate_steps=2 go"),
        (
            "HNet[n=4]",
            {"rate_from": 0.5, "rate_steps": 2},
            "hierarchy.rate_from must be 0, or more than 1 position per chunk; got 0.5",
        ),
        (
            "HNet[n=4,control=0]",
            {"rate_from": 2.0, "rate_steps": 9},
            "rate_from=2 moves what is aimed at, and nothing holds the rate",
        ),
    ],
)
def test_rates_that_cannot_be_are_refused(method, hierarchy, message):
    config = config_of(method)
    config.hierarchy.update(hierarchy)
    with pytest.raises(ValueError, match=message):
        make_task(config, VOCABULARY)


def test_n_and_the_width_are_not_solved_at_once():
    config = config_of("HNet[n=auto]", inference_flops_per_byte=1e6)
    config.hierarchy.flops_per_byte = 1e6
    with pytest.raises(ValueError, match=r"1e\+06 solves the width, and .* solves n: set one"):
        solve_shape(config, VOCABULARY)


def test_a_router_that_learns_by_reward_has_its_task():
    words = dict(hierarchy__group=3, hierarchy__advantage="scaled", hierarchy__policy_weight=0.5)
    task = task_of("HNet[n=4,router=policy]", **words)
    assert isinstance(task, BoundaryPolicy)
    assert (task.group, task.advantage, task.policy_weight) == (3, "scaled", 0.5)
    assert task.train_flops_per_byte == pytest.approx(9.0 * task.flops_per_byte)
    assert not isinstance(task_of("HNet[n=4]", **words), BoundaryPolicy)


def test_the_room_for_chunks_is_that_of_the_most_chunks_aimed_at():
    words = dict(hierarchy__rate_from=2.0, hierarchy__rate_steps=100)
    lengths = task_of("HNet[n=4,stages=2]", **words).model_config.lengths(256)
    assert lengths == task_of("HNet[n=2,stages=2]").model_config.lengths(256)
    words["hierarchy__rate_from"] = 8.0
    lengths = task_of("HNet[n=4]", **words).model_config.lengths(256)
    assert lengths == task_of("HNet[n=4]").model_config.lengths(256)


def test_what_is_set_and_not_read_is_said():
    (said,) = unused_options(config_of("Bytes"), {"hierarchy.slack": 2.0})
    assert said.startswith("hierarchy.slack=2.0 has no effect: BLT or ConceptMoE or HNet or ")
    assert said.endswith("would read it, and the method is Bytes")
    assert not unused_options(config_of("HNet[n=4]"), {"hierarchy.slack": 2.0})
    config = config_of("HNet[n=4,control=0]")
    for key, reader in {
        "window": "hierarchy.outer=attention",
        "heads": "hierarchy.outer=attention",
        "control_steps": "control=1",
        "flops_per_byte": "n=auto",
        "group": "router=policy",
        "advantage": "router=policy",
        "policy_weight": "router=policy",
    }.items():
        (line,) = unused_options(config, {f"hierarchy.{key}": 9})
        assert reader in line
    for router in ("stride", "whitespace"):
        still = config_of(f"HNet[n=4,router={router}]")
        (line,) = unused_options(still, {"hierarchy.boundary_weight": 0.1})
        assert f"a router that learns would read it, and {router} does not" in line
    assert not unused_options(config, {"hierarchy.boundary_weight": 0.1})
    (line,) = unused_options(config, {"inference_fit": "d_ff"})
    assert line.endswith("inference_flops_per_byte would read it, and it is 0")
    fitted = config_of("HNet[n=4]", inference_flops_per_byte=1e6)
    assert not unused_options(fitted, {"inference_fit": "d_ff"})
    config.hierarchy.outer = "attention"
    assert not unused_options(config, {"hierarchy.window": 9})
    (line,) = unused_options(config, {"hierarchy.state": 9})
    assert "hierarchy.outer=mamba" in line
    names = {field.name for field in dataclasses.fields(HierarchyConfig)}
    assert {"window", "heads", "state", "control_steps"} <= names


def test_the_config_file_has_a_byte_model_beside_it():
    runs = hnet.get_config("n=3,stages=2,control=0").runs
    assert runs.hnet.method == "HNet[n=3,stages=2,control=0]" and runs.bytes.method == "Bytes"
    assert runs.bytes.budget == runs.hnet.budget
    for config in runs.values():
        check_settings(config)
        assert make_task(config, VOCABULARY).flops_per_byte > 1e5
    moving = hnet.get_config("n=auto,flops=1.4e6,rate_from=2.5,rate_steps=9,router=policy")
    stage = make_task(moving.runs.hnet, VOCABULARY).model_config.stage
    assert stage.chunker.rate_from == 2.5 and stage.chunker.rate_steps == 9
    assert stage.chunker.kind == "policy" and 1.01 < stage.chunker.rate < 20
    assert set(hnet.get_config("router=stride,baseline=false").runs) == {"hnet"}


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_schedule_counts_optimizer_steps(accumulation):
    """A threshold follows every micro-batch, so that the model counts as many times as far."""
    words = dict(hierarchy__rate_from=2.0, hierarchy__rate_steps=100)
    task = task_of("HNet[n=8]", training__accumulation=accumulation, **words)
    chunker = task.model_config.stage.chunker
    assert chunker.control_steps == HierarchyConfig().control_steps

    def aimed(n_steps):
        n_done = jnp.float32(n_steps * accumulation)
        return float(aim(chunker.rate, chunker.rate_from, chunker.rate_steps, n_done))

    assert [aimed(n) for n in (0, 50, 100, 200)] == pytest.approx([2.0, 4.0, 8.0, 8.0])
