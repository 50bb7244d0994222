"""Prompts as ids that a model can continue, and drawn ids as text."""

import re
from collections.abc import Sequence

import numpy as np

from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.bit_tokenizer import BitTokenizer

CONTINUATIONS = (b" and so on.", b"\n\nZebra", b"es? 7", b"\xff")
"""Unlike endings: ids that a prompt has with each of them do not depend on how the text goes on."""


def open_ids(tokenizer: Tokenizer, prompt: bytes) -> np.ndarray:
    """Return the ids of a prompt that do not depend on the text after it, int32[n].

    A tokenizer with a table of pieces gives the ids of the whole prompt. A compressed stream ends
    with bits that say where the text ends, and its last window is filled up. These ids are left
    out. With them go a few of the prompt's last bytes, which the model then writes itself.
    """
    if not isinstance(tokenizer, BitTokenizer):
        return tokenizer.encode(prompt)
    encoded = [ids for ids, _ in tokenizer.encode_batch([prompt + c for c in CONTINUATIONS])]
    n = min(map(len, encoded))
    first = np.stack([ids[:n] for ids in encoded])
    is_shared = np.append((first == first[:1]).all(axis=0), False)
    return encoded[0][: int(np.argmin(is_shared))]


_END = re.compile(rb"""(?<![ .][A-Z])[.!?]["')\]]*(?=\s|$)|\s*[\r\n]""")
"""The end of a sentence: a full stop, with closing quotes behind it, unless it ends an initial such
as "J."; or the end of a line."""


def first_sentence(text: bytes) -> bytes:
    """Return the first sentence of a text, from its first visible byte to its full stop.

    A line without one is a sentence. An abbreviation such as "Dr." ends it early.
    """
    text = text.lstrip()
    end = _END.search(text)
    if end is None:
        return text.rstrip()
    return text[: end.end()].rstrip()


def decode_valid(tokenizer: Tokenizer, batch: Sequence[np.ndarray]) -> list[tuple[bytes, int]]:
    """Return, for each sequence of ids, its text and the number of its ids that are valid.

    Almost every code decodes any ids. For one that does not, such as Deflate, a sequence is valid
    up to the first id that cannot follow the ones before it.
    """
    try:
        texts = tokenizer.decode_batch(batch)
        return [(text, len(ids)) for text, ids in zip(texts, batch, strict=True)]
    except ValueError:
        return [_longest(tokenizer, ids) for ids in batch]


def _longest(tokenizer: Tokenizer, ids: np.ndarray) -> tuple[bytes, int]:
    """Return the longest prefix that decodes, by bisection: all longer ones fail too."""
    text, good, bad = b"", 0, len(ids) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            text, good = tokenizer.decode(ids[:middle]), middle
        except ValueError:
            bad = middle
    return text, good
