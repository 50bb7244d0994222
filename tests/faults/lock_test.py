"""Two processes in one folder: one goes on, the other gets a line; the dead block nobody."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from latent_jax import folder_lock
from latent_jax.folder_lock import LOCK, LockedError, hold
from latent_jax.paths import replace_file
from latent_jax.processes import host, start_of
from latent_jax.training.run_files import RunFolder, RunFolderError
from latent_jax.training.run_folder import open_run_folder
from tests.bucket import use_bucket

ROOT = Path(__file__).parents[2]

HOLD = """
    import sys, time
    from latent_jax.folder_lock import hold
    with hold(sys.argv[1], "one run"):
        print("held", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def start():
    """Start Python processes on a folder, which end with the test."""
    processes = []

    def started(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def quick(monkeypatch):
    """Make the times of locks short."""
    for name, seconds in (("REFRESH", 0.05), ("STALE", 0.6), ("LOOK", 0.02)):
        monkeypatch.setattr(folder_lock, f"{name}_SECONDS", seconds)


def written(place, **changes):
    """Write the lock of a living process of this host, changed."""
    parent = os.getppid()
    said = {"host": host(), "pid": parent, "process_start": start_of(parent), "token": "other"}
    said |= {"taken": time.time(), "refreshed": 0, "folder": place.stat().st_ino, **changes}
    (place / LOCK).write_text(json.dumps(said))
    return place / LOCK


def test_the_second_process_gets_one_line_and_readers_are_not_asked(start, tmp_path):
    open_run_folder(tmp_path / "run", {"task": "bytes"})
    process = start(HOLD, tmp_path / "run")
    assert process.stdout.readline() == "held\n"
    words = rf"run is in use by process {process.pid} on '.*', since \d+ s: .*choose another folder"
    with pytest.raises(LockedError, match=words), hold(tmp_path / "run", "one run"):
        pass
    with pytest.raises(RunFolderError, match=words):
        open_run_folder(tmp_path / "run", {"task": "bytes"})
    with pytest.raises(RunFolderError, match=words), RunFolder(tmp_path / "run").hold():
        pass
    assert RunFolder(tmp_path / "run").config == {"task": "bytes"}


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_blocks_nobody(start, tmp_path, caplog, kind):
    process = start(HOLD, tmp_path)
    assert process.stdout.readline() == "held\n"
    os.kill(process.pid, kind)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie has ended too
    with hold(tmp_path, "one run"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert "is stale (its process is gone) and is taken over" in caplog.text
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"process_start": "1"}, "its process is gone"),
        ({"pid": 2**22 + 5}, "its process is gone"),
        ({"pid": -1}, "it names no process"),
        ({"folder": 5}, "it was copied along with its folder"),
    ],
)
def test_a_lock_that_nobody_holds_is_taken_over_with_a_line(tmp_path, caplog, changes, reason):
    written(tmp_path, **changes)
    with hold(tmp_path, "one run"):
        pass
    assert f"({reason}) and is taken over" in caplog.text
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"host": 1}', "\0" * 9, "[" * 9999])
def test_a_damaged_lock_is_waited_for_and_taken_over(quick, tmp_path, caplog, text):
    (tmp_path / LOCK).write_text(text)
    with hold(tmp_path, "one run"):
        pass
    assert "the lock of an unknown process is stale (not refreshed for" in caplog.text


def test_another_host_counts_by_its_signs_of_life(quick, tmp_path, caplog):
    path = written(tmp_path, host="elsewhere")
    with hold(tmp_path, "one run"):
        pass
    assert "waiting up to 1 s to see whether it is alive" in caplog.text
    assert "process" in caplog.text and "'elsewhere' is stale (not refreshed for" in caplog.text
    written(tmp_path, host="elsewhere")
    alive = json.loads(path.read_text())
    refresh = threading.Timer(0.2, lambda: path.write_text(json.dumps({**alive, "refreshed": 1})))
    refresh.start()
    words = r"in use by process .* on 'elsewhere'"
    with pytest.raises(LockedError, match=words), hold(tmp_path, "one run"):
        pass
    os.utime(path, (1, 1))  # by the clock of the disk it is old: no need to wait
    began = time.monotonic()
    with hold(tmp_path, "one run"):
        assert time.monotonic() - began < 0.5


def test_a_lock_is_refreshed_and_held_twice_by_its_process(quick, tmp_path):
    with hold(tmp_path, "one run"):
        with hold(tmp_path, "one run"):
            pass
        deadline = time.monotonic() + 20
        while json.loads((tmp_path / LOCK).read_text())["refreshed"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert os.listdir(tmp_path) == []


def test_a_lock_that_cannot_be_read_for_a_while_is_refreshed_again(quick, tmp_path):
    with hold(tmp_path, "one run"):
        path, away = tmp_path / LOCK, tmp_path / "away"
        path.rename(away)
        time.sleep(0.3)  # six refreshes that find none
        away.rename(path)
        before = json.loads(path.read_text())["refreshed"]
        deadline = time.monotonic() + 20
        while json.loads(path.read_text())["refreshed"] < before + 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_living_lock_is_not_taken_over_because_the_first_look_was_at_half_a_file(quick, tmp_path):
    path = tmp_path / LOCK
    path.write_text("")
    said = {"host": "elsewhere", "pid": 5, "token": "other", "taken": time.time()}
    ended = threading.Event()

    def live():
        refreshed = 0
        while not ended.wait(0.1):
            refreshed += 1
            replace_file(path, json.dumps({**said, "refreshed": refreshed}).encode())

    living = threading.Thread(target=live)
    living.start()
    words = r"in use by process 5 on 'elsewhere'"
    try:
        with pytest.raises(LockedError, match=words), hold(tmp_path, "one run"):
            pass
    finally:
        ended.set()
        living.join()


def test_a_lock_that_cannot_be_written_leaves_no_folder(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"), hold(tmp_path / "a" / "run", "one run"):
        pass
    assert os.listdir(tmp_path) == []


def test_who_was_taken_over_stops_at_its_next_check(quick, tmp_path):
    with hold(tmp_path, "one run") as lock:
        lock.check()
        (tmp_path / LOCK).unlink()
        lock.check()  # removed by hand: it is ours again
        path = written(tmp_path)
        with pytest.raises(LockedError, match=r"process \d+ on '.*' has taken .* over"):
            lock.check()
    assert json.loads(path.read_text())["token"] == "other", "another one's lock stays"


def test_of_many_that_find_a_stale_lock_one_gets_it(start, tmp_path):
    written(tmp_path, process_start="1")
    code = """
        import sys, time
        from latent_jax.folder_lock import LockedError, hold
        try:
            with hold(sys.argv[1], "one run"):
                print("held", flush=True)
                time.sleep(600)
        except LockedError:
            print("refused", flush=True)
    """
    processes = [start(code, tmp_path) for _ in range(4)]
    said = [next(x for x in p.stdout if x in ("held\n", "refused\n")) for p in processes]
    assert sorted(said) == ["held\n", *["refused\n"] * 3]


def test_a_bucket_has_locks_too(quick, monkeypatch, caplog):
    objects = use_bucket(monkeypatch)
    with hold("gs://bucket/run", "one run"):
        assert set(objects) == {f"/bucket/run/{LOCK}"}
    assert not objects
    other = {"host": "elsewhere", "pid": 5, "token": "other", "taken": 1.0, "refreshed": 0}
    replace_file(f"gs://bucket/run/{LOCK}", json.dumps(other).encode())
    with hold("gs://bucket/run", "one run") as lock:
        assert "is taken over" in caplog.text
        replace_file(f"gs://bucket/run/{LOCK}", json.dumps(other).encode())
        with pytest.raises(LockedError, match=r"has taken .* over"):
            lock.check()
    assert set(objects) == {f"/bucket/run/{LOCK}"}
