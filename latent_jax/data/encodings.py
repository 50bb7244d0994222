"""How text files say what they are: byte order marks, and the first bytes of compressed ones."""

import codecs
import itertools
from collections.abc import Iterable, Iterator

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LONGEST = 8
"""Bytes of a file that are enough to know it."""

PACKED = (
    (b"\x1f\x8b\x08", "gzip", ".gz"),
    (b"\xfd7zXZ\x00", "xz", ".xz"),
    (b"\x28\xb5\x2f\xfd", "zstd", ".zst"),
    (b"BZh", "bzip2", ""),
    (b"PK\x03\x04", "zip", ""),
    (b"PAR1", "Parquet", ".parquet"),
)
"""First bytes, what they are of, and the ending by which such a file is read ("" = none)."""


def packed_kind(start: bytes) -> tuple[str, str] | None:
    """Return (kind, ending) of a compressed file by its first bytes; None for any other."""
    return next(((kind, end) for magic, kind, end in PACKED if start.startswith(magic)), None)


def to_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield text without its byte order mark, in UTF-8 where the mark says UTF-16 or UTF-32.

    Text without a mark passes unchanged, in whatever encoding it is.

    Raises:
        UnicodeDecodeError: it is not in the encoding of its mark.
    """
    chunks, start = iter(chunks), b""
    for chunk in chunks:
        start += chunk
        if len(start) >= LONGEST:
            break
    mark, encoding = next(((m, e) for m, e in MARKS if start.startswith(m)), (b"", "utf-8"))
    chunks = itertools.chain([start[len(mark) :]], chunks)
    if encoding == "utf-8":
        yield from (chunk for chunk in chunks if chunk)
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text.encode("utf-8")
    decoder.decode(b"", final=True)  # refuses half a character


def is_wide(start: bytes) -> bool:
    """Return whether text looks like UTF-16 or UTF-32 without a mark: every other byte is zero."""
    return len(start) > 3 and (not any(start[1:LONGEST:2]) or not any(start[0:LONGEST:2]))
