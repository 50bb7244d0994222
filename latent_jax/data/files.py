"""Local text as a source: .parquet files; .txt and .jsonl, each also as .gz, .xz or .zst.

A .txt file is read as bytes, in any encoding, and cut at line ends into passages of at most 16 KiB.
Each passage is a document with its own key, so that even a single file has a validation split.
Passages of one file are therefore in different splits. To keep a book whole, write it as one line
of a .jsonl file; such documents are never divided between splits.

A .jsonl file is UTF-8, or UTF-16 or UTF-32 with a byte order mark; it has one JSON object per line.
Its strings become bytes as UTF-8. An escaped lone surrogate, which UTF-8 cannot encode, is kept by
Python's `surrogatepass`. A null is a document without text. The key is the object's "id", or else
the file name and line number.

From a .parquet file one column of strings or bytes is read. The key is the row's "id", or else the
file name and row number.
"""

import glob
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError, cut
from latent_jax.data.encodings import is_wide, to_utf8
from latent_jax.data.packed import OPENERS, compression, read_chunks
from latent_jax.json_files import ANY, parse

PASSAGE_BYTES = 16 * 1024

MOST_LINE_BYTES = 2**28
"""Of one line of a .jsonl file: a packed file of a few MB may stand for more than memory holds."""

_ROWS = 1024
_FORMATS = (".txt", ".jsonl")
_EXTENSIONS = (*(form + packed for form in _FORMATS for packed in OPENERS), ".parquet")


class Files:
    """A source of the documents in local files.

    Attributes:
        paths: the files, in the order in which they are read.
        names: of the files, as their keys begin, without the ending of a compression.
    """

    def __init__(self, patterns: tuple[str, ...], text_field: str = "text"):
        """Find the files.

        Args:
            patterns: files, folders (searched for every known extension) and glob patterns; `~` is
                the home folder and `**` any depth. Files are read in the order of the patterns, and
                within a pattern in the order of their paths.
            text_field: the field of a .jsonl object, or the column of a .parquet file, that holds
                the text.

        Raises:
            CorpusError: there is no pattern, a path does not exist, a pattern or a folder has no
                file, or an extension is unknown.
        """
        if not patterns:
            raise CorpusError(
                "data.source is 'files' but data.files is empty: name files, folders or glob "
                "patterns."
            )
        self._text_field = text_field
        found = {}
        for pattern in patterns:
            for path, name in _resolve(pattern):
                found.setdefault(path.resolve(), (path, name))
        self.paths = [path for path, _ in found.values()]
        # Keys use the file name without the extension of the compression, so that compressing a
        # file changes neither splits nor fingerprint.
        self.names = [name.removesuffix(compression(path)) for path, name in found.values()]

    def stamp(self) -> Any:
        """Return path, size and time of every file, and the field that is read."""
        try:
            stats = [
                (os.fspath(path.resolve()), name, path.stat())
                for path, name in zip(self.paths, self.names, strict=True)
            ]
        except FileNotFoundError as error:
            raise CorpusError(
                f"{error.filename} is not there any more: it was moved or deleted meanwhile."
            ) from error
        return [
            "files",
            self._text_field,
            [(path, name, s.st_size, s.st_mtime_ns) for path, name, s in stats],
        ]

    def documents(self) -> Iterator[Document]:
        """Yield the documents of each file in turn.

        Raises:
            CorpusError: a file cannot be read, or a record in it holds no text.
        """
        for path, name in zip(self.paths, self.names, strict=True):
            if name.endswith(".txt"):
                yield from _passages(path, name)
            elif name.endswith(".parquet"):
                yield from _rows(path, name, self._text_field)
            else:
                yield from _records(path, name, self._text_field)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, in UTF-8 where a byte order mark says what it is in."""
    parts: list[bytes] = []  # of a line that goes on; joined once, as it may have many
    n_bytes = 0
    for chunk in to_utf8(read_chunks(path)):
        *lines, rest = chunk.split(b"\n")
        if lines:
            yield b"".join([*parts, lines[0]])
            yield from lines[1:]
            parts, n_bytes = [], 0
        parts.append(rest)
        n_bytes += len(rest)
        if n_bytes > MOST_LINE_BYTES:
            raise CorpusError(
                f"{path} has a line of more than {MOST_LINE_BYTES:,} bytes: cut its text into "
                "several lines, or write it as a .txt file."
            )
    if rest := b"".join(parts):
        yield rest


def _passages(path: Path, name: str) -> Iterator[Document]:
    number, rest = 0, b""
    for chunk in read_chunks(path):
        # The last piece may continue in the next chunk.
        *pieces, rest = cut(rest + chunk, PASSAGE_BYTES)
        for piece in pieces:
            yield Document(f"{name}:{number}", piece)
            number += 1
    if rest:
        yield Document(f"{name}:{number}", rest)


def _records(path: Path, name: str, text_field: str) -> Iterator[Document]:
    for number, where, record in read_records(path):
        text = _text(record, text_field, where)
        yield Document(_key(record.get("id"), name, number), text)


def _text(record: dict[str, Any], text_field: str, where: str) -> bytes:
    if text_field not in record:
        raise CorpusError(
            f"{where} has no field {text_field!r}, only {_listed(record) or 'an empty object'}: "
            "set data.text_field to the one that holds the text."
        )
    text = record[text_field] if record[text_field] is not None else ""
    if not isinstance(text, str):
        raise CorpusError(
            f"{where}: field {text_field!r} holds {_shown(text)}, not a string: correct the "
            "line, or set data.text_field to the one that holds the text."
        )
    return text.encode("utf-8", "surrogatepass")


def read_records(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the objects of a .jsonl file: the number of a line from 1, its place, its object.

    Raises:
        CorpusError: the file cannot be read, or a line holds no object.
    """
    number, where, line = 0, str(path), b""
    lines = _lines(path)
    while True:
        try:
            line = next(lines, None)
            if line is None:
                return
            number, where = number + 1, f"{path}, line {number + 1}"
            record = parse(line, "the line", ANY) if line.strip() else None
        except CorpusError:
            raise
        except (ValueError, RecursionError) as error:
            reason = "in UTF-16 or UTF-32 without a byte order mark" if is_wide(line) else error
            raise CorpusError(
                f"{where} is not JSON in UTF-8 ({reason}): a .jsonl file holds one object a line."
            ) from error
        if not line.strip():
            continue
        if not isinstance(record, dict):
            raise CorpusError(
                f"{where} holds a {type(record).__name__}: a .jsonl file holds one object a line."
            )
        yield number, where, record


def _rows(path: Path, name: str, text_field: str) -> Iterator[Document]:
    import pyarrow
    from pyarrow import parquet  # imported only when needed: it takes a tenth of a second

    try:
        with parquet.ParquetFile(path) as file:
            columns = {field.name: field.type for field in file.schema_arrow}
            if text_field not in columns:
                raise CorpusError(
                    f"{path} has no column {text_field!r}, only {_listed(columns)}: "
                    "set data.text_field to the one that holds the text."
                )
            read = [text_field, *({"id"} & columns.keys() - {text_field})]
            batches = file.iter_batches(batch_size=_ROWS, columns=read)
            rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
            for number, row in enumerate(rows, start=1):
                text = "" if row[text_field] is None else row[text_field]
                if not isinstance(text, str | bytes):
                    raise CorpusError(
                        f"{path}, row {number}: column {text_field!r} holds {_shown(text)}, not a "
                        "string: set data.text_field to the one that holds the text."
                    )
                text = text.encode("utf-8") if isinstance(text, str) else text
                yield Document(_key(row.get("id"), name, number), text)
    except (pyarrow.ArrowException, OSError, UnicodeError) as error:
        raise CorpusError(
            f"{path} cannot be read to its end ({error}): it is damaged, cut short or no Parquet; "
            "fetch it again or leave it out."
        ) from error


def _listed(names: Iterable[str]) -> str:
    """Return the first names of many as a message shows them; a line of others may have any."""
    names = [*names]
    shown = [repr(name) if len(name) <= 40 else f"{name[:37]!r}..." for name in names[:10]]
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(shown) + more


def _shown(value: Any) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return f"a {type(value).__name__}, {text if len(text) <= 60 else text[:57] + '...'}"


def _key(identity: Any, name: str, number: int) -> str:
    """Return the key of a record: its "id" if that is a string or an integer, else its place."""
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        return f"{name}:{number}"
    return str(identity)


def _known(path: Path) -> bool:
    return path.name.endswith(_EXTENSIONS)


def _resolve(pattern: str) -> list[tuple[Path, str]]:
    """Return the files that a pattern matches, each with the name that its keys begin with."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file() and _known(p))
        if not inside:
            raise CorpusError(
                f"The folder {pattern} holds no text: looked for {', '.join(_EXTENSIONS)} at any "
                "depth."
            )
        return [(p, p.relative_to(path).as_posix()) for p in inside]
    if path.exists():
        matches = [path]
    elif glob.has_magic(pattern):
        matches = sorted(
            Path(match)
            for match in glob.glob(os.fspath(path), recursive=True)
            if os.path.isfile(match)
        )
        if not matches:
            raise CorpusError(
                f"The pattern {pattern} matches no file (working folder: {Path.cwd()})."
            )
    else:
        raise CorpusError(
            f"{pattern} does not exist (working folder: {Path.cwd()}): correct data.files."
        )
    for match in matches:
        if not match.is_file():
            raise CorpusError(
                f"{match} is no file but a pipe or a device, which can be read once only: copy it "
                "into a file."
            )
        if not _known(match):
            raise CorpusError(
                f"{match} has an extension that is not read: use one of {', '.join(_EXTENSIONS)}."
            )
    return [(match, match.name) for match in matches]
