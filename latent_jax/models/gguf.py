"""Files of llama.cpp, GGUF: typed keys with values, and tensors in blocks of few bits.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3,
little-endian: magic, version, number of tensors, number of keys; keys with values of 13 types; for
each tensor its name, axes (the fastest first), type and offset; padding; the tensors' bytes. All
numbers may come from anybody and are checked here: nothing is read or reserved beyond the file.
"""

import dataclasses
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from latent_jax.array_files import printable
from latent_jax.models.gguf_blocks import BLOCKS, NAMES, dequantize
from latent_jax.paths import open_to_read

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"
MOST_AXES = 4
MOST_DEPTH = 4
"""Of arrays of arrays; files in use have none."""
MOST_ALIGNMENT = 1 << 20

NUMBERS = {
    0: "u1",
    1: "i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""Type of a value -> NumPy's name of the dtype."""
BOOL, STRING, ARRAY = 7, 8, 9
LEAST_BYTES = {kind: np.dtype(name).itemsize for kind, name in NUMBERS.items()} | {
    BOOL: 1,
    STRING: 8,
    ARRAY: 12,
}
"""Type of a value -> the fewest bytes that one takes in a file."""


class GGUFError(ValueError):
    """A file is no GGUF, was cut short, is damaged, or has what is not read here."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Where a tensor lies.

    Attributes:
        kind: of its blocks, a key of `gguf_blocks.BLOCKS`.
        shape: of the array, the fastest axis last, as in NumPy: [outputs, inputs] of a matrix.
        first: its first byte, counted from the beginning of the file.
        last: the byte behind it.
    """

    kind: int
    shape: tuple[int, ...]
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class GGUF:
    """What a file says of itself.

    Attributes:
        path: of the file.
        words: values by key: int, float, bool, str, a list of those, or for an array of numbers a
            NumPy array.
        tensors: by name, in the order of the file.
    """

    path: Path
    words: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def read(self, name: str) -> np.ndarray:
        """Return a tensor in float32.

        Raises:
            GGUFError: the file has changed since it was opened.
        """
        tensor = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(tensor.first)
            content = file.read(tensor.last - tensor.first)
        if len(content) != tensor.last - tensor.first:
            raise GGUFError(f"{self.path} has become shorter while it was read")
        return dequantize(content, tensor.kind).reshape(tensor.shape)


def open_gguf(path: str | Path) -> GGUF:
    """Return what a file says of itself; its tensors are read later, one by one.

    Raises:
        GGUFError: it cannot be read or is no whole GGUF; the message names it.
    """
    path = Path(path)
    try:
        with open_to_read(path) as file:
            return GGUF(path, *read_header(file))
    except OSError as error:
        raise GGUFError(f"{path} cannot be read: {error.strerror}") from error
    except GGUFError as error:
        raise GGUFError(f"{path} is no GGUF that can be read: {error}") from error


def read_header(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the words and the tensors of a file; see `GGUF`.

    Raises:
        GGUFError: the content is not of the format; the message does not name the file.
        OSError: it cannot be read.
    """
    reader = _Reader(file)
    if reader.take(4, "the magic") != MAGIC:
        raise GGUFError("it does not begin with the letters GGUF")
    version = reader.number("<u4", "the version")
    if version not in VERSIONS:
        other_end = int.from_bytes(version.to_bytes(4, "little"), "big")
        kind = " big-endian" if other_end in VERSIONS else f" version {version}"
        raise GGUFError(f"it is of the{kind} kind; little-endian versions 2 and 3 are read")
    n_tensors, n_words = (reader.number("<u8", "a count") for _ in range(2))
    # A name takes 8 bytes at least; so these counts bound all that follows.
    reader.afford(n_tensors, 8 + 4 + 4 + 8, "tensors")
    reader.afford(n_words, 8 + 4 + 1, "keys")
    words: dict[str, Any] = {}
    for _ in range(n_words):
        key = reader.text("a key")
        if key in words:
            raise GGUFError(f"the key {printable(key)} is there twice")
        words[key] = reader.value(reader.number("<u4", "a type"), printable(key))
    infos = {}
    for _ in range(n_tensors):
        name = reader.text("the name of a tensor")
        if name in infos:
            raise GGUFError(f"the tensor {printable(name)} is there twice")
        infos[name] = _info(reader, printable(name))
    return words, _placed(infos, reader.at, reader.size, _alignment(words))


def _info(reader: "_Reader", label: str) -> tuple[int, tuple[int, ...], int]:
    """Return kind, shape and offset of a tensor."""
    n_axes = reader.number("<u4", f"the axes of {label}")
    if not 1 <= n_axes <= MOST_AXES:
        raise GGUFError(f"{label} has {n_axes} axes; a tensor has 1 to {MOST_AXES}")
    shape = [reader.number("<u8", f"an axis of {label}") for _ in range(n_axes)]
    kind = reader.number("<u4", f"the type of {label}")
    if kind not in BLOCKS:
        known = ", ".join(block.name for block in BLOCKS.values())
        raise GGUFError(f"{label} is of type {NAMES.get(kind, kind)}; {known} are read")
    if min(shape) < 1 or shape[0] % BLOCKS[kind].n_weights:
        raise GGUFError(
            f"{label} has axes of {shape}, and {BLOCKS[kind].name} needs rows of whole blocks of "
            f"{BLOCKS[kind].n_weights}"
        )
    return kind, tuple(reversed(shape)), reader.number("<u8", f"the offset of {label}")


def _placed(
    infos: Mapping[str, tuple[int, tuple[int, ...], int]], at: int, size: int, alignment: int
) -> dict[str, Tensor]:
    """Return the tensors; they follow each other, each at the next multiple of the alignment."""
    begin = -(-at // alignment) * alignment
    tensors, expected = {}, 0
    for name, (kind, shape, offset) in infos.items():
        label = printable(name)
        n_bytes = math.prod(shape) // BLOCKS[kind].n_weights * BLOCKS[kind].n_bytes
        if offset != expected:
            raise GGUFError(f"{label} begins at byte {offset}, and the one before ends {expected}")
        if n_bytes > size - begin - offset:
            raise GGUFError(f"{label} needs {n_bytes:,} bytes at {begin + offset:,} of {size:,}")
        tensors[name] = Tensor(kind, shape, begin + offset, begin + offset + n_bytes)
        expected = -(-(offset + n_bytes) // alignment) * alignment
    end = begin + expected if tensors else size
    if size > max(end, at):
        raise GGUFError(f"{size - end:,} bytes behind the last tensor belong to none")
    return tensors


def _alignment(words: Mapping[str, Any]) -> int:
    value = words.get(ALIGNMENT, 32)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= MOST_ALIGNMENT or value & (value - 1):
        shown = printable(str(value))
        raise GGUFError(f"{ALIGNMENT} is {shown}; it is a power of 2 up to {MOST_ALIGNMENT}")
    return value


class _Reader:
    """Reads a file in order, and never asks for more bytes than it has."""

    def __init__(self, file: BinaryIO):
        self.size = file.seek(0, 2)
        file.seek(0)
        self.at, self._file = 0, file

    def take(self, n_bytes: int, what: str) -> bytes:
        if n_bytes > self.size - self.at:
            raise GGUFError(f"{what} ends behind the file, which has {self.size:,} bytes")
        self.at += n_bytes
        return self._file.read(n_bytes)

    def afford(self, count: int, least: int, what: str) -> None:
        if count * least > self.size - self.at:
            raise GGUFError(f"{count:,} {what} do not fit into {self.size:,} bytes")

    def number(self, name: str, what: str) -> Any:
        dtype = np.dtype(name)
        value = np.frombuffer(self.take(dtype.itemsize, what), dtype)[0]
        # The shortest decimal number: a float32 of 1e-5 is 1e-5, not 9.999999747378752e-06.
        return float(str(value)) if dtype.kind == "f" else value.item()

    def text(self, what: str) -> str:
        (length,) = struct.unpack("<Q", self.take(8, what))
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise GGUFError(f"{what} is not UTF-8 text: {error.reason}") from error

    def value(self, kind: int, label: str, depth: int = 0) -> Any:
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], label)
        if kind == STRING:
            return self.text(label)
        if kind == BOOL:
            return self._bools(1, label)[0]
        if kind != ARRAY:
            raise GGUFError(f"{label} has a value of the unknown type {kind}")
        if depth == MOST_DEPTH:
            raise GGUFError(f"{label} has arrays in arrays, more than {MOST_DEPTH} deep")
        kind, count = self.number("<u4", label), self.number("<u8", label)
        if kind not in LEAST_BYTES:
            raise GGUFError(f"{label} has values of the unknown type {kind}")
        self.afford(count, LEAST_BYTES[kind], f"values of {label}")
        if kind in NUMBERS:
            dtype = np.dtype(NUMBERS[kind])
            return np.frombuffer(self.take(count * dtype.itemsize, label), dtype)
        if kind == BOOL:
            return self._bools(count, label)
        return [self.value(kind, label, depth + 1) for _ in range(count)]

    def _bools(self, count: int, label: str) -> list[bool]:
        found = self.take(count, label)
        if found.strip(b"\x00\x01"):
            raise GGUFError(f"{label} has a byte that is neither true nor false")
        return [byte == 1 for byte in found]
