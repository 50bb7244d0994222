"""Ends of chunks held against ends of words, of a tokenizer's pieces, and of morphemes; and F1.

An end is an end *with* a byte: a chunk that ends with byte t holds it. A run that decides from what
it has read can see that a word has ended only by reading the byte behind it, so that its chunk ends
one byte later, as SpaceByte's do. So each comparison is made twice: at the end, and one byte behind
it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latent_jax.analysis.boundaries.seen import Seen, SeenStage

WORDS = "words"
MORPHEMES = "morphemes"
AT, BEHIND = "at the end", "one byte behind"

_LETTER = np.array([chr(byte).isalnum() or byte >= 128 for byte in range(256)])
"""For each byte: letters and digits. Characters of several bytes are taken for letters."""

_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")


class Reference(NamedTuple):
    """Ends that those of chunks are compared with.

    Attributes:
        name: of what.
        ends_T: bool, for each byte of a text, whether something ends with it.
        counts_T: bool, the bytes that are compared; None = all.
        starts_T: bool, first bytes of documents.
        n_words: words that it knows; None where it is of no list.
    """

    name: str
    ends_T: np.ndarray
    counts_T: np.ndarray | None
    starts_T: np.ndarray
    n_words: int | None = None


class ByteEnds(NamedTuple):
    """The ends of a stage's chunks for each byte of a text.

    Attributes:
        ends_T: bool.
        is_decided_T: bool, bytes with which a chunk could have ended.
        row_T: int64, the row of each byte.
    """

    ends_T: np.ndarray
    is_decided_T: np.ndarray
    row_T: np.ndarray


def byte_ends(seen: Seen, stage: SeenStage) -> ByteEnds:
    """Return the ends of chunks by byte; an id of several bytes ends with its last one."""
    n_bytes = int(seen.bytes_N.sum())
    ends_T, is_decided_T = np.zeros((2, n_bytes), bool)
    is_text_N = seen.bytes_N > 0
    last_N = (np.cumsum(seen.bytes_N) - 1)[is_text_N]
    ends_T[last_N] = stage.ends_N[is_text_N]
    is_decided_T[last_N] = seen.is_decided_N[is_text_N]
    return ByteEnds(ends_T, is_decided_T, np.repeat(seen.row_N, seen.bytes_N))


def word_reference(texts: Sequence[bytes]) -> Reference:
    """Return the last bytes of words; a word that ends with its text has no byte behind it."""

    def ends(text):
        is_letter_T = _LETTER[np.frombuffer(text, np.uint8)]
        return is_letter_T & ~np.append(is_letter_T[1:], True)

    return _reference(WORDS, texts, ends)


def piece_reference(texts: Sequence[bytes], tokenizer) -> Reference:
    """Return the last bytes of a tokenizer's pieces; that of a text is none."""

    def ends(text):
        lengths = tokenizer.encode_batch([text])[0][1]
        ends_T = np.zeros(len(text), bool)
        ends_T[np.cumsum(lengths[lengths > 0])[:-1] - 1] = True
        return ends_T

    return _reference(tokenizer.name, texts, ends)


def morpheme_reference(
    texts: Sequence[bytes], morphemes: Mapping[bytes, Sequence[int]]
) -> Reference:
    """Return the last bytes of morphemes inside of words; only insides of listed words count.

    Args:
        texts: documents.
        morphemes: see `read_morphemes`.
    """
    parts = []
    for text in texts:
        ends_T, counts_T = np.zeros((2, len(text)), bool)
        for match in _WORD.finditer(text):
            inner = morphemes.get(match[0].lower())
            if inner is not None:
                start, stop = match.span()
                counts_T[start : stop - 1] = True
                ends_T[[start + at - 1 for at in inner]] = True
        parts.append((ends_T, counts_T))
    ends, counts = zip(*parts, strict=True)
    whole = np.concatenate(ends), np.concatenate(counts), _starts(texts)
    return Reference(MORPHEMES, *whole, n_words=len(morphemes))


def read_morphemes(path: str | Path) -> dict[bytes, tuple[int, ...]]:
    """Read a list of words, each in pieces: "un|break|able" or "un break able", one word a line.

    Returns:
        word in lower case -> where its pieces but the last one end, in bytes.

    Raises:
        ValueError: the file cannot be read, or a line holds no word of letters.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise ValueError(f"--morphemes={path} cannot be read: {error.strerror}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        pieces = line.replace(b"|", b" ").split()
        word = b"".join(pieces).lower()
        if not pieces:
            continue
        if not _WORD.fullmatch(word):
            shown = line.decode("utf-8", "replace")
            raise ValueError(
                f"line {number} of {path}, {shown!r}, is no word of letters: write its pieces with "
                "spaces or | between them, as in un|break|able"
            )
        found[word] = tuple(int(at) for at in np.cumsum([*map(len, pieces)])[:-1])
    if not found:
        raise ValueError(f"{path} holds no word: write one a line, as in un|break|able")
    return found


def agreement_records(own: ByteEnds, reference: Reference) -> list[dict[str, Any]]:
    """Return a record for ends of chunks at those of a reference, and one for one byte behind.

    What is behind the last byte of a row is not compared: the next row does not see that byte.
    """
    records = []
    for where in (AT, BEHIND):
        ends_T, counts_T, is_there_T = reference.ends_T, reference.counts_T, own.is_decided_T
        if where == BEHIND:
            ends_T = _later(ends_T, reference)
            counts_T = None if counts_T is None else _later(counts_T, reference)
            is_there_T = is_there_T & (np.diff(own.row_T, prepend=own.row_T[:1] - 1) == 0)
        is_there_T = is_there_T if counts_T is None else is_there_T & counts_T
        found = compared(own.ends_T, ends_T, is_there_T, own.row_T)
        more = {} if reference.n_words is None else {"n_listed_words": reference.n_words}
        records.append({"reference": reference.name, "where": where, **found, **more})
    return records


def compared(
    one_T: np.ndarray, other_T: np.ndarray, counts_T: np.ndarray, row_T: np.ndarray
) -> dict[str, Any]:
    """Return how well two sets of ends meet, and what chance would give.

    By chance, each row has as many ends of the first set at bytes that count, drawn without
    replacement; to shift them around within the row by any number gives the same mean.

    Args:
        one_T: bool, those that are judged.
        other_T: bool, those that they are held against.
        counts_T: bool, bytes that are compared.
        row_T: int, row of each byte, ascending.

    Returns:
        "n_ends", "n_reference_ends", "precision_share", "recall_share", "f1_share" and
        "random_f1_share"; a share is None where it is of nothing.
    """
    one_T, other_T = one_T & counts_T, other_T & counts_T
    n_one, n_other, n_both = (int(x_T.sum()) for x_T in (one_T, other_T, one_T & other_T))
    starts_R = np.flatnonzero(np.diff(row_T, prepend=row_T[:1] - 1))
    per_row = [
        np.add.reduceat(x_T.astype(np.int64), starts_R) for x_T in (one_T, other_T, counts_T)
    ]
    by_chance = float((per_row[0] * per_row[1] / np.maximum(per_row[2], 1)).sum())
    total = n_one + n_other
    return {
        "n_ends": n_one,
        "n_reference_ends": n_other,
        "precision_share": n_both / n_one if n_one else None,
        "recall_share": n_both / n_other if n_other else None,
        "f1_share": 2 * n_both / total if total else None,
        "random_f1_share": 2 * by_chance / total if total else None,
    }


def pair_record(one: ByteEnds, other: ByteEnds) -> dict[str, Any]:
    """Return how well the ends of two runs on one text meet, within what both decide.

    "above_random_share" is 0 where they meet as often as chance has it, and 1 where all do.
    """
    found = compared(one.ends_T, other.ends_T, one.is_decided_T & other.is_decided_T, one.row_T)
    f1, chance = found["f1_share"], found["random_f1_share"]
    is_told = f1 is not None and chance < 1
    return {**found, "above_random_share": (f1 - chance) / (1 - chance) if is_told else None}


def _reference(name: str, texts: Sequence[bytes], ends: Callable) -> Reference:
    ends_T = np.concatenate([ends(text) for text in texts])
    return Reference(name, ends_T, None, _starts(texts))


def _starts(texts: Sequence[bytes]) -> np.ndarray:
    starts_T = np.zeros(sum(map(len, texts)), bool)
    at = np.cumsum([0, *map(len, texts)])[:-1]
    starts_T[at[at < len(starts_T)]] = True
    return starts_T


def _later(x_T: np.ndarray, reference: Reference) -> np.ndarray:
    """Return what stands one byte before each in its document."""
    return np.concatenate([[False], x_T[:-1]]) & ~reference.starts_T
