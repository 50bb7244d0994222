"""Where compiled programs are kept: in the user's own cache.

A program that is loaded is run. So it must be one that this user has compiled, and never one from a
folder that may have been copied from others.

Numba keeps kernels by the file that a function stands in. A kernel that calls one of another file
would be taken from the cache although that file has changed, and an archive written by it would
open nowhere else. So kernels are kept by the content of all files that have some.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path

KERNEL_ROOMS = ("exact", "tokenizers")
"""Rooms of this package that have kernels; each chooses the folder before it imports Numba."""

UNUSED_SECONDS = 14 * 24 * 3600.0
"""After which the kernels of other sources are deleted."""

_VARIABLE = "NUMBA_CACHE_DIR"
_NAME = "kernels-"


def programs_folder(name: str) -> Path | None:
    """Return a folder for compiled programs in the user's cache, made where it is missing.

    Returns:
        The folder; None where it cannot be made, or others may write to it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        folder = cache.expanduser() / "latent_jax" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except (OSError, RuntimeError):  # no home, or no room
        return None
    is_ours = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return folder if is_ours and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


def sources_digest(package: Path) -> str:
    """Return a hash of the content of all files that may have kernels, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(path for room in KERNEL_ROOMS for path in (package / room).glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.parent.name}/{path.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def keep_kernels(package: Path = Path(__file__).parent) -> Path | None:
    """Have Numba keep its kernels in a folder for the present sources.

    NUMBA_CACHE_DIR names another place for such folders. Call it before a kernel is defined.

    Args:
        package: the folder that has the rooms.

    Returns:
        The folder; None where there is no place for one, and Numba chooses.
    """
    asked = os.environ.get(_VARIABLE)
    place = Path(asked) if asked else programs_folder("kernels")
    if place is None:
        return None
    if re.fullmatch(rf"{_NAME}[0-9a-f]{{16}}", place.name):  # a process that started this one
        place = place.parent
    folder = place / f"{_NAME}{sources_digest(package)}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(folder)
    except OSError:
        return None
    _delete_unused(place)
    os.environ[_VARIABLE] = str(folder)
    if "numba" in sys.modules:  # which has read the variable already
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    return folder


def _delete_unused(place: Path) -> None:
    for folder in place.glob(f"{_NAME}*"):
        with contextlib.suppress(OSError):  # another process was faster
            if time.time() - folder.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
