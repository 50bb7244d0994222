"""Error messages for unknown names, with the nearest known name: did you mean ...?

All rooms import this file, because each of them refuses unknown names: of methods, compressors,
config keys, columns.
"""

import difflib
from collections.abc import Iterable


def short(text: str, most: int = 60) -> str:
    """Return a text as messages show it: no more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'conv1d'?)", or "" when no known name is similar to `name`.

    Case is ignored. The text begins with a space because it follows the quoted name in a message:

        raise ValueError(f"unknown compressor {kind!r}{nearest(kind, KINDS)}; known: {KINDS}")
    """
    spelling = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), spelling, n=1, cutoff=0.4)
    return f" (did you mean {spelling[found[0]]!r}?)" if found else ""


def check_word(field: str, word: str, known: Iterable[str]) -> None:
    """Check that `word` is one of `known`.

    Args:
        field: what the word names, such as "platform"; the message begins with it.
        word: the word to check.
        known: all valid words.

    Raises:
        ValueError: it is not; the message names the nearest known word and lists all of them.
    """
    known = tuple(known)
    if word not in known:
        raise ValueError(
            f"unknown {field} {short(word)!r}{nearest(word, known)}; known: {', '.join(known)}"
        )
