"""The half sentence that every "unknown name" error carries: did you mean ...?

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
