"""A picture of places of a text with their chunks, in letters of one width."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from latent_jax.analysis.boundaries.view import pieces_of
from latent_jax.analysis.codes import Records
from latent_jax.reports import style
from latent_jax.reports.cut_text import Piece, wrapped

WIDTH = 92
"""Characters of a line."""

MOST_LINES = 5
"""Of a place; the rest is left out."""

MOST_PLACES = 8
"""Those of a picture; of more, the first ones."""

TINTS = ("#cfe4f5", "#fbe0c8")
UNDERLINES = (style.PALETTE[0], style.PALETTE[1])

_LETTER, _LINE, _HEAD = 0.0925, 0.27, 0.42
"""Inches: width of a letter, height of a line, and height of a name above a place."""

_SIZE = 10.5
_LEFT = 0.3


def draw_places(records: Records) -> Figure:
    """Return the picture of records of `view.view_records`, runs below each other at each place.

    The first places of all texts come first.
    """
    keys = list(dict.fromkeys((record["text"], record["sample"]) for record in records))
    keys.sort(key=lambda key: key[1])
    records = sorted(records, key=lambda r: keys.index((r["text"], r["sample"])))[:MOST_PLACES]
    names = [f"{record['label']}, {record['text']}" for record in records]
    texts = [wrapped(pieces_of(record), WIDTH)[:MOST_LINES] for record in records]
    blocks = [*zip(names, texts, strict=True)]
    height = 0.85 + sum(_HEAD + _LINE * len(lines) for _, lines in blocks)
    width = 2 * _LEFT + WIDTH * _LETTER
    figure = Figure(figsize=(width, height))
    has_outer = any(piece.outer for _, lines in blocks for line in lines for piece in line)
    subtitle = "tints change where a chunk ends"
    subtitle += "; underlines change where one of the second stage does" if has_outer else ""
    style.titles(figure, _LEFT / width, "What is cut", subtitle)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    y = 0.85
    for name, lines in blocks:
        axes.text(_LEFT, y + 0.25, name, size=8.5, color=style.QUIET, va="center")
        y += _HEAD
        for line in lines:
            _draw_line(axes, line, y, has_outer)
            y += _LINE
    return figure


def _draw_line(axes, line: list[Piece], y: float, has_outer: bool) -> None:
    """Draw a line of text: a box behind each chunk, and each character in its place."""
    x, begun = _LEFT, {"chunk": (None, 0.0), "outer": (None, 0.0)}
    spans: dict[str, list[tuple[int, float, float]]] = {"chunk": [], "outer": []}
    for piece in [*line, None]:
        for what, found in spans.items():
            number = getattr(piece, what, None)
            if number != begun[what][0]:
                if begun[what][0] is not None:
                    found.append((*begun[what], x))
                begun[what] = number, x
        if piece is None:
            break
        for letter in piece.text:
            axes.text(
                x + _LETTER / 2,
                y + _LINE / 2 - 0.015,
                letter,
                size=_SIZE,
                family="DejaVu Sans Mono",
                color=style.QUIET if piece.is_mark else style.INK,
                ha="center",
                va="center",
            )
            x += _LETTER
    for number, start, stop in spans["chunk"]:
        box = FancyBboxPatch(
            (start + 0.008, y + 0.035),
            stop - start - 0.016,
            _LINE - 0.085,
            boxstyle="round,pad=0,rounding_size=0.03",
            linewidth=0,
            facecolor=TINTS[number % 2],
        )
        axes.add_patch(box)
    for number, start, stop in spans["outer"] if has_outer else ():
        look = dict(color=UNDERLINES[number % 2], linewidth=1.6, solid_capstyle="butt")
        axes.plot([start + 0.01, stop - 0.01], [y + _LINE - 0.03] * 2, **look)
