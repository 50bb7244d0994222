"""Paths on a disk or in a bucket, and atomic writes to both.

A bucket (gs://) has objects and no folders. An object cannot be appended to or renamed, and it
appears only when it has been written completely.
"""

import contextlib
import errno
import importlib.util
import os
import re
import stat
import sys
import uuid
from pathlib import Path
from typing import Any, BinaryIO

STORES = {"gs": ("etils", "gcsfs")}
"""Supported URL schemes, and the packages that each of them needs."""


def open_path(path: str | os.PathLike) -> Any:
    """Return a `pathlib.Path`, or for gs://BUCKET/... an `etils.epath.Path`, which works like one.

    Raises:
        ValueError: the scheme is not supported, its packages are missing, or the URL has only one
            slash, because `pathlib` turns gs://BUCKET into gs:/BUCKET.
    """
    text = os.fspath(path)
    scheme = scheme_of(text)
    if scheme is None:
        return Path(path)
    if scheme not in STORES:
        known = ", ".join(f"{known}://" for known in STORES)
        raise ValueError(
            f"{text}: folders of a run lie on a disk or on {known}, not on {scheme}://: mount it "
            "and give the path of the mount"
        )
    if not re.match(r"\w+://[^/]", text):
        raise ValueError(f"{text} names no bucket: write {scheme}://BUCKET/FOLDER")
    missing = [name for name in STORES[scheme] if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"{text} needs {' and '.join(missing)}, which is not installed: "
            f'.venv/bin/python -m pip install -e ".[{scheme}]"'
        )
    from etils import epath

    return epath.Path(path)


def scheme_of(path: str | os.PathLike) -> str | None:
    """Return the scheme of a URL, such as "gs", in lower case; None for a path on a disk."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.\-]+):/", os.fspath(path))
    return found[1].lower() if found else None


def is_remote(path: str | os.PathLike) -> bool:
    """Return whether a path is in a bucket."""
    return scheme_of(path) is not None


def replace_file(path: str | os.PathLike, data: bytes, follows_links: bool = True) -> Any:
    """Write `data` to `path` atomically, make missing folders, and return the opened path.

    It is on the disk when this returns.

    On a disk, the data go to a temporary file in the folder of `path`, or of the file that a link
    stands for, which then replaces it. A device or a pipe is written to. /dev/stdout and the like
    stand for what this process has open, and get the data behind all that it has printed.

    Args:
        path: of the file.
        data: its new content.
        follows_links: whether a link stands for the file that it names, wherever that lies. In a
            folder of others the link itself is replaced.

    Raises:
        OSError: the disk is full, or the folder or bucket cannot be written; `path` is unchanged.
    """
    path = open_path(path)
    if is_remote(path):
        try:
            path.write_bytes(data)
        except Exception as error:  # each client has errors of its own
            raise OSError(f"cannot write {path}: {type(error).__name__}: {error}") from error
        return path
    stays = _open_number(path) is None and path.is_symlink() and not follows_links
    if is_special(path) and not stays:
        number = _open_number(path)
        for stream in (sys.stdout, sys.stderr):
            if number is not None and stream is not None:
                stream.flush()
        # Opened anew, a file would have a place of its own, and what is printed later would be
        # written over the data.
        with open(path, "ab") if number is None else open(number, "wb", closefd=False) as file:
            file.write(data)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    final, is_link = path, path.is_symlink() and not stays
    path = Path(os.path.realpath(path)) if is_link else path
    unfinished = temporary_of(path)
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        keep_names(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
    return final


def keep_names(folder: Path) -> None:
    """Have the disk keep the names in a folder, also if power is lost; some systems cannot."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def temporary_of(path: Path) -> Path:
    """Return a path beside a file under which nobody else writes, to be renamed to it.

    Processes of several machines, or containers, may have one number. A name that holds that of the
    file could be longer than file systems allow.
    """
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


def open_to_read(path: str | os.PathLike) -> BinaryIO:
    """Open a file for reading; a pipe that nobody writes to is at its end, and waits for nobody.

    A folder of others may hold a pipe or a device under any name.

    Raises:
        OSError: it is a device, or cannot be read.
    """
    path = open_path(path)
    if is_remote(path):
        return path.open("rb")
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        kind = os.fstat(number).st_mode
        if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISSOCK(kind):
            raise OSError(errno.EINVAL, "Is a device, and not a file", str(path))
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        os.set_blocking(number, True)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def check_files(folder: Any) -> None:
    """Refuse a folder with anything that is neither a file nor a folder, at any depth.

    Libraries open what they find; a pipe would keep them waiting for ever, and a device has no end.

    Raises:
        ValueError: it has; the message names it.
    """
    if is_remote(folder):
        return
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in [*folders, *files]):
            if not path.is_file() and not path.is_dir():
                raise ValueError(f"{path} is no file, but a pipe, a device or a link to nothing")


def _open_number(path: Path) -> int | None:
    """Return the number of the open file of this process that a path stands for, or None."""
    named = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    text = os.path.normpath(path)
    found = re.fullmatch(rf"(?:/dev/fd|/proc/(?:self|thread-self|{os.getpid()})/fd)/(\d+)", text)
    return int(found[1]) if found else named.get(text)


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a device, or what this process has open (/dev/stdout).

    A file below /dev, as in /dev/shm, is one like any other.
    """
    if _open_number(path) is not None:
        return path.exists() and not path.is_dir()
    return path.exists() and not path.is_file() and not path.is_dir()
