"""A file that appears under its name when it is complete, and never in place of another."""

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from latent_jax.codec.named_file import named, open_new, open_number
from latent_jax.paths import keep_names, temporary_of

AT_FDCWD, RENAME_NOREPLACE = -100, 1
"""Of Linux's renameat2."""


def check_new(path: Path) -> None:
    """Refuse a path that is taken, or whose folder is not there, before any work is done.

    Raises:
        ValueError: see above.
        OSError: it cannot be looked at.
    """
    if path.exists() or path.is_symlink():
        if not path.is_file():
            raise ValueError(
                f"{path} is no place for a file: name one that does not exist yet, with --out"
            )
        raise ValueError(f"{path} exists already: remove it, or name another one with --out")
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: {path.parent} is no folder")


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading and writing; at the end of the context it is at `path`, on the disk.

    Until then it has no name, so that nothing is left however the process ends, also by SIGKILL. On
    systems that have no such files it is written beside `path` under a name that begins with a dot;
    that name goes away unless the process is killed. A file that somebody else puts at `path`
    meanwhile stays: a hard link gives the name, or a rename that replaces nothing, or where a file
    system has neither, the file is written under a name that was free.

    Raises:
        ValueError: `path` is taken, or cannot be written. Errors of the context's own work are left
            as they are.
    """
    # Not of the name of `path`, which may be as long as names can be.
    staging = temporary_of(path)
    try:
        with named(path, "written"):
            check_new(path)
        with _open(staging, path) as file:
            yield file
            with named(path, "written"):
                file.flush()
                os.fsync(file.fileno())
                _move(file, staging, path)
                keep_names(path.parent)
    finally:
        with contextlib.suppress(OSError):  # below a file there is none, and that has been said
            staging.unlink(missing_ok=True)


def _open(staging: Path, path: Path) -> BinaryIO:
    """Return a file without a name in the folder of `path`, or where there are none, `staging`."""
    if hasattr(os, "O_TMPFILE") and os.path.exists("/proc/self/fd"):
        with contextlib.suppress(OSError):
            return open_number(os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o666), path)
    return open_new(staging, path)


def _move(file: BinaryIO, staging: Path, path: Path) -> None:
    """Give a file its name, unless the name is taken."""
    try:
        try:
            _link(file, staging, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if not staging.exists():
                with open_new(staging, path) as copy:
                    _copy(file, copy)
            if not _rename(staging, path):
                _write_in_place(file, path)
    except FileExistsError:
        raise ValueError(
            f"{path} was made by somebody else meanwhile, and is left as it is: name another file "
            "with --out"
        ) from None


def _copy(file: BinaryIO, copy: BinaryIO) -> None:
    file.seek(0)
    shutil.copyfileobj(file, copy)
    copy.flush()
    os.fsync(copy.fileno())


def _rename(staging: Path, path: Path) -> bool:
    """Rename a file, which replaces nothing; return False where the system cannot do that.

    Raises:
        FileExistsError: `path` is there.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(staging), os.fsencode(path)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise FileExistsError(number, os.strerror(number), str(path))
    return False


def _write_in_place(file: BinaryIO, path: Path) -> None:
    """Make the file under its name, which must be free, and write to no other one.

    Here alone a process that is killed leaves a file that is not whole.

    Raises:
        FileExistsError: `path` is there, or has become another file.
    """
    number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    with open_number(number, path) as made:
        try:
            _copy(file, made)
        except BaseException:
            if _is_same(made, path):
                path.unlink()
            raise
        if not _is_same(made, path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _is_same(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is the one that has a name."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    return False


def _link(file: BinaryIO, staging: Path, path: Path) -> None:
    """Give a file its name by a hard link, which replaces nothing."""
    if staging.exists():
        os.link(staging, path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder, Python asks for the file that the link under /proc stands for
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)
