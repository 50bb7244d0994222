"""Code that all sources of documents share: their error, and the cutting of long texts.

A source turns text into bytes, and nothing later decodes them. So a document need not be UTF-8, and
its length in bytes is the denominator of all bits per byte in this project.
"""

from collections.abc import Iterator


class CorpusError(ValueError):
    """Text cannot be read or made into a corpus. The message says what to change."""


def cut(text: bytes, limit: int) -> Iterator[bytes]:
    """Cut text into pieces of at most `limit` bytes that join to `text` exactly.

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
