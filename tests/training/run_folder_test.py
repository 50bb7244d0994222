import json
import os

import jax
import pytest

from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.run_folder import RunFolderError, open_run_folder
from tests.bucket import Bucket, use_bucket

CONFIG = {"task": "bytes", "training": {"seed": 0, "progress": True}, "sizes": [1, 2]}


def test_a_new_folder_holds_config_overrides_and_environment(tmp_path):
    folder = open_run_folder(tmp_path / "run", CONFIG, {"training.seed": 0})
    assert folder.config == CONFIG
    assert json.loads((folder.path / "overrides.json").read_text()) == {"training.seed": 0}
    environment = json.loads((folder.path / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["device_count"] == 8 and environment["device_kind"] == "cpu"
    assert set(environment) >= {"python", "git_revision", "git_is_dirty", "command"}
    assert folder.checkpoints.is_dir() and folder.samples.is_dir()


def test_the_same_configuration_opens_it_again(tmp_path):
    open_run_folder(tmp_path, CONFIG)
    (tmp_path / "checkpoints" / "5").mkdir()
    assert open_run_folder(tmp_path, {**CONFIG, "sizes": (1, 2)}).path == tmp_path
    assert (tmp_path / "checkpoints" / "5").exists()


def test_another_configuration_is_refused_by_every_key_that_differs(tmp_path):
    open_run_folder(tmp_path, CONFIG)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    other = {"task": "bytes", "training": {"seed": 1, "progress": False}, "new": {}}
    with pytest.raises(RunFolderError) as caught:
        open_run_folder(tmp_path, other, may_differ={"training.progress"})
    message = str(caught.value)
    assert "training.seed: 0 there, 1 now" in message
    assert "sizes: [1, 2] there, '(absent)' now" in message
    assert "new: '(absent)' there, {} now" in message
    assert "progress" not in message and "choose another workdir" in message
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_a_resume_may_change_what_it_may(tmp_path):
    open_run_folder(tmp_path, CONFIG)
    other = {**CONFIG, "training": {"seed": 0, "progress": False}}
    assert open_run_folder(tmp_path, other, may_differ={"training.progress"}).config == other


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"not empty and holds no config.json"):
        open_run_folder(tmp_path, CONFIG)
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("name", ["EqualInfoAC[b=16]", "run*", "run?"])
def test_a_path_that_orbax_reads_as_a_pattern_is_refused(tmp_path, name):
    for folder in (tmp_path / name, tmp_path / name / "below"):
        with pytest.raises(RunFolderError, match="read as a pattern by Orbax"):
            open_run_folder(folder, {})
        with pytest.raises(RunFolderError, match="read as a pattern by Orbax"):
            Checkpoints(folder)
    assert not (tmp_path / name).exists()


def test_a_run_folder_in_a_bucket(monkeypatch, tmp_path):
    objects = use_bucket(monkeypatch)
    monkeypatch.chdir(tmp_path)
    folder = open_run_folder("gs://bucket/runs/x", CONFIG)
    assert set(objects) == {
        f"/bucket/runs/x/{name}.json" for name in ("config", "environment", "overrides")
    }
    assert folder.config == CONFIG and str(folder.metrics) == "gs://bucket/runs/x/metrics.jsonl"
    assert open_run_folder("gs://bucket/runs/x", CONFIG).config == CONFIG
    with pytest.raises(RunFolderError, match="task: 'bytes' there, 'other' now"):
        open_run_folder("gs://bucket/runs/x", {**CONFIG, "task": "other"})
    with pytest.raises(RunFolderError, match=r"gs://bucket/runs is not empty"):
        open_run_folder("gs://bucket/runs", CONFIG)
    with pytest.raises(RunFolderError, match="read as a pattern by Orbax"):
        open_run_folder("gs://bucket/runs/x[1]", CONFIG)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_line(monkeypatch):
    use_bucket(monkeypatch)

    def refuse(*_, **__):
        raise RuntimeError("403 Forbidden")

    monkeypatch.setattr(Bucket, "_open", refuse)
    with pytest.raises(
        RunFolderError, match=r"gs://bucket/x cannot be read or written: .*403 Forbidden"
    ):
        open_run_folder("gs://bucket/x", CONFIG)
