"""From text to tokens: whether a word has the same ids wherever it stands."""

import re
from collections.abc import Sequence

import numpy as np

from latent_jax.analysis.codes import Coded
from latent_jax.analysis.contingency import Contingency, contingency

WORD = re.compile(rb"[A-Za-z\x80-\xff]{4,}")
"""Four and more letters; what UTF-8 writes in several bytes is taken for letters."""


def word_table(texts: Sequence[bytes], coded: Sequence[Coded]) -> Contingency:
    """Count which ids each word has.

    The ids of a word are those whose bytes overlap it. Where the code does not cut at its edges
    they also cover a part of its neighbours, and differ where these do: so they should, since the
    question is whether a model sees the same word as the same ids.

    Args:
        texts: documents.
        coded: one for each.

    Returns:
        Words by sequences of ids, both numbered.
    """
    words: dict[bytes, int] = {}
    sequences: dict[bytes, int] = {}
    rows, columns = [], []
    for text, code in zip(texts, coded, strict=True):
        found = [match.span() for match in WORD.finditer(text)]
        if not found:
            continue
        spans = np.array(found)
        stops = np.cumsum(code.byte_lengths, dtype=np.int64)
        firsts = np.searchsorted(stops, spans[:, 0], side="right")
        lasts = np.searchsorted(stops, spans[:, 1])
        ids = np.ascontiguousarray(code.ids, np.int32)
        for (start, stop), first, last in zip(found, firsts, lasts, strict=True):
            rows.append(words.setdefault(text[start:stop], len(words)))
            key = ids[first : last + 1].tobytes()
            columns.append(sequences.setdefault(key, len(sequences)))
    return contingency(rows, columns)
