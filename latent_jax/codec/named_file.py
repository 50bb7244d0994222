"""A file whose errors name it, so that what fails between two files is blamed on the right one."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

from latent_jax.spelling import one_line

BUFFER_BYTES = 1 << 17


@contextlib.contextmanager
def named(label: Any, verb: str) -> Iterator[None]:
    """Turn an `OSError` into a `ValueError`: LABEL cannot be VERB (read, written)."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{one_line(str(label))} cannot be {verb}: {error.strerror or error}"
        ) from error


class NamedFile(io.FileIO):
    """An unbuffered file under a label.

    Args:
        path: of the file, or the number of one that is open.
        mode: see `io.FileIO`.
        label: what messages call it.

    Raises:
        OSError: it cannot be opened. Later errors of the system are a `ValueError`.
    """

    def __init__(self, path: str | os.PathLike | int, mode: str, label: Any):
        """Open it."""
        super().__init__(path, mode)
        self._label = label

    def readinto(self, buffer) -> int | None:
        """See `io.FileIO`."""
        with named(self._label, "read"):
            return super().readinto(buffer)

    def readall(self) -> bytes | None:
        """See `io.FileIO`."""
        with named(self._label, "read"):
            return super().readall()

    def write(self, content) -> int | None:
        """See `io.FileIO`."""
        with named(self._label, "written"):
            return super().write(content)


def open_to_read(path: str | os.PathLike) -> io.BufferedReader:
    """Open a file for reading.

    Raises:
        ValueError: it cannot be read, now or later; the message has the way out for a folder and
            for "-".
    """
    if os.path.isdir(path):
        raise ValueError(
            f"{one_line(str(path))} is a folder: make it one file first, such as with tar -cf"
        )
    if os.fspath(path) == "-":
        raise ValueError("'-' is no file: standard input is called /dev/stdin")
    with named(path, "read"):
        return io.BufferedReader(NamedFile(path, "rb", path), BUFFER_BYTES)


def open_new(path: str | os.PathLike, label: Any) -> io.BufferedRandom:
    """Make a file for reading and writing, which messages call `label`.

    Raises:
        ValueError: it cannot be written, now or later.
    """
    with named(label, "written"):
        return io.BufferedRandom(NamedFile(path, "xb+", label), BUFFER_BYTES)


def open_number(number: int, label: Any) -> io.BufferedRandom:
    """Take a file over that is open for reading and writing, which messages call `label`."""
    return io.BufferedRandom(NamedFile(number, "rb+", label), BUFFER_BYTES)
