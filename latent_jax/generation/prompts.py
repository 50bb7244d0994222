"""Prompts as ids that can be gone on from, and drawn ids as text."""

from collections.abc import Sequence

import numpy as np

from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.bit_tokenizer import BitTokenizer

CONTINUATIONS = (b" and so on.", b"\n\nZebra", b"es? 7", b"\xff")
"""Unlike texts: ids that a prompt has before all of them do not depend on how it goes on."""


def open_ids(tokenizer: Tokenizer, prompt: bytes) -> np.ndarray:
    """Return the ids of a text that goes on, int32[n].

    A table of pieces gives the ids of the prompt. A compressed stream ends with bits that say where
    the text ends, and its last window is filled up: these ids are left out, and with them a few of
    the prompt's last bytes, which the model then writes itself.
    """
    if not isinstance(tokenizer, BitTokenizer):
        return tokenizer.encode(prompt)
    encoded = [ids for ids, _ in tokenizer.encode_batch([prompt + c for c in CONTINUATIONS])]
    n = min(map(len, encoded))
    first = np.stack([ids[:n] for ids in encoded])
    is_shared = np.append((first == first[:1]).all(axis=0), False)
    return encoded[0][: int(np.argmin(is_shared))]


def decode_valid(tokenizer: Tokenizer, batch: Sequence[np.ndarray]) -> list[tuple[bytes, int]]:
    """Return of each sequence of ids the text and how many ids of it make sense.

    Almost every code reads any ids. One that does not, such as Deflate, is read up to the first id
    that cannot follow those before it.
    """
    try:
        texts = tokenizer.decode_batch(batch)
        return [(text, len(ids)) for text, ids in zip(texts, batch, strict=True)]
    except ValueError:
        return [_longest(tokenizer, ids) for ids in batch]


def _longest(tokenizer: Tokenizer, ids: np.ndarray) -> tuple[bytes, int]:
    """Return the longest beginning that decodes: what follows an id that fails, fails too."""
    text, good, bad = b"", 0, len(ids) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            text, good = tokenizer.decode(ids[:middle]), middle
        except ValueError:
            bad = middle
    return text, good
