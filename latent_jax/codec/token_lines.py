"""Tokens in the lines of a terminal: their texts in colour, and below them code bits and ids."""

import dataclasses
from collections.abc import Sequence

from latent_jax.spelling import printable

COLOURS = (117, 216, 115, 182, 222)
"""Pale backgrounds of terminals with 256 colours; letters on them are black."""


@dataclasses.dataclass(frozen=True)
class Token:
    """One token of a text.

    Attributes:
        window: number of its window; of the token itself where a method has no windows.
        text: the bytes that it covers.
        id: its id.
        bits: its code bits, such as "00111010".
    """

    window: int
    text: bytes
    id: int
    bits: str


def painted(text: str, number: int, is_coloured: bool) -> str:
    """Return a text on the background of a window; as it is without colour."""
    if not is_coloured:
        return text
    return f"\x1b[30;48;5;{COLOURS[number % len(COLOURS)]}m{text}\x1b[0m"


def cut_lines(windows: Sequence[Sequence[Token]], width: int, is_coloured: bool) -> str:
    """Return the text of all windows, each in [brackets], in lines that end between windows."""
    lines, used = [""], 0
    for number, window in enumerate(windows):
        text = printable(b"".join(token.text for token in window))
        text = text if is_coloured else f"[{text}]"
        if used and used + len(text) > width:
            lines.append("")
            used = 0
        lines[-1] += painted(text, number, is_coloured)
        used += len(text)
    return "\n".join(lines)


def token_lines(windows: Sequence[Sequence[Token]], width: int, is_coloured: bool) -> str:
    """Return three lines for each row of tokens: their texts, code bits and ids.

    Without colour the first text of a window begins with "[", and its last one ends with "]".
    """
    rows, used = [["", "", ""]], 0
    for number, window in enumerate(windows):
        for place, token in enumerate(window):
            text = printable(token.text)
            if not is_coloured:
                text = "[" * (place == 0) + text + "]" * (place == len(window) - 1)
            parts = (text, token.bits, str(token.id))
            cell = max(map(len, parts))
            if used and used + 2 + cell > width:
                rows.append(["", "", ""])
                used = 0
            gap = "  " if used else ""
            for line, part in enumerate(parts):
                shown = painted(part, number, is_coloured and line < 2)
                rows[-1][line] += gap + shown + " " * (cell - len(part))
            used += len(gap) + cell
    return "\n\n".join("\n".join(line.rstrip() for line in row) for row in rows)
