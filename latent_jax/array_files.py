"""Files of named arrays in the layout of safetensors, https://github.com/huggingface/safetensors.

The first eight bytes are the length of a header, a little-endian integer. The header is JSON:
name -> dtype, shape, and the range of the array's bytes after the header; "__metadata__" holds
text. The file contains no code that reading would execute. Its numbers may come from anybody and
are checked here, once for all who read such files; which names, dtypes and shapes a model has is
theirs to check. The library's NumPy functions do not support bfloat16, which NumPy itself lacks.

No JAX is imported here: who decodes files on a processor alone reads these too.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from latent_jax.json_files import Kind, check, parse

ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U32": 4,
    "U8": 1,
    "BOOL": 1,
}
"""dtype in the format -> bytes of a number."""

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000
"""Of a header; the library reads no longer one."""
MOST_AXES = 32
MOST_NUMBERS = 1 << 60
"""Of a shape whose axes of length 0 are left out of account, so that NumPy can say its size."""
METADATA = "__metadata__"

ENTRY = Kind(keys={"dtype": str, "shape": list, "data_offsets": list})


class ArrayFileError(ValueError):
    """A file is not of this layout, was cut short or is damaged."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where an array lies.

    Attributes:
        word: dtype, one of `ITEM_BYTES`.
        shape: of the array.
        first: its first byte, counted from the beginning of the file.
        last: the byte behind it.
    """

    word: str
    shape: tuple[int, ...]
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        metadata: texts by name.
        entries: the arrays by name, in the order of the header.
    """

    metadata: Mapping[str, str]
    entries: Mapping[str, Entry]


def read_header(file: BinaryIO) -> Header:
    """Return the header of a file, which is read from its beginning.

    Every array has a known dtype and as many bytes as its shape needs; arrays follow each other
    without gaps, and the file ends behind the last.

    Raises:
        ArrayFileError: that is not so. The message does not name the file.
        OSError: it cannot be read.
    """
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 0 < length <= size - LENGTH_BYTES:
        raise ArrayFileError(f"a header of {length:,} bytes in {size:,}: the file is cut off")
    if length > MOST_HEADER_BYTES:
        raise ArrayFileError(f"a header of {length:,} bytes; none has over {MOST_HEADER_BYTES:,}")
    try:
        header = parse(file.read(length), "it", pairs=_unique)
        metadata = header.pop(METADATA, {})
        check(metadata, METADATA, Kind(items=str))
        check(header, "it", Kind(items=dict))
        for name, entry in header.items():
            label = printable(name)
            check(entry, label, ENTRY)
            for key in ("shape", "data_offsets"):
                check(entry[key], f"{key} of {label}", Kind(list, items=int))
    except ValueError as error:
        raise ArrayFileError(f"its header is not that of safetensors: {error}") from error
    begin = LENGTH_BYTES + length
    entries = {name: _entry(name, begin, size, **entry) for name, entry in header.items()}
    at = begin
    for name, entry in sorted(entries.items(), key=lambda pair: (pair[1].first, pair[1].last)):
        if entry.first != at:
            what = "overlaps another array" if entry.first < at else "has a gap before it"
            where = f"{printable(name)} begins at byte {entry.first - begin}"
            raise ArrayFileError(f"{where} and {what}")
        at = entry.last
    if at != size:
        raise ArrayFileError(f"{size - at} bytes behind the last array belong to none")
    return Header(metadata, entries)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, whose names differ: another reader could take another one of two."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{printable(twice)} is there twice")
    return found


def _entry(
    name: str, begin: int, size: int, dtype: str, shape: list[int], data_offsets: list[int], **rest
) -> Entry:
    """Return an entry whose numbers are in range and agree."""
    label = printable(name)
    if rest:
        raise ArrayFileError(
            f"{label} has {printable(', '.join(rest))}, which the format does not have"
        )
    if dtype not in ITEM_BYTES:
        raise ArrayFileError(
            f"{label} is {printable(dtype)}; only {', '.join(ITEM_BYTES)} are read"
        )
    if len(shape) > MOST_AXES or min(shape, default=0) < 0:
        raise ArrayFileError(f"{label} has {_short(shape)} as its shape")
    if math.prod(length or 1 for length in shape) > MOST_NUMBERS:
        raise ArrayFileError(f"{label} has {_short(shape)} as its shape")
    if len(data_offsets) != 2 or not 0 <= data_offsets[0] <= data_offsets[1]:
        raise ArrayFileError(f"{label} has {_short(data_offsets)} as its data_offsets")
    first, last = data_offsets
    if last > size - begin:
        raise ArrayFileError(f"{label} ends at byte {last} of {size - begin}: it is cut off")
    if last - first != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ArrayFileError(
            f"{label} has {last - first} bytes, and its shape is {shape} of {dtype}"
        )
    return Entry(dtype, tuple(shape), begin + first, begin + last)


def printable(name: str) -> str:
    """Return a name from anybody as a message can show it."""
    return name if name.isprintable() and len(name) <= 80 else ascii(name)[:80]


def _short(numbers: list[int]) -> str:
    text = str(numbers)
    return text if len(text) <= 80 else f"{text[:77]}..."


def view(content: bytes, entry: Entry, dtype: np.dtype) -> np.ndarray:
    """Return an array of a file whose whole content is given; it is a view of it.

    Args:
        content: of the file.
        entry: from `read_header` of it.
        dtype: of the array, little-endian; as large as `entry.word`.
    """
    size = math.prod(entry.shape)
    return np.frombuffer(content, dtype, size, entry.first).reshape(entry.shape)


def read_array(file: BinaryIO, entry: Entry, dtype: np.dtype) -> np.ndarray:
    """Return an array of an open file; see `view`."""
    file.seek(entry.first)
    return np.frombuffer(file.read(entry.last - entry.first), dtype).reshape(entry.shape)
