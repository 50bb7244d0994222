"""Whether a word has the same ids wherever it stands in the text."""

import re
from collections.abc import Sequence

import numpy as np

from latent_jax.analysis.codes import Coded
from latent_jax.analysis.contingency import Contingency, contingency

WORD = re.compile(rb"[A-Za-z\x80-\xff]{4,}")
"""Four or more letters; every character of several UTF-8 bytes is taken for letters."""


def word_table(texts: Sequence[bytes], coded: Sequence[Coded]) -> Contingency:
    """Count which ids each word has.

    The ids of a word are those whose bytes overlap it. If the code does not cut at the edges of the
    word, they also cover parts of its neighbours, and change with them. This is intended: the
    question is whether a model sees the same word as the same ids.

    Args:
        texts: documents.
        coded: one for each.

    Returns:
        Counts of words (rows) by sequences of ids (columns), both numbered.
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
