"""Texts with their chunks: what stands where, and the same as lines of a terminal.

Chunks have two tints in turn. Chunks of the second stage, which hold several of them, are
underlined in turn.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from latent_jax.spelling import one_line, printable, whole

TINTS = (117, 222)
"""Pale backgrounds of terminals with 256 colours; letters on them are black."""

MARKS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
"""What is shown of white space that cannot be seen."""

ENDS = ("|", "||")
"""What ends a chunk, and one of the second stage, where there is no colour."""


class Piece(NamedTuple):
    """A character of a text, or a byte of one that a chunk ends in.

    Attributes:
        text: as it is shown; it holds no control character.
        chunk: number of its chunk.
        outer: number of its chunk of the second stage; 0 where there is none.
        said: what is known of it.
        is_mark: whether the text stands for something else.
    """

    text: str
    chunk: int
    outer: int = 0
    said: str = ""
    is_mark: bool = False


def characters(text: bytes, ends: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield where characters begin and end; one in which a chunk ends, or none, is cut into bytes.

    Args:
        text: any bytes.
        ends: how many bytes stand before each end of a chunk.
    """
    at = 0
    while at < len(text):
        lead = text[at]
        size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        is_cut = any(stop in ends for stop in range(at + 1, at + size))
        try:
            text[at : at + size].decode()
        except UnicodeDecodeError:
            is_cut = True
        size = 1 if is_cut else size
        yield at, at + size
        at += size


def shown(text: bytes) -> tuple[str, bool]:
    """Return how a character is shown, and whether that stands for something else."""
    try:
        character = text.decode()
    except UnicodeDecodeError:
        return printable(text), True
    if character in MARKS:
        return MARKS[character], True
    return (character, False) if character.isprintable() else (printable(text), True)


def pieces_of_chunks(chunks: Sequence[str], outer_ends: Collection[int] = ()) -> list[Piece]:
    """Return the pieces of chunks that are known as texts of one line each.

    Args:
        chunks: texts.
        outer_ends: how many chunks stand before each end of a chunk of the second stage.
    """
    pieces, outer = [], 0
    for number, chunk in enumerate(chunks):
        outer += number in outer_ends
        pieces += [Piece(one_line(c), number, outer) for c in whole(chunk)]
    return pieces


def wrapped(pieces: Sequence[Piece], width: int) -> list[list[Piece]]:
    """Return pieces in lines of `width` characters at most, which may end anywhere."""
    lines: list[list[Piece]] = [[]]
    used = 0
    for piece in pieces:
        if used and used + len(piece.text) > width:
            lines.append([])
            used = 0
        lines[-1].append(piece)
        used += len(piece.text)
    return lines


def terminal_lines(pieces: Sequence[Piece], width: int, is_coloured: bool) -> str:
    """Return pieces in lines of a terminal.

    Args:
        pieces: of one text.
        width: characters of a line, at most; marks of ends do not count.
        is_coloured: whether chunks have tints and underlines; else a mark of `ENDS` ends them.
    """
    lines, before = [], pieces[0] if pieces else None
    for line in wrapped(pieces, width):
        lines.append("")
        for _, own in itertools.groupby(line, key=lambda piece: piece.chunk):
            chunk = [*own]
            text = "".join(piece.text for piece in chunk)
            if is_coloured:
                text = _tinted(text, chunk[0])
            elif chunk[0].chunk != before.chunk:
                mark = ENDS[chunk[0].outer != before.outer]
                at = len(lines) - 1 if lines[-1] else len(lines) - 2  # where the chunk ended
                lines[at] += mark
            lines[-1] += text
            before = chunk[-1]
    return "\n".join(lines)


def _tinted(text: str, piece: Piece) -> str:
    underline = "4;" * (piece.outer % 2)
    return f"\x1b[{underline}30;48;5;{TINTS[piece.chunk % len(TINTS)]}m{text}\x1b[0m"
