"""Held-out text as a run cuts it, in the samples that it writes while it trains.

      text: An owl sees two mice
    chunks: An│ owl┃ sees│ two│ mice

A thin line ends a chunk, and a thick one a chunk of the second stage (and of later ones) as well.
"""

import re
from collections.abc import Mapping, Sequence

from latent_jax.reports.cut_text import Piece, pieces_of_chunks

TEXT, CHUNKS = "text", "chunks"
"""Names of the two lines."""

THIN, THICK = "│", "┃"

_LIKE_A_MARK = str.maketrans({THIN: "¦", THICK: "¦"})


def sample_block(chunks: Sequence[str], ends_outer: Sequence[bool]) -> str:
    """Return the two lines of a text.

    Args:
        chunks: their texts, each on one line; marks in them are changed to another character.
        ends_outer: of each chunk, whether one of the second stage ends with it.
    """
    chunks = [chunk.translate(_LIKE_A_MARK) for chunk in chunks]
    marks = [THICK if is_outer else THIN for is_outer in ends_outer]
    marked = "".join(chunk + mark for chunk, mark in zip(chunks, marks, strict=True))
    return f"{TEXT:>{len(CHUNKS)}}: {''.join(chunks)}\n{CHUNKS}: {marked[:-1]}"


def block_pieces(block: Mapping[str, str]) -> list[Piece]:
    """Return the pieces of a block, given its lines by name; [] of one without chunks."""
    marked = block.get(CHUNKS, "")
    parts = re.split(f"([{THIN}{THICK}])", marked)
    ends = [number for number, mark in enumerate(parts[1::2], 1) if mark == THICK]
    return pieces_of_chunks(parts[::2], ends) if marked else []
