"""Folders that are there as a whole or not at all."""

import errno
import os

import pytest

from latent_jax.paths import open_path, replace_file
from latent_jax.tokenizers.storage import read_file, write_folder
from tests.bucket import use_bucket

FILES = {"a.txt": b"first", "b.bin": bytes(range(256))}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writes_all_files_and_nothing_else(tmp_path):
    write_folder(tmp_path / "new" / "folder", FILES)
    assert contents(tmp_path / "new" / "folder") == FILES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]
    assert read_file(tmp_path / "new" / "folder", "a.txt") == b"first"


def test_an_empty_folder_is_filled_and_the_same_content_accepted(tmp_path):
    (tmp_path / "folder").mkdir()
    write_folder(tmp_path / "folder", FILES)
    write_folder(tmp_path / "folder", FILES)
    assert contents(tmp_path / "folder") == FILES


@pytest.mark.parametrize("name", ["a.txt", "other.txt"])
def test_other_content_is_never_overwritten(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(b"precious")
    with pytest.raises(ValueError, match="already exists and holds something other"):
        write_folder(tmp_path / "folder", FILES)
    assert contents(tmp_path / "folder") == {name: b"precious"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_in_the_place_of_the_folder_is_kept(tmp_path):
    (tmp_path / "folder").write_bytes(b"precious")
    with pytest.raises(ValueError, match="already exists"):
        write_folder(tmp_path / "folder", FILES)
    assert (tmp_path / "folder").read_bytes() == b"precious"


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "folder", FILES)
    assert list(tmp_path.iterdir()) == []


def test_in_a_bucket_a_part_is_completed_and_other_content_is_never_overwritten(monkeypatch):
    objects = use_bucket(monkeypatch)
    folder = open_path("gs://bucket/tokenizer")
    replace_file(folder / "a.txt", FILES["a.txt"])
    with pytest.raises(ValueError, match=r"not a complete saved tokenizer: b.bin cannot be read"):
        read_file(folder, "b.bin")
    for _ in range(2):
        write_folder(folder, FILES)
        assert contents(folder) == FILES
    assert read_file(folder, "b.bin") == FILES["b.bin"]
    for name in ("a.txt", "other.txt"):
        objects.clear()
        replace_file(folder / name, b"precious")
        with pytest.raises(ValueError, match="already exists and holds something other"):
            write_folder(folder, FILES)
        assert contents(folder) == {name: b"precious"}
