"""A start that fails: one line, and nothing left that blocks the corrected command."""

import json
import math
import os
import shutil

import pytest

from latent_jax.data import CorpusError, DataConfig, open_corpus
from latent_jax.experiments import run as module
from latent_jax.experiments.evaluate import evaluate
from latent_jax.experiments.run import run
from latent_jax.training import RunFolderError, open_run_folder, run_folder
from latent_jax.training.checkpoint_writer import files
from tests.faults.conftest import tiny

CONFIG = {"task": "bytes", "rate": 0.1, "sizes": [1, 2.0], "deep": {"a": {"b": 1.0}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": math.nan}, "rate is nan, and has to be a finite number"),
        ({"rate": math.inf}, "rate is inf, and has to be"),
        ({"sizes": [1, -math.inf]}, r"sizes is \[1, -inf\], and has to be"),
        ({"deep": {"a": {"b": math.nan}}}, r"deep.a.b is nan, and has to be"),
    ],
)
def test_what_is_no_number_of_json_spoils_no_folder(tmp_path, changes, message):
    with pytest.raises(RunFolderError, match=message):
        open_run_folder(tmp_path / "a" / "run", {**CONFIG, **changes})
    assert os.listdir(tmp_path) == []
    assert open_run_folder(tmp_path / "a" / "run", CONFIG).config == CONFIG


@pytest.mark.parametrize("name", ["overrides.json", "environment.json", "config.json"])
def test_a_disk_that_is_full_at_a_start_leaves_nothing(tmp_path, monkeypatch, name):
    for function in ("write_json", "write_sealed"):
        write = getattr(run_folder, function)

        def full(path, value, write=write):
            if path.name == name:
                raise OSError(28, "No space left on device")
            write(path, value)

        monkeypatch.setattr(run_folder, function, full)
    with pytest.raises(RunFolderError, match=r"run cannot be read or written: .*No space left"):
        open_run_folder(tmp_path / "run", CONFIG)
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    assert open_run_folder(tmp_path / "run", CONFIG).config == CONFIG


def test_what_a_kill_left_at_a_start_is_begun_anew(tmp_path):
    open_run_folder(tmp_path, CONFIG)
    (tmp_path / "config.json").unlink()
    (tmp_path / ".config.json.123.tmp").write_text("{")
    assert open_run_folder(tmp_path, {**CONFIG, "rate": 0.2}).config["rate"] == 0.2


@pytest.mark.parametrize("name", ["thesis.tex", "environment.json", "checkpoints/5/x"])
def test_what_is_not_ours_is_left_alone(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("x")
    with pytest.raises(RunFolderError, match=r"not empty and holds no config.json"):
        open_run_folder(tmp_path, CONFIG)
    assert (tmp_path / name).read_text() == "x"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(143)])
def test_a_start_that_fails_or_is_stopped_leaves_nothing(text, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, "train", fail)
    with pytest.raises(type(error)):
        run(tiny(text), tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_a_run_that_has_records_is_kept_when_it_fails(workdir, text, monkeypatch):
    before = sorted(path for path in workdir.rglob("*") if path.is_file())

    def fail(*_, **__):
        raise ValueError("no")

    monkeypatch.setattr(module, "train", fail)
    with pytest.raises(ValueError, match="no"):
        run(tiny(text), workdir)
    assert sorted(path for path in workdir.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/run", "/dev/null", "/dev/null/run"])
def test_a_workdir_that_cannot_be_one_is_one_line(tmp_path, text, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match=r"the run folder .* cannot be read or written") as one:
        run(tiny(text), tmp_path / place)
    assert "\n" not in str(one.value) and (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ValueError, match="is no run folder"):
        evaluate(tmp_path / place)


@pytest.mark.parametrize("home", ["/proc", "/dev/null", "/proc/1/nothing"])
def test_a_home_that_cannot_be_written_is_one_line(text, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    config = DataConfig(source="files", files=(f"{text}/text.jsonl",))
    with pytest.raises(CorpusError, match=r"no folder that this user may write to .*cache_dir"):
        open_corpus(config)


def test_a_disk_that_is_full_when_samples_are_written_is_one_line(text, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_samples", full)
    with pytest.raises(RunFolderError, match=r"run cannot be read or written: .*No space left"):
        run(tiny(text), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").exists(), "what was recorded is kept"


def test_a_cache_of_others_is_not_written_to(workdir, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = evaluate(workdir, max_bytes=300)
    (workdir / "environment.json").unlink()
    config = json.loads((workdir / "config.json").read_text())
    for place in (tmp_path / "theirs", tmp_path / "made"):
        config["data"]["cache_dir"] = str(place)
        (workdir / "config.json").write_text(json.dumps(config))
        (tmp_path / "made").mkdir(exist_ok=True)
        assert evaluate(workdir, max_bytes=300) == before
        assert "which is no cache of this user" in caplog.text
    assert not (tmp_path / "theirs").exists() and os.listdir(tmp_path / "made") == []
    shutil.rmtree(tmp_path / "home")
    assert files.finished_steps(workdir / "checkpoints") == [2, 4, 6]
