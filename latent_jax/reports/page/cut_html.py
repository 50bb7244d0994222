"""The HTML of texts with their chunks: tints, underlines, and what the pointer finds."""

import itertools
from collections.abc import Sequence
from html import escape

from latent_jax.reports.cut_text import Piece
from latent_jax.reports.page.parts import CutText


def cut_html(part: CutText) -> str:
    """Return the HTML of a part: each text with the name of its run before it."""
    rows = "".join(
        f'<div class="cut-text"><div class="name">{escape(name)}</div>'
        f'<div class="chunks">{_chunks(pieces)}</div></div>'
        for name, pieces in part.texts
    )
    return (
        f'<figure id="{part.id}">\n<h3>{escape(part.title)}</h3>'
        f"<figcaption>{escape(part.caption)}</figcaption>\n{rows}\n</figure>"
    )


def _chunks(pieces: Sequence[Piece]) -> str:
    """Return a span for each chunk, within one for each chunk of the second stage if there are."""
    has_outer = any(piece.outer for piece in pieces)
    found = []
    for outer, group in itertools.groupby(pieces, key=lambda piece: piece.outer):
        inner = "".join(
            f'<span class="c{chunk % 2}">{"".join(map(_character, own))}</span>'
            for chunk, own in itertools.groupby(group, key=lambda piece: piece.chunk)
        )
        found.append(f'<span class="u{outer % 2}">{inner}</span>' if has_outer else inner)
    return "".join(found)


def _character(piece: Piece) -> str:
    text = f"<i>{escape(piece.text)}</i>" if piece.is_mark else escape(piece.text)
    return f'<span title="{escape(piece.said)}">{text}</span>' if piece.said else text
