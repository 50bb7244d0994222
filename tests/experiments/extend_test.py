"""More budget after the end of a run, in the same run folder."""

import importlib.util
import json
import pydoc_data.topics

import chex
import jax
import pytest

from configs import language_model
from latent_jax.experiments.run import run
from latent_jax.experiments.study import extend
from latent_jax.training import Checkpoints


@pytest.fixture
def tiny(tmp_path):
    """Return a configuration of four steps, whose rates depend on the length of the run."""
    for number, key in enumerate(sorted(pydoc_data.topics.topics)[:12]):
        (tmp_path / f"{number}.txt").write_text(pydoc_data.topics.topics[key])
    config = language_model.get_config("method=Bytes,size=nano")
    config.update(row_length=16, batch_size=8, evaluation_bytes=500)
    config.data.update(source="files", files=(f"{tmp_path}/*.txt",), cache_dir=f"{tmp_path}/cache")
    config.data.update(validation_percent=30.0, test_percent=0.0)
    config.model.update(d_model=16, n_heads=1, n_layers=1)
    config.budget.update(bytes=0.0, steps=4.0)
    config.optimizer.update(warmup_steps=1, schedule="wsd", decay_fraction=0.25)
    config.training.update(progress=False, eval_every=0, save_every=0, log_every=1)
    return config


def train(config, folder):
    return run(config, folder, pictures=False)


def variables(folder):
    with Checkpoints(folder / "checkpoints", is_reader=True) as checkpoints:
        step, shapes = checkpoints.variable_shapes()
        one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), shapes
        )
        return step, jax.device_get(checkpoints.restore_variables(abstract)[0])


def rates(folder):
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record["learning_rate"] for record in records if record["split"] == "train"]


def test_an_extended_run_goes_on_and_stays_extended(tiny, tmp_path):
    folder = tmp_path / "run"
    assert train(tiny, folder)["step"] == 4
    assert extend(tiny, "steps:4") == {"budget.extend": "steps:4"}
    assert train(tiny, folder)["step"] == 8
    peak = tiny.optimizer.learning_rate
    # Decayed at the planned end, back at the peak, and decayed again at the new one.
    assert rates(folder)[1:3] == pytest.approx([peak, peak])
    assert rates(folder)[4:7] == pytest.approx([peak, peak, peak]) and rates(folder)[7] < peak
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded["budget"]["extend"] == "steps:4" and recorded["budget"]["steps"] == 4.0
    before = (folder / "metrics.jsonl").read_text()
    assert train(tiny, folder)["step"] == 8  # the same command adds nothing
    tiny.budget.extend = ""
    assert train(tiny, folder)["step"] == 8  # nor does the first one
    assert (folder / "metrics.jsonl").read_text() == before
    assert json.loads((folder / "config.json").read_text())["budget"]["extend"] == "steps:4"
    tiny.budget.extend = "steps:2"
    with pytest.raises(ValueError, match=r"extended by steps:4, which is more than steps:2"):
        train(tiny, folder)
    tiny.budget.extend = "steps:6"
    assert train(tiny, folder)["step"] == 10


def test_from_before_its_decay_a_run_goes_on_as_if_it_had_been_planned_so_long(tiny, tmp_path):
    train(tiny, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["3", "4"]
    extend(tiny, "steps:4")
    tiny.training.restore_step = 3
    train(tiny, tmp_path / "run")
    tiny.budget.update(extend="", steps=8.0)
    tiny.training.restore_step = -1
    train(tiny, tmp_path / "whole")
    assert rates(tmp_path / "run") == rates(tmp_path / "whole")
    step, extended = variables(tmp_path / "run")
    assert step == 8
    chex.assert_trees_all_equal(extended, variables(tmp_path / "whole")[1])


def test_under_a_constant_rate_it_is_the_run_of_the_larger_budget_to_the_bit(tiny, tmp_path):
    tiny.optimizer.schedule = "constant"
    train(tiny, tmp_path / "run")
    extend(tiny, "steps:2")
    train(tiny, tmp_path / "run")
    tiny.budget.update(extend="", steps=6.0)
    train(tiny, tmp_path / "whole")
    step, extended = variables(tmp_path / "run")
    assert step == 6
    chex.assert_trees_all_equal(extended, variables(tmp_path / "whole")[1])


def test_a_cosine_that_ends_at_zero_is_refused_before_anything_is_written(tiny, tmp_path):
    tiny.optimizer.update(schedule="cosine", final_fraction=0.0)
    extend(tiny, "steps:2")
    with pytest.raises(ValueError, match=r"schedule=cosine goes on at its last rate"):
        train(tiny, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    extend(tiny, "two more")
    with pytest.raises(ValueError, match=r"'two more' is no budget: write UNIT:AMOUNT"):
        train(tiny, tmp_path / "run")


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        ("init_from", "nowhere", r"init_from=nowhere does not exist"),
        ("wandb", "lab", r"needs the package wandb"),
    ],
)
def test_what_a_start_lacks_is_said_before_anything_is_written(
    tiny, tmp_path, monkeypatch, word, value, message
):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda x: None if x == "wandb" else find(x))
    tiny.training[word] = value
    with pytest.raises(ValueError, match=message):
        train(tiny, tmp_path / "run")
    assert not (tmp_path / "run").exists()
