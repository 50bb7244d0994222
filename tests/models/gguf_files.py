"""Writes GGUF files as the format's page says, for tests; independent of the reader."""

import struct

import numpy as np

TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6}
TYPES |= {"bool": 7, "str": 8, "array": 9, "u64": 10, "i64": 11, "f64": 12}
LETTERS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f"}
LETTERS |= {"bool": "?", "u64": "Q", "i64": "q", "f64": "d"}


def text(value):
    content = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(content)) + content


def typed(kind, value):
    """Return a value without its type; the kind of an array is written ["str"]."""
    if isinstance(kind, list):
        items = b"".join(typed(kind[0], item) for item in value)
        return struct.pack("<IQ", number(kind[0]), len(value)) + items
    return text(value) if kind == "str" else struct.pack(f"<{LETTERS[kind]}", value)


def number(kind):
    return TYPES["array"] if isinstance(kind, list) else TYPES[kind]


def guessed(value):
    """Return the kind that files in use have for such a value."""
    if isinstance(value, list):
        return [guessed(value[0])]
    return {bool: "bool", int: "u32", float: "f32", str: "str", bytes: "str"}[type(value)]


def made(words, tensors, version=3, alignment=32, magic=b"GGUF"):
    """Return the content of a file.

    Args:
        words: key -> value, or (kind, value).
        tensors: name -> float32 array, or (type, axes with the fastest first, bytes).
        version: of the format.
        alignment: of tensors; it must be stated in `words` where it is not 32.
        magic: first letters.
    """
    head = magic + struct.pack("<IQQ", version, len(tensors), len(words))
    for key, value in words.items():
        kind, value = value if isinstance(value, tuple) else (guessed(value), value)
        head += text(key) + struct.pack("<I", number(kind)) + typed(kind, value)
    body = b""
    for name, tensor in tensors.items():
        if isinstance(tensor, np.ndarray):
            tensor = (0, tensor.shape[::-1], tensor.astype("<f4").tobytes())
        kind, axes, content = tensor
        head += text(name) + struct.pack("<I", len(axes))
        head += struct.pack(f"<{len(axes)}QIQ", *axes, kind, len(body))
        body += content + bytes(-len(content) % alignment)
    return head + bytes(-len(head) % alignment) + body
