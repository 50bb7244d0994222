"""One writer for a folder: a lock that says who holds it, and that a dead process does not keep.

`with hold(folder, "this run")` makes the file `lock.json` in the folder: host, process, when it was
taken, and how many times it was refreshed. Readers never ask for it. Another process gets one line.

A lock is stale, and is taken over with a line that says so, when its process is gone, or on another
host, of whose processes nothing is known, when it has not been refreshed for `STALE_SECONDS`. For
that long a process waits at most; it is refused as soon as it sees one refresh.

On a disk, also one that several hosts share, taking a lock is one step (a hard link, or a file that
must not exist), so exactly one of several processes gets it. A bucket has no such step: of two
processes that start within a few seconds both may believe to hold it. The one that was overwritten
notices at its next `check`, which comes before every checkpoint.
"""

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_jax.json_files import JsonError, Kind, read_json
from latent_jax.paths import is_remote, open_path, replace_file
from latent_jax.processes import host, start_of, why_gone

logger = logging.getLogger(__name__)

LOCK = "lock.json"

REFRESH_SECONDS = 10.0
"""Between two signs of life."""

STALE_SECONDS = 60.0
"""After so long without one a lock of another host is taken over."""

LOOK_SECONDS = 0.5
"""Between two looks at a lock of another host, and at one whose takeover is under way."""

_KIND = Kind(dict, {"host": str, "pid": int, "token": str, "taken": float, "refreshed": int})

_held: dict[str, "FolderLock"] = {}
"""The locks of this process by path: who holds a folder may hold it again."""


class LockedError(ValueError):
    """Another process holds the folder, or has taken it over."""


class FolderLock:
    """A lock that this process holds; `hold` makes one.

    Attributes:
        path: of its file.
    """

    def __init__(self, path: Any, what: str):
        """Take it, waiting where it may be stale; see `hold`."""
        self.path, self.what, self.n_holders = path, what, 0
        self._ours = {
            "host": host(),
            "pid": os.getpid(),
            "process_start": start_of(os.getpid()),
            "token": uuid.uuid4().hex,
            "taken": time.time(),
            "refreshed": 0,
        }
        self._ended = threading.Event()
        while not self._take():
            self._wait_until_stale()
        self._thread = threading.Thread(target=self._refresh, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Refuse to go on where another process has taken the folder over.

        Raises:
            LockedError: it has.
        """
        found = _read(self.path)
        if found is None and (self.path.exists() or self._take()):
            return  # removed by hand, and ours again
        if found is not None and found["token"] == self._ours["token"]:
            return
        raise LockedError(
            f"{_owner(found)} has taken {self.path.parent} over, which this process held for "
            f"{self.what}: it stops here, so that two do not write into one folder. What is saved "
            "stays, and the same command goes on from it"
        )

    def release(self) -> None:
        """Remove the lock, unless it is another one's by now."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(Exception):  # on a folder that is gone or full, too
            found = _read(self.path)
            if found is not None and found["token"] == self._ours["token"]:
                self.path.unlink()

    def _text(self) -> bytes:
        return (json.dumps(self._ours) + "\n").encode()

    def _take(self) -> bool:
        """Make the file in one step; return whether it was not there."""
        if is_remote(self.path):
            if self.path.exists():
                return False
            replace_file(self.path, self._text())
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._ours["folder"] = self.path.parent.stat().st_ino
        mine = self.path.with_name(f".{self.path.name}.{self._ours['token']}")
        try:
            mine.write_bytes(self._text())
            try:
                os.link(mine, self.path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links; the content then follows
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
                    mine.replace(self.path)
                    return True
                return False
            return True
        finally:
            mine.unlink(missing_ok=True)

    def _wait_until_stale(self) -> None:
        """Return when the lock that is there is gone or taken over.

        Raises:
            LockedError: its process lives.
        """
        first, began = _read(self.path), time.monotonic()
        if first is None and not self.path.exists():
            return
        is_told = False
        while True:
            found = _read(self.path)
            if found is None and not self.path.exists():
                return
            if first is None and found is not None:  # the first look was at half a file
                first, began = found, time.monotonic()
            if found is not None and _sign(found) != _sign(first):
                raise self._refusal(found)  # refreshed, or another one's by now
            reason = self._why_stale(found) if found is not None else ""
            waited = time.monotonic() - began
            if not reason and found is not None and found["host"] == host():
                raise self._refusal(found)
            if not reason and max(waited, _age(self.path)) >= STALE_SECONDS:
                reason = f"not refreshed for {max(waited, _age(self.path)):.0f} s"
            if reason:
                self._take_over(found, reason)
                return
            if not is_told:
                is_told = True
                logger.warning(
                    "%s is locked by %s: waiting up to %.0f s to see whether it is alive",
                    self.path.parent,
                    _owner(found),
                    STALE_SECONDS,
                )
            time.sleep(LOOK_SECONDS)

    def _why_stale(self, found: dict[str, Any]) -> str:
        """Return why nobody holds a lock; "" where somebody does, or may."""
        if found["host"] != host():
            return ""
        if not is_remote(self.path) and found.get("folder") != self.path.parent.stat().st_ino:
            return "it was copied along with its folder"
        return why_gone(found["pid"], found.get("process_start"))

    def _take_over(self, stale: dict[str, Any] | None, reason: str) -> None:
        """Remove a stale lock; of several processes that see it one does, the others wait."""
        with _alone(self.path) as is_alone:
            if not is_alone or _read(self.path) != stale:
                return
            self.path.unlink(missing_ok=True)
        logger.warning(
            "%s: the lock of %s is stale (%s) and is taken over",
            self.path.parent,
            _owner(stale),
            reason,
        )

    def _refusal(self, found: dict[str, Any]) -> LockedError:
        age = max(time.time() - found["taken"], 0)
        return LockedError(
            f"{self.path.parent} is in use by {_owner(found)}, since {age:.0f} s: two processes "
            f"must not write {self.what} at once. Wait for it or stop it, or choose another "
            "folder; readers need not wait"
        )

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            # A disk that is full or away for a while is no reason to stop; `check` decides.
            with contextlib.suppress(Exception):
                found = _read(self.path)
                if found is None:
                    continue
                if found["token"] != self._ours["token"]:
                    return
                self._ours["refreshed"] += 1
                replace_file(self.path, self._text())


@contextlib.contextmanager
def hold(folder: Any, what: str, name: str = LOCK) -> Iterator[FolderLock]:
    """Hold the lock of a folder during a `with` block; the folder is made where it is missing.

    A process that holds it may hold it again, as often as it likes. A folder that was made here and
    is empty at the end is removed.

    Args:
        folder: on a disk or in a bucket.
        what: is written there, for the message: "this run".
        name: of the file; several names let several processes share a folder.

    Raises:
        LockedError: another process holds it.
        OSError: the lock cannot be written.
    """
    path = open_path(folder) / name
    if not is_remote(path):
        path = Path(os.path.abspath(path))
    key, made = str(path), []
    if key not in _held and not is_remote(path):
        made = [part for part in path.parents if not part.exists()]  # the innermost first
    try:
        lock = _held.get(key) or FolderLock(path, what)
        _held[key] = lock
        lock.n_holders += 1
        try:
            yield lock
        finally:
            lock.n_holders -= 1
            if not lock.n_holders:
                del _held[key]
                lock.release()
    finally:
        with contextlib.suppress(OSError):
            for part in made:
                part.rmdir()


def check_held(folder: Any) -> None:
    """Raise LockedError where this process held a folder and another one has taken it over."""
    path = open_path(folder) / LOCK
    lock = _held.get(str(path if is_remote(path) else Path(os.path.abspath(path))))
    if lock is not None:
        lock.check()


@contextlib.contextmanager
def _alone(path: Any) -> Iterator[bool]:
    """Keep others from removing a stale lock meanwhile; yield whether they are kept."""
    if is_remote(path):
        yield True
        return
    guard = path.with_name(f".{path.name}.takeover")
    try:
        os.close(os.open(guard, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        if _age(guard) > 10 * LOOK_SECONDS:  # who made it was killed
            guard.unlink(missing_ok=True)
        time.sleep(LOOK_SECONDS)
        yield False
        return
    try:
        yield True
    finally:
        guard.unlink(missing_ok=True)


def _read(path: Any) -> dict[str, Any] | None:
    """Return what a lock says; None where it is gone, or says nothing that can be read."""
    try:
        return read_json(path, _KIND)
    except JsonError:
        return None


def _sign(found: dict[str, Any]) -> tuple[str, int]:
    return found["token"], found["refreshed"]


def _owner(found: dict[str, Any] | None) -> str:
    """Return who holds a lock, in words for a line."""
    if found is None:
        return "an unknown process"
    return f"process {found['pid']} on {found['host'].partition(' ')[0]!r}"


def _age(path: Any) -> float:
    """Return seconds since a file was written, by the clock of its own disk; 0 if not known."""
    if is_remote(path):
        return 0.0
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return max(probe.stat().st_mtime - path.stat().st_mtime, 0.0)
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
