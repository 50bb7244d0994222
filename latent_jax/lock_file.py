"""The file of a lock: made in one step, refreshed in place, and taken over in steps that are exact.

What decides between processes is a name that only one of them can make: by a hard link, or where
there are none by a file that must not exist. Both are one step on disks and on network disks.

Whoever takes a stale lock over makes a name that only this lock has a claim under,
`.lock.json.after-KEY`, looks whether the lock is still the one that it found stale, and renames its
claim over it. Names of locks never come back. So a process that stalls before its claim finds one,
or another lock; one that stalls before its rename keeps others from claiming, or if it is taken for
dead finds its claim gone. A rename moves what holds the claim then, and who reads another name than
its own behind it has lost.

A lock is refreshed through the file that was read, never by its name: what a process does late, or
twice, happens to a file that nobody reads any more.
"""

import contextlib
import hashlib
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from latent_jax.json_files import JsonError, Kind, parse, read_json
from latent_jax.paths import is_remote, replace_file

KIND = Kind(dict, {"host": str, "pid": int, "token": str, "taken": float, "refreshed": int})


class Sight(NamedTuple):
    """What one look at a lock saw.

    Attributes:
        found: what it says; None where that cannot be read.
        key: of this lock and no other.
    """

    found: dict[str, Any] | None
    key: str

    @property
    def sign(self) -> tuple[str, int | None]:
        """What differs after a sign of life, or for another lock."""
        return self.key, self.found and self.found["refreshed"]


def look(path: Any) -> Sight | None:
    """Return what is there; None where nothing is.

    Raises:
        OSError: the system cannot say.
    """
    found = read(path)
    if found is not None:
        return Sight(found, _key(found["token"]))
    if is_remote(path):
        return Sight(None, "") if path.exists() else None
    try:
        is_now = path.stat()
    except FileNotFoundError:
        return None
    return Sight(None, _key(f"{is_now.st_ino} {is_now.st_mtime_ns} {is_now.st_size}"))


def read(path: Any) -> dict[str, Any] | None:
    """Return what a lock says; None where it is gone, or says nothing that can be read."""
    try:
        return read_json(path, KIND)
    except JsonError:
        return None


def claim_of(path: Path, key: str) -> Path:
    """Return the name under which a lock is claimed by who takes it over."""
    return path.with_name(f".lock.json.after-{key}")


def make(path: Any, content: bytes, token: str) -> bool:
    """Make the file of a lock in one step; return whether it is there, and ours.

    Args:
        path: of it.
        content: what it says.
        token: of the content.

    Raises:
        OSError: it cannot be written.
    """
    if is_remote(path):
        if path.exists():
            return False
        replace_file(path, content)
        return True
    mine = path.with_name(f".{path.name}.{token}")
    try:
        mine.write_bytes(content)
        try:
            os.link(mine, path)
        except FileExistsError:
            return is_ours(path, token)  # a server may do it, and its answer be lost
        except OSError:  # a file system without hard links; the content then follows
            return _make_empty(path, content, token)
        return True
    finally:
        mine.unlink(missing_ok=True)


def _make_empty(path: Path, content: bytes, token: str) -> bool:
    try:
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(number, content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(number)
    return is_ours(path, token)


def move_over(claim: Path, path: Path, token: str) -> bool:
    """Put a claim in the place of the lock that it is of; return whether that is ours now."""
    with contextlib.suppress(FileNotFoundError):  # another one claimed it of us, and is done
        os.rename(claim, path)
    return is_ours(path, token)


def is_ours(path: Any, token: str) -> bool:
    """Return whether a lock has a token."""
    found = read(path)
    return found is not None and found["token"] == token


def refresh(path: Any, content: bytes, token: str) -> bool:
    """Write what a lock says anew, in place; return False where it is another one's by now.

    The content is never shorter than what was there.

    Raises:
        OSError: it cannot be opened or written.
    """
    if is_remote(path):
        found = read(path)
        if found is not None and found["token"] == token:
            replace_file(path, content)
        return found is None or found["token"] == token
    number = os.open(path, os.O_RDWR)
    try:
        try:
            found = parse(os.pread(number, 1 << 16, 0), path, KIND)
        except JsonError:
            return True  # it may be readable again
        if found["token"] != token:
            return False
        os.pwrite(number, content, 0)
        return True
    finally:
        os.close(number)


def age(path: Any) -> float:
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


def _key(text: str) -> str:
    """Return a part of a name; a token of others may be any text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
