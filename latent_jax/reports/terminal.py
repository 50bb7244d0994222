"""What a terminal can show."""

import os
from typing import TextIO


def takes_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal whose user wants colour (https://no-color.org)."""
    return (
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"
    )
