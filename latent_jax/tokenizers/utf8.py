"""Bytes cut into stretches of valid UTF-8 text and the invalid bytes between them.

Subword models read text, but a document is bytes, and not always UTF-8. Python's "surrogateescape"
(PEP 383) decodes each byte that is part of no valid character to one lone surrogate, U+DC80 to
U+DCFF. Valid UTF-8 never decodes to a surrogate, so surrogates mark exactly the invalid bytes.
"""

import re
from collections.abc import Iterator

BROKEN = re.compile(r"([\udc80-\udcff]+)")


def stretches(text: bytes, spelled: re.Pattern[str] = BROKEN) -> Iterator[str | bytes]:
    """Yield the parts of `text` in order: str for a model to read, bytes to spell byte by byte.

    Args:
        text: any bytes.
        spelled: a pattern with one capturing group, for runs of characters to yield as bytes. It
            must match lone surrogates; a model may add characters that it cannot represent.
    """
    parts = spelled.split(text.decode("utf-8", "surrogateescape"))
    # re.split alternates: the even parts lie between the matches, the odd ones are the matches.
    for index, part in enumerate(parts):
        if part:
            yield part.encode("utf-8", "surrogateescape") if index % 2 else part
