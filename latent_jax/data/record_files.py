"""Files of records (ArrayRecord): what is kept of each, so that no other one is taken for it.

A file's own checksums find a flipped bit when the record is read. They do not say that the file is
the one that was written: another split's, an older one, or none at all. So its size, how many
records it has, and a digest of the first and the last one are kept beside it. Nothing of a file is
run: a record is bytes.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grain

from latent_jax.data.documents import CorpusError
from latent_jax.json_files import Kind, check
from latent_jax.system_errors import AwayError, away, is_away


def describe_files(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return what is kept of each file, by name."""
    return {path.name: _describe(path) for path in paths}


def check_files(folder: Path, described: Mapping[str, Any], way_out: str) -> None:
    """Refuse a folder whose files are others than were described.

    Args:
        folder: of the files.
        described: from `describe_files`.
        way_out: the last clause of the message.

    Raises:
        CorpusError: naming the file, or `described` is no such description.
        AwayError: the system failed to read one.
    """
    kind = Kind(keys={"bytes": int, "records": int, "ends": str}, error=CorpusError)
    for name, known in described.items():
        path = folder / name
        check(known, f"what is kept of {path}", kind)
        if Path(name).name != name:
            raise CorpusError(f"{folder} names {name!r}, which is no file of it: {way_out}")
        try:
            found = _describe(path)
        except Exception as error:  # array_record and the file system share no class
            if is_away(error):
                raise away(path, error) from error
            raise CorpusError(f"{path} cannot be read ({_line(error)}): {way_out}") from error
        different = [key for key in found if found[key] != known[key]]
        if different:
            key = different[0]
            raise CorpusError(
                f"{path} is not the file that was written (its {key}: {known[key]} then, "
                f"{found[key]} now): {way_out}"
            )


class RecordFiles(Sequence):
    """Random access to the bytes of all records of some files, in order."""

    def __init__(self, paths: Sequence[Path], way_out: str):
        """Open the files.

        Args:
            paths: of them.
            way_out: the last clause of the message about one that cannot be read.

        Raises:
            CorpusError: one cannot be read.
            AwayError: the system failed to read one.
        """
        self._paths, self._way_out = [os.fspath(path) for path in paths], way_out
        try:
            for path in paths:
                _file(path)
            self._source = grain.sources.ArrayRecordDataSource(self._paths)
            self._n_records = len(self._source)
        except Exception as error:  # array_record and the file system share no class
            raise self._error(error) from error

    def __len__(self) -> int:
        """Return the number of records."""
        return self._n_records

    def __getitem__(self, index: int) -> bytes:
        """Read one record. Raises CorpusError where it is damaged; see also `AwayError`."""
        if not 0 <= index < self._n_records:
            raise IndexError(f"record {index} of {self._n_records}")
        try:
            return self._source[index]
        except Exception as error:
            raise self._error(error, index) from error

    def __repr__(self) -> str:
        """Name the file, or the folder of several."""
        return self._paths[0] if len(self._paths) == 1 else os.path.dirname(self._paths[0])

    def _error(self, error: Exception, index: int = 0) -> CorpusError | AwayError:
        """Return what names the file that holds a record."""
        if is_away(error):
            return away(self, error)
        where = str(self)
        for path in self._paths:
            try:
                n_records = len(grain.sources.ArrayRecordDataSource([path]))
            except Exception:  # it is this one
                where = path
                break
            if index < n_records:
                where = path
                break
            index -= n_records
        return CorpusError(f"{where} is damaged ({_line(error)}): {self._way_out}")


def _describe(path: Path) -> dict[str, Any]:
    size = _file(path).stat().st_size
    source = grain.sources.ArrayRecordDataSource([os.fspath(path)])
    ends = [source[0], source[len(source) - 1]] if len(source) else []
    digest = hashlib.sha256()
    for record in ends:
        digest.update(len(record).to_bytes(8, "little") + record)
    return {"bytes": size, "records": len(source), "ends": digest.hexdigest()[:32]}


def _file(path: Path) -> Path:
    """Return a path that is a file: a pipe would keep its reader waiting for ever."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file, but a folder, a pipe or a device")
    return path


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
