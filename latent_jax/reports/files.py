"""Files that are whole or not there: a report that is cut off leaves the old one in place."""

import os
from pathlib import Path


def replace_file(path: str | Path, data: bytes) -> Path:
    """Write `data` beside `path`, then move it there in one step; folders are made as needed.

    Raises:
        OSError: when the disk is full or the folder cannot be written; `path` is then unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
