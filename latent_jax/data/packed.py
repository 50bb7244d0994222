"""Files as bytes, also compressed ones, whose names and first bytes must agree."""

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from latent_jax.data.documents import CorpusError
from latent_jax.data.encodings import LONGEST, packed_kind

_CHUNK_BYTES = 1 << 20
OPENERS: dict[str, Callable[..., BinaryIO] | None] = {
    "": open,
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".zst": None,  # read by _zstd_chunks
}


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, about 1 MiB at a time.

    Raises CorpusError where the file is damaged, cut short, or not for this user to read.
    """
    try:
        _check_start(path)
        opener = OPENERS[compression(path)]
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
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path} is not there any more: it was moved or deleted while it was to be read."
        ) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise CorpusError(
            f"{path} cannot be read to its end ({error}): it is damaged or cut short; fetch it "
            "again or leave it out."
        ) from error


def _check_start(path: Path) -> None:
    """Refuse a file that its first bytes call something else than its name does."""
    with path.open("rb") as file:
        found = packed_kind(file.read(LONGEST))
    if found and found[1] != compression(path):
        kind, ending = found
        way_out = "unpack it, or leave it out"
        if ending and ending in OPENERS:
            way_out = f"give its name the ending {ending}"
        raise CorpusError(f"{path} holds {kind} data, which its name does not say: {way_out}.")


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Decompresses every frame; zstandard's own reader takes a truncated file for a whole one."""
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


def compression(path: Path) -> str:
    """Return the ending of a file's name that says how it is compressed; "" where it is not."""
    return path.suffix if path.suffix in OPENERS else ""
