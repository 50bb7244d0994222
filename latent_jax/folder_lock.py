"""One writer for a folder: a lock that says who holds it, and that a dead process does not keep.

`with hold(folder, "this run")` makes the file `lock.json` in the folder: host, process, when it was
taken, and how many times it was refreshed. Readers never ask for it. Another process gets one line.

A lock is stale, and is taken over with a line that says so, when its process is gone, or on another
host, of whose processes nothing is known, when it has not been refreshed for `STALE_SECONDS`. For
that long a process waits at most; it is refused as soon as it sees one refresh.

On a disk, also one that several hosts share, exactly one of several processes takes a lock, or
takes a stale one over, wherever each of them stalls: see `latent_jax.lock_file`. One that stalls
while it holds a lock, on another host and for so long that it is taken for dead, notices at its
next `check`, which comes before every checkpoint. A bucket has no step that decides: of two
processes that start within a few seconds both may believe to hold it, until the next `check`.
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

from latent_jax.lock_file import (
    Sight,
    age,
    claim_of,
    is_ours,
    look,
    make,
    move_over,
    read,
    refresh,
)
from latent_jax.paths import is_remote, open_path
from latent_jax.processes import host, start_of, why_gone

logger = logging.getLogger(__name__)

LOCK = "lock.json"

REFRESH_SECONDS = 10.0
"""Between two signs of life."""

STALE_SECONDS = 60.0
"""After so long without one a lock of another host is taken over."""

LOOK_SECONDS = 0.5
"""Between two looks at a lock of another host, and at one whose takeover is under way."""

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
            stale, reason = self._wait_until_stale(path)
            if stale is not None and self._take_over(path, stale):
                logger.warning(
                    "%s: the lock of %s is stale (%s) and is taken over",
                    path.parent,
                    _owner(stale.found),
                    reason,
                )
                break
        self._thread = threading.Thread(target=self._refresh, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Refuse to go on where another process has taken the folder over.

        Raises:
            LockedError: it has.
        """
        try:
            found = read(self.path)
        except OSError:
            return  # a disk that is away for a while says nothing of others
        if found is None and (self.path.exists() or self._take()):
            return  # removed by hand, and ours again
        if found is not None and found["token"] == self._token:
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
            if is_ours(self.path, self._token):
                self.path.unlink()

    def _text(self) -> bytes:
        return (json.dumps(self._ours) + "\n").encode()

    @property
    def _token(self) -> str:
        return self._ours["token"]

    def _take(self) -> bool:
        """Make the file in one step; return whether it was not there."""
        if not is_remote(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._ours["folder"] = self.path.parent.stat().st_ino
        return make(self.path, self._text(), self._token)

    def _wait_until_stale(self, path: Any) -> tuple[Sight | None, str]:
        """Return a lock, or a claim, that nobody holds, and why; None where it is gone.

        Raises:
            LockedError: its process lives.
        """
        first, began, is_told = look(path), time.monotonic(), False
        while True:
            seen = look(path)
            if seen is None or first is None:
                return None, ""
            if first.found is None and seen.found is not None:  # the first look was at half a file
                first, began = seen, time.monotonic()
            if seen.found is not None and seen.sign != first.sign:
                raise self._refusal(seen.found)  # refreshed, or another one's by now
            reason = self._why_stale(seen.found) if seen.found is not None else ""
            waited = time.monotonic() - began
            if not reason and seen.found is not None and seen.found["host"] == host():
                raise self._refusal(seen.found)
            if not reason and max(waited, age(path)) >= STALE_SECONDS:
                reason = f"not refreshed for {max(waited, age(path)):.0f} s"
            if reason:
                return seen, reason
            if not is_told:
                is_told = True
                logger.warning(
                    "%s is locked by %s: waiting up to %.0f s to see whether it is alive",
                    self.path.parent,
                    _owner(seen.found),
                    STALE_SECONDS,
                )
            time.sleep(LOOK_SECONDS)

    def _take_over(self, path: Any, stale: Sight) -> bool:
        """Put ours in the place of a stale lock, or of a claim; return whether it is there.

        Raises:
            LockedError: another process does, and lives.
        """
        if is_remote(path):  # which has no step that decides
            if look(path) == stale:
                path.unlink(missing_ok=True)
            return self._take()
        claim = claim_of(path, stale.key)
        if not make(claim, self._text(), self._token):
            abandoned, _ = self._wait_until_stale(claim)
            if abandoned is None or not self._take_over(claim, abandoned):
                return False
        try:
            seen = look(path)
            is_same = seen is not None and seen.sign == stale.sign
            return is_same and move_over(claim, path, self._token)
        finally:
            if is_ours(claim, self._token):
                claim.unlink(missing_ok=True)

    def _why_stale(self, found: dict[str, Any]) -> str:
        """Return why nobody holds a lock; "" where somebody does, or may."""
        if found["host"] != host():
            return ""
        if not is_remote(self.path) and found.get("folder") != self.path.parent.stat().st_ino:
            return "it was copied along with its folder"
        return why_gone(found["pid"], found.get("process_start"))

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
                self._ours["refreshed"] += 1
                if not refresh(self.path, self._text(), self._token):
                    return


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


def _owner(found: dict[str, Any] | None) -> str:
    """Return who holds a lock, in words for a line."""
    if found is None:
        return "an unknown process"
    return f"process {found['pid']} on {found['host'].partition(' ')[0]!r}"
