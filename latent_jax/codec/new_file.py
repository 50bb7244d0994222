"""A file that appears under its name when it is complete, and never in place of another."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from latent_jax.codec.named_file import named, open_new


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

    It is written beside `path` under a name that begins with a dot. That name goes away however
    the context ends: by an error, Ctrl-C, or under `command_line.end_in_order` SIGTERM. A file that
    somebody else puts at `path` meanwhile stays.

    Raises:
        ValueError: `path` is taken, or cannot be written. Errors of the context's own work are left
            as they are.
    """
    # Not of the name of `path`, which may be as long as names can be.
    staging = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with named(path, "written"):
            check_new(path)
        with open_new(staging, path) as file:
            yield file
            with named(path, "written"):
                file.flush()
                os.fsync(file.fileno())
                _move(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def _move(staging: Path, path: Path) -> None:
    """Give a file its name, unless the name is taken."""
    try:
        try:
            os.link(staging, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            os.replace(staging, path)
    except FileExistsError:
        raise ValueError(
            f"{path} was made by somebody else meanwhile, and is left as it is: name another file "
            "with --out"
        ) from None
