"""Folders of small files that are written atomically.

The files are written into a hidden folder beside the target and flushed to the disk; then that
folder is renamed to the target. A crash or a full disk leaves at most the hidden folder behind,
never a target with a part of the files. A bucket cannot rename. A writer that is interrupted there
leaves a part of the files; reading refuses it, and writing again completes it.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from latent_jax.paths import is_remote, open_path, open_to_read, replace_file, temporary_of
from latent_jax.system_errors import away, is_away


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name -> content) to a new folder, in one atomic step on a disk.

    A folder that already holds these files with this content is left as it is, so that a resumed
    run, or several hosts that share a disk, may save the same files again.

    Raises:
        ValueError: `folder` exists and holds anything else.
        OSError: the disk cannot be written; nothing is left behind.
    """
    folder = open_path(folder)
    if is_remote(folder):
        _write_objects(folder, files)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile.mkdtemp: only the owner could read its folder, and so the target.
    staging = temporary_of(folder)
    try:
        staging.mkdir()
        for name, content in files.items():
            with open(staging / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        try:
            os.rename(staging, folder)
        except OSError:
            if not folder.exists():
                raise
            if not _holds(folder, files):
                raise _other(folder, files) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_objects(folder: Path, files: Mapping[str, bytes]) -> None:
    there = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}
    if any(files.get(name) != content for name, content in there.items()):
        raise _other(folder, files)
    for name in files.keys() - there.keys():
        replace_file(folder / name, files[name])


def _other(folder: Path, files: Mapping[str, bytes]) -> ValueError:
    return ValueError(
        f"{folder} already exists and holds something other than {', '.join(files)} as they would "
        "be written now. Choose another folder, or move this one away."
    )


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Return whether every one of `files` is in `folder` with the same content."""
    paths = [(folder / name, content) for name, content in files.items()]
    return all(path.is_file() and path.read_bytes() == content for path, content in paths)


def read_file(folder: Path, name: str) -> bytes:
    """Return the content of one file of a saved folder.

    Raises:
        ValueError: the folder or the file is missing.
        AwayError: the system failed to read it.
    """
    try:
        with open_to_read(open_path(folder) / name) as file:
            return file.read()
    except OSError as error:
        if is_away(error):
            raise away(open_path(folder) / name, error) from error
        raise ValueError(
            f"{folder} is not a complete saved tokenizer: {name} cannot be read "
            f"({error.strerror or 'not found'}). Point to the folder that Tokenizer.save wrote, or "
            "train and save the tokenizer again."
        ) from error
