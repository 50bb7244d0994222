"""What a folder was begun with is read when the folder is held, and not before."""

import json
import os
import re

import pytest

from latent_jax.codec import encode
from latent_jax.codec.encode import EncodeConfig, encode_corpus
from latent_jax.data.sources import DataConfig
from latent_jax.experiments.sweep import command
from latent_jax.folder_lock import LOCK
from tests.faults.lock_test import written


class Reached(Exception):
    """The code came so far."""


def stops(folder, lock):
    """Return a function that stands for a reader of the folder, and where the lock must be ours."""

    def read(*_, **__):
        assert json.loads((folder / lock).read_text())["pid"] == os.getpid()
        raise Reached

    return read


def unread(*_, **__):
    pytest.fail("the folder was read before it was held")


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "load_sweep", lambda words: (words, None))
    monkeypatch.setattr(command, "share_compiled", lambda folder: None)
    return tmp_path / "sweep"


def test_a_sweep_is_planned_when_its_folder_is_held(sweep, monkeypatch):
    monkeypatch.setattr(command, "plan", stops(sweep, LOCK))
    with pytest.raises(Reached):
        command.sweep_and_print("any", workdir=sweep)
    assert not (sweep / LOCK).exists()


def test_a_sweep_whose_folder_another_process_holds_is_not_planned(sweep, monkeypatch):
    sweep.mkdir()
    written(sweep)
    monkeypatch.setattr(command, "plan", unread)
    with pytest.raises(ValueError, match=f"{re.escape(str(sweep))} is in use by process"):
        command.sweep_and_print("any", workdir=sweep)


def rows(tmp_path):
    (tmp_path / "text.txt").write_text("one two three " * 900)
    data = DataConfig(
        "files",
        files=(f"{tmp_path}/text.txt",),
        validation_percent=0,
        test_percent=0,
        cache_dir=f"{tmp_path}/cache",
    )
    return EncodeConfig(tokenizer="Bytes", row_length=16), data, tmp_path / "rows"


def test_what_rows_were_begun_with_is_read_when_their_folder_is_held(tmp_path, monkeypatch):
    config, data, out = rows(tmp_path)
    monkeypatch.setattr(encode, "_begun_lanes", stops(out, "lock-0-of-1.json"))
    with pytest.raises(Reached):
        encode_corpus(config, data, out)
    assert not out.exists()


def test_rows_that_another_process_makes_are_not_looked_at(tmp_path, monkeypatch):
    config, data, out = rows(tmp_path)
    out.mkdir()
    written(out).rename(out / "lock-0-of-1.json")
    monkeypatch.setattr(encode, "_begun_lanes", unread)
    monkeypatch.setattr(encode, "make_tokenizer", unread)
    with pytest.raises(ValueError, match="is in use by process"):
        encode_corpus(config, data, out)
