"""The errors about unknown names, which all ask: did you mean ...?

It lies below all rooms, because each of them refuses names: of methods, compressors, config keys,
columns.
"""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'conv1d'?)", or "" when no known name is like `name`.

    Case does not count. The text begins with a space, to follow the quoted name in a message:

        raise ValueError(f"unknown compressor {kind!r}{nearest(kind, KINDS)}; known: {KINDS}")
    """
    spelling = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), spelling, n=1, cutoff=0.4)
    return f" (did you mean {spelling[found[0]]!r}?)" if found else ""


def check_word(field: str, word: str, known: Iterable[str]) -> None:
    """Raise ValueError if `word` is not one of `known`; the message names the nearest."""
    known = tuple(known)
    if word not in known:
        raise ValueError(
            f"unknown {field} {word!r}{nearest(word, known)}; known: {', '.join(known)}"
        )
