"""Noise on texts: letters that change their case, and typos. Nothing but ASCII letters is hit.

The same seed and text always give the same noise, whatever texts stand before it.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

CASE_SHARE, TYPO_SHARE = 0.10, 0.05
"""Of letters, those that are hit."""

_ROWS = (b"qwertyuiop", b"asdfghjkl", b"zxcvbnm")
"""Of a keyboard; a key of a lower row lies between two of the row above it."""

_CASE_BIT = 32


def _neighbours() -> dict[int, bytes]:
    """Return the keys beside each key, and above and below it."""
    places = {key: (row, at) for row, keys in enumerate(_ROWS) for at, key in enumerate(keys)}
    steps = {(0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0)}
    return {
        key: bytes(other for other, (y, x) in places.items() if (y - row, x - at) in steps)
        for key, (row, at) in places.items()
    }


NEIGHBOURS = _neighbours()
"""Lower-case letter -> those beside it on a keyboard."""


def flip_case(text: bytes, seed: int) -> bytes:
    """Return a text in which each letter has changed its case with probability 0.10."""
    bytes_T = np.frombuffer(text, np.uint8)
    is_hit_T = _is_letter(bytes_T) & (_generator(text, seed).random(len(text)) < CASE_SHARE)
    return np.where(is_hit_T, bytes_T ^ _CASE_BIT, bytes_T).tobytes()


def mistype(text: bytes, seed: int) -> bytes:
    """Return a text in which each letter is mistyped with probability 0.05.

    It is replaced by a neighbour on the keyboard in the same case, dropped, or doubled; a third of
    each.
    """
    bytes_T = np.frombuffer(text, np.uint8)
    draws = _generator(text, seed)
    is_hit_T = _is_letter(bytes_T) & (draws.random(len(text)) < TYPO_SHARE)
    kinds_T, which_T = draws.integers(3, size=len(text)), draws.random(len(text))
    found = bytearray()
    last = 0
    for at in np.flatnonzero(is_hit_T):
        found += text[last:at]
        letter = text[at]
        if kinds_T[at] == 0:
            beside = NEIGHBOURS[letter | _CASE_BIT]
            found.append(beside[int(which_T[at] * len(beside))] ^ _CASE_BIT ^ (letter & _CASE_BIT))
        elif kinds_T[at] == 1:
            found += bytes([letter, letter])
        last = at + 1
    return bytes(found + text[last:])


NOISES: dict[str, Callable[[bytes, int], bytes]] = {
    "none": lambda text, seed: text,
    "case flips, 10 %": flip_case,
    "typos, 5 %": mistype,
}
"""Name -> function of a text and a seed."""


def noised(texts: Sequence[bytes], noise: str, seed: int) -> list[bytes]:
    """Return texts with a noise of `NOISES`; one of which nothing is left is dropped."""
    return [*filter(None, (NOISES[noise](text, seed) for text in texts))]


def _is_letter(bytes_T: np.ndarray) -> np.ndarray:
    lower_T = bytes_T | _CASE_BIT
    return (lower_T >= ord("a")) & (lower_T <= ord("z"))


def _generator(text: bytes, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(text).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, np.uint32)])
