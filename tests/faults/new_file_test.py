"""Files that get their names when they are whole, on any file system: no other one is replaced."""

import ctypes
import errno
import os
import shutil

import pytest

from latent_jax.codec import new_file
from latent_jax.codec.compress import compress_file, decompress_file
from tests.faults.compress_test import TEXT, gzip

KINDS = [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP]


def without_links(monkeypatch, number, meanwhile=lambda: None):
    def link(*_, **__):
        meanwhile()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("links", [0, *KINDS])
@pytest.mark.parametrize("renames", [True, False])
@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_that_somebody_makes_meanwhile_stays(
    tmp_path, monkeypatch, links, renames, nameless
):
    raw = tmp_path / "raw"
    raw.write_bytes(TEXT)
    if links:
        without_links(monkeypatch, links)
    if not renames:
        monkeypatch.setattr(new_file, "_rename", lambda *_: False)
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    out = tmp_path / "out"

    def make():
        out.write_bytes(b"theirs")
        return gzip()

    with pytest.raises(ValueError, match="out was made by somebody else meanwhile"):
        compress_file(raw, out, make)
    assert out.read_bytes() == b"theirs"
    out.unlink()
    compress_file(raw, out, gzip)
    decompress_file(out, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == TEXT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "out", "raw"]


@pytest.mark.parametrize("number", KINDS)
@pytest.mark.parametrize("renames", [True, False])
@pytest.mark.parametrize("nameless", [True, False])
def test_one_that_is_made_at_the_last_moment_stays(
    tmp_path, monkeypatch, number, renames, nameless
):
    path = tmp_path / "out"
    without_links(monkeypatch, number, lambda: path.write_bytes(b"theirs"))
    if not renames:
        monkeypatch.setattr(new_file, "_rename", lambda *_: False)
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    with (
        pytest.raises(ValueError, match="out was made by somebody else meanwhile"),
        new_file.new_file(path) as file,
    ):
        file.write(b"ours")
    assert path.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["out"]


def test_one_that_takes_the_place_of_ours_while_it_is_written_stays(tmp_path, monkeypatch):
    """On a file system that has neither links nor renames that replace nothing."""
    path, copy = tmp_path / "out", shutil.copyfileobj
    without_links(monkeypatch, errno.EPERM)
    monkeypatch.setattr(new_file, "_rename", lambda *_: False)

    def copied(source, target):
        if path.exists():
            path.unlink()
            path.write_bytes(b"theirs")
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", copied)
    with (
        pytest.raises(ValueError, match="out was made by somebody else meanwhile"),
        new_file.new_file(path) as file,
    ):
        file.write(b"ours")
    assert path.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["out"]


def test_a_disk_that_fills_up_under_the_name_leaves_nothing(tmp_path, monkeypatch):
    path, calls = tmp_path / "out", []
    without_links(monkeypatch, errno.EPERM)
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(new_file, "_rename", lambda *_: False)

    def fsync(number):
        calls.append(number)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with (
        pytest.raises(ValueError, match="out cannot be written: No space left on device"),
        new_file.new_file(path) as file,
    ):
        file.write(b"ours")
    assert len(calls) == 2 and os.listdir(tmp_path) == []


def test_a_rename_replaces_nothing(tmp_path):
    """Where the system has it, as Linux does on most file systems."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    if not hasattr(ctypes.CDLL(None), "renameat2"):
        pytest.skip("no renameat2 here")
    with pytest.raises(FileExistsError):
        new_file._rename(tmp_path / "a", tmp_path / "b")
    assert new_file._rename(tmp_path / "a", tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
