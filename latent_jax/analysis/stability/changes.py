"""How much of a tokenization changes after a small change of the text.

`prefix_test` is the test of Lester et al. 2024, section 6.1: one sentence after many different
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
        whole: int32[pairs], in tokens, of prefix and sentence together.
        sentence: int32[pairs], in tokens, of only the tokens that begin after the prefix.
        n_whole: int32[pairs], tokens of the longer tokenization of `whole`.
        n_sentence: int32[pairs], the same for `sentence`.
    """

    whole: np.ndarray
    sentence: np.ndarray
    n_whole: np.ndarray
    n_sentence: np.ndarray


def common_words(texts: Sequence[bytes], n_common: int, n_drawn: int, seed: int) -> list[bytes]:
    """Draw different words from the most common ones of texts, of two or more letters a to z.

    The paper draws 500 from a published list of 3,000 common English words.

    Args:
        texts: documents.
        n_common: how many of the most common words to draw from.
        n_drawn: how many words to draw.
        seed: of the draw.

    Raises:
        ValueError: the texts have fewer different words than `n_drawn`.
    """
    counts = collections.Counter(
        word for text in texts for word in re.findall(rb"(?<![^ ])[a-z]{2,}(?![^ ,.])", text)
    )
    # Counter.most_common leaves ties in the order of the text.
    common = sorted(counts, key=lambda word: (-counts[word], word))[:n_common]
    if len(common) < n_drawn:
        raise ValueError(
            f"the text has {len(common)} different words, and {n_drawn} are to be drawn: give more "
            "text, or a smaller --prefixes"
        )
    chosen = np.random.default_rng(seed).choice(len(common), n_drawn, replace=False)
    return [common[i] for i in sorted(chosen)]


def prefix_test(code: Code, prefixes: Sequence[bytes], sentence: bytes) -> Distances:
    """Return the distances between the tokenizations of one sentence after different prefixes.

    Args:
        code: any.
        prefixes: at least two, different; a space is put between each and the sentence.
        sentence: the text after each prefix.
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
    """The effects of replaced bytes on ids, one entry for each replacement.

    Attributes:
        n_tokens: int64[n], ids of the text before the change.
        changed_tokens: int64[n], Levenshtein distance between the ids before and after.
        back_bytes: int64[n], bytes from the start of the first id that changed to the start of the
            id that covered the replaced byte; 0 if no earlier id changed.
        travel_bytes: int64[n], bytes from the end of the id that covered the replaced byte to the
            end of the last id that changed; 0 if no later id changed.
        reaches_end: bool[n], whether the last id of the text has changed.
        left_bytes: int64[n], bytes of text after the replaced byte: `travel_bytes` is at most this.
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

    The place is drawn from the first half of a text, so that the change can travel through at least
    the other half. The new byte is drawn from the same text, so it is a likely one. Texts take
    turns, with one change at a time.

    Args:
        code: any.
        texts: those with fewer than two different bytes are not used.
        coded: the texts in the code.
        n_changes: how many changes to make.
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
    """Return one entry of `Changes`, for two texts that differ in the byte at `place`."""
    n_bytes = int(before.byte_lengths.sum(dtype=np.int64))
    first = _n_equal(before, after, 1)
    if first == len(before.ids) == len(after.ids):
        # A lossy code can give both texts the same ids.
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
    """Return how many ids and their byte lengths agree, from the start (1) or the end (-1)."""
    n = min(len(a.ids), len(b.ids))
    equal = (a.ids[::step][:n] == b.ids[::step][:n]) & (
        a.byte_lengths[::step][:n] == b.byte_lengths[::step][:n]
    )
    return n if equal.all() else int(np.argmin(equal))
