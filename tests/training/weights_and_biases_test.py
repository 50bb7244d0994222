"""What Weights & Biases is sent, by a module that takes its place and keeps what it is told."""

import importlib.machinery
import json
import sys
import types

import jax
import pytest

from latent_jax.training.metrics import read_records
from latent_jax.training.run_folder import open_run_folder
from latent_jax.training.weights_and_biases import WandbWriter, check_wandb
from tests.training.byte_task import run

WORDS = dict(devices=jax.devices()[:1], total_steps=4, eval_every=4, save_every=4)


class Run:
    """What `wandb.init` returns."""

    def __init__(self, words):
        self.words, self.logged, self.metrics, self.is_finished = words, [], [], False

    def define_metric(self, *names, **words):
        self.metrics.append((names, words))

    def log(self, values):
        assert not self.is_finished
        self.logged.append(values)

    def finish(self):
        self.is_finished = True


@pytest.fixture
def runs(monkeypatch):
    """Return the list of runs that were started."""
    started = []
    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)

    def init(**words):
        if words["project"] == "broken":
            raise RuntimeError("api_key not configured")
        started.append(Run(words))
        return started[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return started


def test_every_record_is_sent_and_a_resume_goes_on_under_the_same_id(runs, tmp_path):
    run(tmp_path / "run", wandb="lab", **WORDS)
    (first,) = runs
    assert first.is_finished and first.metrics == [(("*",), {"step_metric": "step"})]
    words = first.words
    assert (words["project"], words["name"], words["resume"]) == ("lab", "run", "allow")
    assert words["config"] == {"task": "bytes"} and words["dir"] == str(tmp_path / "run")
    records = read_records(tmp_path / "run" / "metrics.jsonl")
    assert [r["step"] for r in first.logged] == [r["step"] for r in records] == [2, 4, 4]
    assert first.logged[-1]["validation/bits_per_byte"] == records[-1]["bits_per_byte"]
    assert first.logged[0]["train/loss"] == records[0]["loss"]
    run(tmp_path / "run", wandb="lab", **{**WORDS, "total_steps": 6})
    assert runs[1].words["id"] == words["id"] and [r["step"] for r in runs[1].logged] == [6, 6]
    run(tmp_path / "other", **WORDS)
    assert len(runs) == 2  # off by default


def test_what_keeps_it_from_starting_is_said(runs, tmp_path):
    folder = open_run_folder(tmp_path, {})
    with pytest.raises(ValueError, match=r"training\.wandb=broken: .*api_key.*WANDB_MODE=offline"):
        WandbWriter("broken", folder)
    assert not runs
    assert json.loads((tmp_path / "wandb" / "id.json").read_text())["id"]


def test_a_missing_package_is_one_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'training\.wandb=lab needs .* install -e "\.\[wandb\]"'):
        check_wandb("lab")
    check_wandb("")
