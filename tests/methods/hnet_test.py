"""The family HNet: names, what goes together, and the config file."""

import dataclasses

import pytest

from configs import hnet, language_model
from latent_jax.contracts import Vocabulary
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.names import parse
from latent_jax.methods.settings import check_settings
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task
from latent_jax.methods.unused import unused_options

VOCABULARY = Vocabulary(257, 256, 1.0)


def config_of(method, **words):
    config = language_model.get_config(f"method={method},size=nano")
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in words.items()})
    return config


def task_of(method, **words):
    return make_task(config_of(method, **words), VOCABULARY)


@pytest.mark.parametrize(
    ("name", "control", "text"),
    [
        ("HNet[n=6]", 1, "HNet[n=6]"),
        ("HNet[n=6,control=1,stages=1,router=cosine]", 1, "HNet[n=6]"),
        ("HNet[n=6,control=0]", 0, "HNet[n=6,control=0]"),
        ("HNet[n=3,stages=2]", 1, "HNet[n=3,stages=2]"),
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HNet", r"lacks n \(bytes per chunk"),
        ("HNet[n=1]", "n must be at least 2"),
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


def test_what_is_set_and_not_read_is_said():
    (said,) = unused_options(config_of("Bytes"), {"hierarchy.slack": 2.0})
    assert "hierarchy.slack=2.0 has no effect: " in said and "HNet or " in said
    assert said.endswith(" would read it, and the method is Bytes")
    assert not unused_options(config_of("HNet[n=4]"), {"hierarchy.slack": 2.0})
    config = config_of("HNet[n=4,control=0]")
    for key, reader in {
        "window": "hierarchy.outer=attention",
        "heads": "hierarchy.outer=attention",
        "control_steps": "control=1",
    }.items():
        (line,) = unused_options(config, {f"hierarchy.{key}": 9})
        assert reader in line
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
    assert set(hnet.get_config("router=stride,baseline=false").runs) == {"hnet"}
