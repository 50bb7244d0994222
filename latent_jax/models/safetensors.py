"""Named arrays of NumPy as files in the safetensors format; `array_files` reads the layout."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from latent_jax.array_files import LENGTH_BYTES, METADATA, read_header, view
from latent_jax.paths import open_to_read

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U32": np.dtype(np.uint32),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
"""dtype name in the format -> NumPy dtype; all that `array_files` reads."""

ALIGNMENT = 8


def to_bytes(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a file with these arrays, marked as PyTorch's (format "pt").

    Raises:
        ValueError: the format has no such dtype.
    """
    words = {dtype: word for word, dtype in DTYPES.items()}
    header, parts, at = {METADATA: {"format": "pt"}}, [], 0
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
    entries = read_header(io.BytesIO(content)).entries
    return {name: view(content, entry, DTYPES[entry.word]) for name, entry in entries.items()}


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name.

    Raises:
        ValueError: the file cannot be read or is no whole safetensors file; the message names it.
    """
    try:
        with open_to_read(path) as file:
            return from_bytes(file.read())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
