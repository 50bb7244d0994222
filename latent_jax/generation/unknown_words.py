"""Words that a model wrote and that its training text does not have: its spelling mistakes.

Not every unknown word is one. Held-out text has new names and rare words too, so its own share of
unknown words stands beside that of a model.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""Letters, with apostrophes inside."""


class Marked(NamedTuple):
    """A text whose unknown words are in brackets.

    Attributes:
        text: for people; bytes that are not UTF-8 are U+FFFD.
        n_words: words that the text ends.
        n_unknown: those of them that are unknown.
    """

    text: str
    n_words: int
    n_unknown: int


def words_of(texts: Iterable[bytes]) -> Iterator[str]:
    """Yield the words of texts in the order in which they stand, without their case."""
    for text in texts:
        for match in _WORD.finditer(text.decode("utf-8", "replace")):
            yield match[0].casefold()


def mark(before: bytes, text: bytes, known: Collection[str], is_cut: bool) -> Marked:
    """Return a text with [brackets] around its unknown words.

    Args:
        before: what stands before it; a word that begins there is looked up whole.
        text: what the model wrote.
        known: words without their case.
        is_cut: whether the text stops before its end; its last word may then be half of one and is
            left out.
    """
    head, tail = (part.decode("utf-8", "replace") for part in (before, text))
    whole, start = head + tail, len(head)
    pieces, at, n_words, n_unknown = [], start, 0, 0
    for match in _WORD.finditer(whole):
        if match.end() <= start or (is_cut and match.end() == len(whole)):
            continue
        n_words += 1
        if match[0].casefold() in known:
            continue
        n_unknown += 1
        begin = max(match.start(), start)
        pieces += [whole[at:begin], f"[{whole[begin : match.end()]}]"]
        at = match.end()
    return Marked("".join(pieces) + whole[at:], n_words, n_unknown)
