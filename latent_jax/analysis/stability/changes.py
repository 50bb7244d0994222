"""How much of a tokenization changes when a little of the text does.

`prefix_test` is the test of Lester et al. 2024, section 6.1: one sentence behind many different
words. `change_test` replaces one byte and follows the change through the ids.
"""

import collections
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from latent_jax.analysis.codes import Code, Coded


class Distances(NamedTuple):
    """Levenshtein distances between all pairs of tokenizations, one entry for each pair.

    Attributes:
        whole: int32[pairs], in tokens, prefix and sentence.
        sentence: int32[pairs], of the tokens that begin behind the prefix alone.
        n_whole: int32[pairs], tokens of the longer one.
        n_sentence: int32[pairs], the same for `sentence`.
    """

    whole: np.ndarray
    sentence: np.ndarray
    n_whole: np.ndarray
    n_sentence: np.ndarray


def common_words(texts: Sequence[bytes], n_common: int, n_drawn: int, seed: int) -> list[bytes]:
    """Draw different words from the most common ones of a text, of two and more letters a to z.

    The paper draws 500 from a published list of 3,000 common English words.

    Args:
        texts: documents.
        n_common: from so many.
        n_drawn: so many.
        seed: of the draw.

    Raises:
        ValueError: the text has fewer words than are to be drawn.
    """
    counts = collections.Counter(
        word for text in texts for word in re.findall(rb"(?<![^ ])[a-z]{2,}(?![^ ,.])", text)
    )
    # Counter.most_common leaves ties in the order of the text.
    common = sorted(counts, key=lambda word: (-counts[word], word))[:n_common]
    if len(common) < n_drawn:
        raise ValueError(
            f"the text has {len(common)} different words, and {n_drawn} are to be drawn: give more "
            "text, or fewer prefixes"
        )
    chosen = np.random.default_rng(seed).choice(len(common), n_drawn, replace=False)
    return [common[i] for i in sorted(chosen)]


def prefix_test(code: Code, prefixes: Sequence[bytes], sentence: bytes) -> Distances:
    """Return the distances between one sentence's tokenizations behind different prefixes.

    Args:
        code: any.
        prefixes: at least two, different; a space is put between each and the sentence.
        sentence: the same each time.
    """
    coded = code.encode([prefix + b" " + sentence for prefix in prefixes])
    whole = [code.ids for code in coded]
    # The space is the sentence's own: subwords carry it in their first token.
    behind = [ids_behind(c, len(prefix)) for c, prefix in zip(coded, prefixes, strict=True)]
    distances, longer = zip(pairwise_distances(whole), pairwise_distances(behind), strict=True)
    return Distances(*distances, *longer)


def ids_behind(coded: Coded, start: int) -> np.ndarray:
    """Return the ids whose bytes begin at `start` or later."""
    starts = np.cumsum(coded.byte_lengths, dtype=np.int64) - coded.byte_lengths
    return coded.ids[np.searchsorted(starts, start) :]


def pairwise_distances(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the Levenshtein distance of each pair of sequences, and the longer one's length.

    Args:
        sequences: int[n] each.

    Returns:
        Two int32[n (n - 1) / 2], in the order of the upper triangle.
    """
    lists = [sequence.tolist() for sequence in sequences]
    matrix = process.cdist(lists, lists, scorer=Levenshtein.distance, dtype=np.int32)
    upper = np.triu_indices(len(lists), 1)
    sizes = np.array([*map(len, lists)], np.int32)
    return matrix[upper], np.maximum(sizes[upper[0]], sizes[upper[1]])


class Changes(NamedTuple):
    """What one replaced byte does to the ids, one entry for each replacement.

    Attributes:
        n_tokens: int64[n], of the text before the change.
        changed_tokens: int64[n], Levenshtein distance between the ids before and after.
        back_bytes: int64[n], how far the first id that is not the same stands before the one that
            covered the byte.
        travel_bytes: int64[n], how far behind that the last one ends: from there on ids and the
            bytes that they cover are the same. 0 where the change stays in the byte's own token.
        reaches_end: bool[n], the last id of the text has changed.
        left_bytes: int64[n], of text behind the byte: the most that `travel_bytes` can be.
    """

    n_tokens: np.ndarray
    changed_tokens: np.ndarray
    back_bytes: np.ndarray
    travel_bytes: np.ndarray
    reaches_end: np.ndarray
    left_bytes: np.ndarray


def change_test(
    code: Code, texts: Sequence[bytes], coded: Sequence[Coded], n_changes: int, seed: int
) -> Changes:
    """Replace single bytes and compare the ids.

    The place is drawn from the first half of a text, so that at least the other half is left to
    travel through; the new byte is one from another place of the same text, so it is a likely one.
    Texts take turns, at one change each.

    Args:
        code: any.
        texts: of which those are used that have two different bytes in them.
        coded: each of them in the code.
        n_changes: so many.
        seed: of places and bytes.

    Raises:
        ValueError: no text can be changed.
    """
    usable = [i for i, text in enumerate(texts) if len(set(text)) > 1]
    if not usable:
        raise ValueError("no text has two different bytes, so none can be changed")
    generator = np.random.default_rng(seed)
    owners = [usable[i % len(usable)] for i in range(n_changes)]
    places, changed = [], []
    for owner in owners:
        text = np.frombuffer(texts[owner], np.uint8).copy()
        place = int(generator.integers(max(len(text) // 2, 1)))
        text[place] = generator.choice(text[text != text[place]])
        places.append(place)
        changed.append(text.tobytes())
    after = code.encode(changed)
    rows = [
        compare(coded[owner], new, place)
        for owner, new, place in zip(owners, after, places, strict=True)
    ]
    return Changes(*map(np.array, zip(*rows, strict=True)))


def compare(before: Coded, after: Coded, place: int) -> tuple[int, int, int, int, bool, int]:
    """Return one entry of `Changes`; the byte at `place` is what differs between the two texts."""
    n_bytes = int(before.byte_lengths.sum(dtype=np.int64))
    first = _n_equal(before, after, 1)
    if first == len(before.ids) == len(after.ids):
        # A code that loses something can give both texts the same ids.
        return first, 0, 0, 0, False, n_bytes - place - 1
    last = min(_n_equal(before, after, -1), len(before.ids) - first, len(after.ids) - first)
    start = int(before.byte_lengths[:first].sum(dtype=np.int64))
    stop = n_bytes - int(before.byte_lengths[len(before.ids) - last :].sum(dtype=np.int64))
    stops = np.cumsum(before.byte_lengths, dtype=np.int64)
    own = int(np.searchsorted(stops, place, side="right"))  # the token of the byte
    return (
        len(before.ids),
        Levenshtein.distance(before.ids.tolist(), after.ids.tolist()),
        max(int(stops[own] - before.byte_lengths[own]) - start, 0),
        max(stop - int(stops[own]), 0),
        last == 0,
        n_bytes - place - 1,
    )


def _n_equal(a: Coded, b: Coded, step: int) -> int:
    """Return how many ids, with the bytes that they cover, agree from the start (or the end)."""
    n = min(len(a.ids), len(b.ids))
    equal = (a.ids[::step][:n] == b.ids[::step][:n]) & (
        a.byte_lengths[::step][:n] == b.byte_lengths[::step][:n]
    )
    return n if equal.all() else int(np.argmin(equal))
