"""The unit that every corpus is made of: bytes and a stable key.

Text becomes bytes once, at the source. Nothing after it decodes: a document need not be UTF-8, and
its length in bytes is the denominator of every bits per byte in this project.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol


class Document(NamedTuple):
    """One text.

    Attributes:
      key: Names the document wherever it is stored; its hash decides the split. Need not be unique:
        documents that share a key share a split.
      text: The raw bytes, in any encoding.
    """

    key: str
    text: bytes


class CorpusError(ValueError):
    """Text that cannot be read or made into a corpus. The message says what to change."""


class Source(Protocol):
    """Where documents come from."""

    def documents(self) -> Iterator[Document]:
        """Yields every document, always in the same order. Raises CorpusError."""
        ...

    def stamp(self) -> Any:
        """Returns JSON data that changes when the documents may have, without reading them."""
        ...


def cut(text: bytes, limit: int) -> Iterator[bytes]:
    """Cuts text into pieces of at most `limit` bytes that join to `text` exactly.

    Cuts fall after the last line end within the limit, else after the last space, else between two
    UTF-8 characters, else (text that is not UTF-8) anywhere.
    """
    start = 0
    while len(text) - start > limit:
        end = start + limit
        for mark in (b"\n", b" "):
            found = text.rfind(mark, start, end)
            if found >= 0:
                end = found + 1
                break
        else:
            # A character has at most three continuation bytes, 0b10xxxxxx.
            back = next((n for n in range(4) if text[end - n] & 0xC0 != 0x80), 0)
            if end - back > start:
                end -= back
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
