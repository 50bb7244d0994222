"""Files of named arrays in the safetensors format, https://github.com/huggingface/safetensors.

The first eight bytes are the length of a header, a little-endian integer. The header is JSON:
name -> dtype, shape, and the range of the array's bytes after the header. The file contains no
code that reading would execute. The format is implemented here because the library's NumPy
functions do not support bfloat16, which NumPy itself lacks.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
"""dtype name in the format -> NumPy dtype."""

LENGTH_BYTES, ALIGNMENT = 8, 8


def to_bytes(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a file with these arrays, marked as PyTorch's (format "pt").

    Raises:
        ValueError: the format has no such dtype.
    """
    words = {dtype: word for word, dtype in DTYPES.items()}
    header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, x in tensors.items():
        if x.dtype not in words:
            raise ValueError(f"{name} is {x.dtype}; safetensors has {', '.join(DTYPES)}")
        part = np.ascontiguousarray(x).tobytes()
        header[name] = {
            "dtype": words[x.dtype],
            "shape": list(x.shape),
            "data_offsets": [at, at + len(part)],
        }
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return b"".join([len(text).to_bytes(LENGTH_BYTES, "little"), text, *parts])


def from_bytes(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name; they are views of `content`.

    Raises:
        ValueError: the content is no whole safetensors file.
    """
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    begin = LENGTH_BYTES + length
    if len(content) < begin or length == 0:
        raise ValueError(f"a header of {length:,} bytes in {len(content):,}: the file is cut off")
    try:
        header = json.loads(content[LENGTH_BYTES:begin])
        header.pop("__metadata__", None)
        return {name: _view(content, begin, name, **entry) for name, entry in header.items()}
    except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"its header is not that of safetensors: {error}") from error


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Raises:
        ValueError: the file cannot be read or is no whole safetensors file; the message names it.
    """
    try:
        return from_bytes(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error


def _view(content: bytes, begin: int, name: str, dtype, shape, data_offsets) -> np.ndarray:
    if dtype not in DTYPES:
        raise ValueError(f"{name} is {dtype}; only {', '.join(DTYPES)} are read")
    first, last = data_offsets
    size = math.prod(shape)
    if not 0 <= first <= last <= len(content) - begin:
        raise ValueError(f"{name} ends at byte {last} of {len(content) - begin}: it is cut off")
    if last - first != size * DTYPES[dtype].itemsize:
        raise ValueError(f"{name} has {last - first} bytes, and its shape is {shape} of {dtype}")
    return np.frombuffer(content, DTYPES[dtype], size, begin + first).reshape(shape)
