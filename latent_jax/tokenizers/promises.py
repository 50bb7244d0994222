"""What a tokenizer promises, checked where its ids enter: a wrong one would give wrong numbers.

Ids of another shape, outside of the vocabulary or equal to the separator are no error to NumPy and
JAX. They would be joined, clamped and scored, and the results would look like any others.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

SAMPLE = b"".join(
    [
        bytes(range(256)),
        "The naïve 象 \U0001f418, twice: the naïve 象.\n".encode(),
        b"\xff\xfe no UTF-8 \xc3(  \t\r\n",
    ]
)
"""A text with every byte and with words, in part no UTF-8."""


def check_encoded(
    tokenizer: Any, text: bytes, ids: np.ndarray, byte_lengths: np.ndarray, of: str = "a text"
) -> None:
    """Check the ids of one text, and the bytes that they stand for.

    It takes a few microseconds, because every document of a run passes here.

    Args:
        tokenizer: see `tokenizers.base.Tokenizer`.
        text: what was encoded.
        ids: what `encode` returned.
        byte_lengths: what `byte_lengths` returned for them.
        of: names the text in messages.

    Raises:
        ValueError: an array is not one-dimensional and of integers, they differ in length, an id is
            outside of the vocabulary or the separator, or the bytes do not add up to the text.
    """
    _check_ids(tokenizer, ids, of)
    _check_integers(tokenizer, byte_lengths, "byte_lengths", of)
    if len(ids) != len(byte_lengths):
        raise ValueError(
            f"Tokenizer {tokenizer.name} gives {of} {len(ids)} ids and {len(byte_lengths)} "
            f"byte_lengths, one for each id: mend {_class(tokenizer)}"
        )
    if len(ids) and int(byte_lengths.min()) < 0:
        raise ValueError(
            f"Tokenizer {tokenizer.name} gives {of} an id of {int(byte_lengths.min())} bytes: its "
            f"byte_lengths are wrong, mend {_class(tokenizer)}"
        )
    n_bytes = int(byte_lengths.sum(dtype=np.int64))
    if n_bytes != len(text):
        raise ValueError(
            f"Tokenizer {tokenizer.name} gives {of} of {len(text)} bytes ids whose byte_lengths "
            f"add up to {n_bytes}: its byte_lengths are wrong, and bits per byte would be too. "
            f"Mend {_class(tokenizer)}"
        )


def _check_ids(tokenizer: Any, ids: np.ndarray, of: str) -> None:
    _check_integers(tokenizer, ids, "ids", of)
    if not len(ids):
        return
    separator, size = tokenizer.separator_id, tokenizer.vocab_size
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= size:
        raise ValueError(
            f"Tokenizer {tokenizer.name} gives {of} the id {low if low < 0 else high}, which is "
            f"outside of its vocabulary, [0, {size}): mend {_class(tokenizer)}"
        )
    if low <= separator <= high and (ids == separator).any():
        raise ValueError(
            f"Tokenizer {tokenizer.name} gives {of} the id {separator}, which is its "
            f"separator_id: an id of its own stands between documents, mend {_class(tokenizer)}"
        )


def _check_integers(tokenizer: Any, array: Any, what: str, of: str) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"Tokenizer {tokenizer.name} gives {of} {what} that are {_described(array)}, and not "
            f"integers of shape [n]: mend {_class(tokenizer)}"
        )


def check_numbers(tokenizer: Any, of: str) -> None:
    """Check the numbers that a tokenizer states; nothing is encoded.

    Args:
        tokenizer: see `tokenizers.base.Tokenizer`.
        of: what made it, for messages.

    Raises:
        ValueError: one is missing, of another type, or out of its range.
    """
    size, separator, flops = (
        getattr(tokenizer, name, None) for name in ("vocab_size", "separator_id", "flops_per_byte")
    )
    is_size = _is_whole(size) and size > 1
    for name, value, is_right, must in (
        ("name", getattr(tokenizer, "name", None), bool(getattr(tokenizer, "name", "")), "be text"),
        ("vocab_size", size, is_size, "be a whole number above 1"),
        (
            "separator_id",
            separator,
            is_size and _is_whole(separator) and 0 <= separator < size,
            f"be an id of its vocabulary, from 0 to {size - 1 if is_size else 'vocab_size - 1'}",
        ),
        (
            "flops_per_byte",
            flops,
            isinstance(flops, int | float) and 0 <= flops < math.inf,
            "be a number of at least 0",
        ),
    ):
        if not is_right:
            raise ValueError(
                f"{of}: {name} of its tokenizer must {must}; got {value!r}: mend "
                f"{_class(tokenizer)}"
            )


def check_sample(tokenizer: Any, texts: Sequence[bytes] = (SAMPLE, b"")) -> None:
    """Check a tokenizer on short texts, one of which has every byte: there and back.

    Args:
        tokenizer: see `tokenizers.base.Tokenizer`.
        texts: to encode.

    Raises:
        ValueError: it fails on one, its ids are wrong, or a text does not come back although the
            tokenizer is lossless.
    """
    of = "a sample of all bytes"
    try:
        for text in texts:  # before byte_lengths, which may refuse ids with another message
            _check_ids(tokenizer, tokenizer.encode(text), of)
        encoded = tokenizer.encode_batch(texts)
        for text, (ids, byte_lengths) in zip(texts, encoded, strict=True):
            check_encoded(tokenizer, text, ids, byte_lengths, of)
        restored = [tokenizer.decode(ids) for ids, _ in encoded] if tokenizer.is_lossless else texts
        end = tokenizer.decode([tokenizer.separator_id])
        tokenizer.fingerprint()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(_failed(tokenizer, error)) from error
    except UnicodeError as error:
        raise ValueError(_failed(tokenizer, error)) from error
    if end != b"":
        raise ValueError(
            f"Tokenizer {tokenizer.name} decodes its separator to {end!r}, and it stands for no "
            f"bytes: mend {_class(tokenizer)}"
        )
    if list(restored) != list(texts):
        raise ValueError(
            f"Tokenizer {tokenizer.name} does not give {of} back, decode(encode(text)): mend "
            f"{_class(tokenizer)}, or set is_lossless = False"
        )


def _failed(tokenizer: Any, error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return (
        f"Tokenizer {tokenizer.name} fails on a text with every byte, also such as are no UTF-8 "
        f"({type(error).__name__}: {said}): mend {_class(tokenizer)}"
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _described(array: Any) -> str:
    if isinstance(array, np.ndarray):
        return f"{array.dtype}{[*array.shape]}"
    return f"a {type(array).__name__}"


def _class(tokenizer: Any) -> str:
    return f"{type(tokenizer).__qualname__} of {type(tokenizer).__module__}"
