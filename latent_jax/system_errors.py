"""What the system refuses, as one line: files, disks that are full, memory.

An error of the system while a file is read says nothing of the file. It is told apart from what was
read and found wrong, which alone is damage: see `is_away`.
"""

import errno
import os
import tempfile
from pathlib import Path

from latent_jax.paths import is_special

NAME_BYTES = 255
"""Of a file's name, on all usual file systems."""

WAYS_OUT = {
    errno.ENOSPC: "free some space or write elsewhere",
    errno.EDQUOT: "free some space or write elsewhere",
    errno.EFBIG: "the limit of a file's size is reached: write elsewhere, or raise it (ulimit -f)",
    errno.EACCES: "change its permissions or name another place",
    errno.EPERM: "change its permissions or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOTDIR: "name a place below a folder",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOMEM: "take less at a time, or raise the limit of memory (ulimit -v)",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN),
        "the system failed and nothing was changed: start the same command again when the disk is "
        "back",
    ),
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
"""What to do about what the system refuses."""

OF_CONTENT = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
    *(errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.ENAMETOOLONG),
)
"""Of a path where there is nothing, or something else than a file: that was seen."""

AWAY = (
    *(errno.EIO, errno.ESTALE, errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT, errno.EBUSY),
    *(errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.ENOMEM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOLCK, errno.ESHUTDOWN),
)
"""Failures that libraries pass on as text in errors of their own."""


class AwayError(OSError):
    """The system failed to read a file, or a disk is away: nothing is known of what is there."""


def check_file_name(path: str | os.PathLike) -> None:
    """Refuse a path that names a folder, such as `new/`, whether or not it is there.

    `pathlib` would forget the slash, and a file would get the name that was meant for a folder.

    Raises:
        ValueError: it does.
    """
    if os.path.basename(os.fspath(path)) in ("", os.curdir, os.pardir):
        raise ValueError(f"{os.fspath(path)} names a folder: name a file in it")


def check_writable(path: str | os.PathLike, is_folder: bool = False) -> None:
    """Refuse a path where no file, or no folder, can be made; nothing is left there.

    Raises:
        ValueError: something else is there, or a file would get the name of a folder, `new/`.
        OSError: this user may not write there.
    """
    given, path = path, Path(path)
    if path.is_dir() and not is_folder:
        raise ValueError(f"{path} is a folder: name a file")
    if not is_folder:
        check_file_name(given)
    if is_folder and path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: name a folder")
    if is_special(path):
        return
    place = path if is_folder else path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    try:
        with tempfile.TemporaryFile(dir=place):  # permissions alone do not tell, as below /proc
            pass
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno), str(place)) from error
    if len(os.fsencode(path.name)) > NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path.name)


def describe_os_error(error: Exception) -> str:
    """Return what the system refused and the way out, as one line."""
    if not isinstance(error, OSError):
        return str(error)
    names = [os.fsdecode(n) for n in (error.filename, error.filename2) if n is not None]
    said = ": ".join(
        [" and ".join(map(str, names)), error.strerror or str(error)]
        if names
        else [error.strerror or str(error) or type(error).__name__]
    )
    way_out = WAYS_OUT.get(error.errno)
    return f"{said}; {way_out}" if way_out else said


def is_away(error: BaseException) -> bool:
    """Return whether the system failed while something was read, which is no damage to it.

    Args:
        error: of the system, or of a library that passes its words on.
    """
    if isinstance(error, AwayError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in OF_CONTENT
    return any(os.strerror(number) in str(error) for number in AWAY)


def away(path: object, error: BaseException) -> AwayError:
    """Return what says of a path that the system failed to read it."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
    number = getattr(error, "errno", None) or errno.EIO
    return AwayError(number, said or type(error).__name__, str(path))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this process or a device has no memory left."""
    said = ("RESOURCE_EXHAUSTED", "can't start new thread", "std::bad_alloc")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


def first_line(error: BaseException) -> str:
    """Return the beginning of what an error says."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
