"""Names and texts of others, spelled so that no table, picture, page or terminal takes them for
something else.

A run may be called anything: with line ends, with escape codes of a terminal, with dollars that
matplotlib reads as formulas, with half a character that no encoding has.
"""

import json
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, ends of lines and of paragraphs, and what turns the direction of writing."""


def whole(text: str) -> str:
    """Return a text of whole characters: half a surrogate pair becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """Return a text as it stands in one line of a table: line ends are spaces, codes are spelled.

    An escape code becomes four visible letters, such as "\\x1b".
    """

    def spelled(match: re.Match[str]) -> str:
        character = match[0]
        if character in "\t\n\v\f\r\x85\u2028\u2029":
            return " "
        code = ord(character)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _CONTROL.sub(spelled, whole(text.replace("\r\n", "\n")))


def markdown_cell(text: str) -> str:
    """Return a text as a cell of a Markdown table, in which it ends no cell and begins no HTML."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")


def script_json(value: Any) -> str:
    """Return JSON that may stand in a `<script>` of a page, whatever texts it holds.

    HTML looks for "</script", "<!--" and "<script" in it, and has no other way to spell them.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, allow_nan=False)  # in ASCII: U+2028 and half characters are spelled
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def plot_text(text: str) -> str:
    """Return a text that matplotlib draws as it is: a dollar begins no formula."""
    return one_line(text).replace("$", r"\$")


def printable(text: bytes) -> str:
    r"""Return bytes as one line, without loss: UTF-8 if valid, else \xNN; backslashes doubled."""
    characters = text.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else _escaped(c) for c in characters)


def quoted(text: bytes) -> str:
    """Return a text on one line in quotes, so that spaces at its ends can be seen."""
    return f"'{printable(text)}'"


def _escaped(character: str) -> str:
    if character.isascii():
        return character.encode("unicode_escape").decode()
    # Not \xNN, which stands for a byte of invalid UTF-8.
    code = ord(character)
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
