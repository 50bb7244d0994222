"""Any bytes as stretches of text and the bytes between them.

Subword models read text, but a document is bytes, and not always UTF-8. Python's "surrogateescape"
(PEP 383) decodes each byte that is part of no valid character to one lone surrogate, U+DC80 to
U+DCFF. Strict UTF-8 never yields a surrogate, so these mark exactly the broken bytes.
"""

import re
from collections.abc import Iterator

BROKEN = re.compile(r"([\udc80-\udcff]+)")


def stretches(text: bytes, spelled: re.Pattern[str] = BROKEN) -> Iterator[str | bytes]:
    """Yield `text` in order: str where a model may read it, bytes where it is to be spelled out.

    Args:
        text: any bytes.
        spelled: runs of characters that are yielded as bytes, in one capturing group. It must match
            the lone surrogates; a model may add characters that it cannot read as themselves.
    """
    parts = spelled.split(text.decode("utf-8", "surrogateescape"))
    # re.split alternates: the even parts lie between the matches, the odd ones are the matches.
    for index, part in enumerate(parts):
        if part:
            yield part.encode("utf-8", "surrogateescape") if index % 2 else part
