"""What a text is to a run that may have been trained on it."""

import json
import shutil

import pytest

from configs import common
from latent_jax.analysis.options import RunOptions
from latent_jax.commands.opening import open_texts, what_it_is


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes numbered documents as one file, with a cache of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def written(name, numbers):
        path = tmp_path / f"{name}.jsonl"
        lines = [json.dumps({"id": str(n), "text": f"document {n} of {name[:3]}"}) for n in numbers]
        path.write_text("\n".join(lines))
        return str(path)

    return written


@pytest.fixture
def workdir(write, tmp_path):
    """A run folder, of which only the configuration is there."""
    config = common.default()
    config.data.update(source="files", files=(write("own", range(300)),))
    config.data.cache_dir = str(tmp_path / ".cache" / "latent_jax")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps(config.to_dict()))
    return tmp_path / "run"


def opened(path):
    (corpus,) = open_texts(RunOptions(data=(path,))).values()
    return corpus


def test_a_text_is_called_what_it_is(write, workdir):
    assert what_it_is(opened(write("own again", range(50, 250))), workdir) == "training"
    # The same kind of text, and most of it is new.
    mixed = write("own and more", range(280, 600))
    assert what_it_is(opened(mixed), workdir) == "other text"
    assert what_it_is(opened(write("new", range(300))), workdir) == "other text"


def test_nobody_can_tell_where_the_runs_text_is_gone(write, workdir, tmp_path):
    (tmp_path / "own.jsonl").unlink()
    shutil.rmtree(tmp_path / ".cache", ignore_errors=True)
    assert what_it_is(opened(write("new", range(300))), workdir) == "text of --data"
