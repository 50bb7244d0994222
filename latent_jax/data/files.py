"""Local text as a source: .parquet files; .txt and .jsonl, each also as .gz, .xz or .zst.

A .txt file is read as bytes, in any encoding, and cut at line ends into passages of at most 16 KiB.
Each passage is a document with its own key, so that even a single file has a validation split.
Passages of one file are therefore in different splits. To keep a book whole, write it as one line
of a .jsonl file; such documents are never divided between splits.

A .jsonl file is UTF-8, with one JSON object per line. Its strings become bytes as UTF-8. An escaped
lone surrogate, which UTF-8 cannot encode, is kept by Python's `surrogatepass`. The key is the
object's "id", or else the file name and line number.

From a .parquet file one column of strings or bytes is read. The key is the row's "id", or else the
file name and row number.
"""

import glob
import gzip
import itertools
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError, cut
from latent_jax.json_files import ANY, parse

PASSAGE_BYTES = 16 * 1024

_CHUNK_BYTES = 1 << 20
_ROWS = 1024
_FORMATS = (".txt", ".jsonl")
_OPENERS: dict[str, Callable[..., BinaryIO] | None] = {
    "": open,
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".zst": None,  # read by _zstd_chunks
}
_EXTENSIONS = (*(form + packed for form in _FORMATS for packed in _OPENERS), ".parquet")


class Files:
    """A source of the documents in local files.

    Attributes:
        paths: the files, in the order in which they are read.
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
        self._names = [name.removesuffix(_compression(path)) for path, name in found.values()]

    def stamp(self) -> Any:
        """Return path, size and time of every file, and the field that is read."""
        stats = [
            (os.fspath(path.resolve()), name, path.stat())
            for path, name in zip(self.paths, self._names, strict=True)
        ]
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
        for path, name in zip(self.paths, self._names, strict=True):
            if name.endswith(".txt"):
                yield from _passages(path, name)
            elif name.endswith(".parquet"):
                yield from _rows(path, name, self._text_field)
            else:
                yield from _records(path, name, self._text_field)


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, about 1 MiB at a time.

    Raises:
        CorpusError: the file is damaged or truncated, or this user may not read it.
    """
    try:
        opener = _OPENERS[_compression(path)]
        if opener is None:
            yield from _zstd_chunks(path)
        else:
            with opener(path, "rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
    except PermissionError as error:
        raise CorpusError(
            f"{path} may not be read by this user: change its permissions or leave it out."
        ) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise CorpusError(
            f"{path} cannot be read to its end ({error}): it is damaged or cut short; fetch it "
            "again or leave it out."
        ) from error


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of every frame; zstandard's own reader would accept truncated files."""
    with path.open("rb") as file:
        frame = None
        while data := file.read(_CHUNK_BYTES):
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                if chunk := frame.decompress(data):
                    yield chunk
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
        if frame is not None:
            raise EOFError("the last frame has no end")


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for chunk in read_chunks(path):
        *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
        yield from lines
    if rest:
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
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = parse(line, "the line", ANY)
        except ValueError as error:
            raise CorpusError(
                f"{where} is not JSON in UTF-8 ({error}): a .jsonl file holds one object a line."
            ) from error
        if not isinstance(record, dict):
            raise CorpusError(
                f"{where} holds a {type(record).__name__}: a .jsonl file holds one object a line."
            )
        if text_field not in record:
            raise CorpusError(
                f"{where} has no field {text_field!r}, only "
                f"{', '.join(map(repr, record)) or 'an empty object'}: "
                "set data.text_field to the one that holds the text."
            )
        text = record[text_field]
        if not isinstance(text, str):
            raise CorpusError(
                f"{where}: field {text_field!r} holds a {type(text).__name__}, not a string: "
                "set data.text_field to the one that holds the text."
            )
        key = _key(record.get("id"), name, number)
        yield Document(key, text.encode("utf-8", "surrogatepass"))


def _rows(path: Path, name: str, text_field: str) -> Iterator[Document]:
    import pyarrow
    from pyarrow import parquet  # imported only when needed: it takes a tenth of a second

    try:
        with parquet.ParquetFile(path) as file:
            columns = {field.name: field.type for field in file.schema_arrow}
            if text_field not in columns:
                raise CorpusError(
                    f"{path} has no column {text_field!r}, only {', '.join(map(repr, columns))}: "
                    "set data.text_field to the one that holds the text."
                )
            read = [text_field, *({"id"} & columns.keys() - {text_field})]
            batches = file.iter_batches(batch_size=_ROWS, columns=read)
            rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
            for number, row in enumerate(rows, start=1):
                text = row[text_field]
                if not isinstance(text, str | bytes):
                    raise CorpusError(
                        f"{path}, row {number}: column {text_field!r} holds "
                        f"{'nothing' if text is None else type(text).__name__}, not a string: "
                        "set data.text_field to the one that holds the text."
                    )
                text = text.encode("utf-8") if isinstance(text, str) else text
                yield Document(_key(row.get("id"), name, number), text)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(
            f"{path} cannot be read to its end ({error}): it is damaged, cut short or no Parquet; "
            "fetch it again or leave it out."
        ) from error


def _key(identity: Any, name: str, number: int) -> str:
    """Return the key of a record: its "id" if that is a string or an integer, else its place."""
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        return f"{name}:{number}"
    return str(identity)


def _compression(path: Path) -> str:
    return path.suffix if path.suffix in _OPENERS else ""


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
        if not _known(match):
            raise CorpusError(
                f"{match} has an extension that is not read: use one of {', '.join(_EXTENSIONS)}."
            )
    return [(match, match.name) for match in matches]
