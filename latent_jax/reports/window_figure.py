"""The picture of a text in windows: what each byte tells, the text, and its code bits."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from latent_jax.reports.style import INK, PALETTE, QUIET, house_style, save, titles

SLOTS = 80.0
"""Width of a line; a byte is one slot wide."""
BIT, TOKEN_GAP, WINDOW_GAP = 0.5, 0.6, 0.7
"""Widths of a bit, and of the gaps after a token's bits and after a window."""
WIDTH, MARGIN = 10.4, 0.42
BARS, TEXT, BITS, LINE_GAP = 0.46, 0.25, 0.19, 0.22
"""Heights of a line's parts, in inches."""
COLOURS = PALETTE[:6]

CUT = "·"
"""Stands for a byte of a character that a window cuts."""

UNPRINTED = "\N{REPLACEMENT CHARACTER}"
"""Stands for a control character."""

Cells = Sequence[Sequence[tuple[bytes, str]]]
"""Windows, each of which has tokens: the bytes of a token, and its bits."""


def write_windows(
    subtitle: str,
    windows: Cells,
    bits_of_bytes: Sequence[Sequence[float]] | None,
    path: str | Path,
) -> Path:
    """Draw the windows of a text and return the path of the PNG.

    Args:
        subtitle: the method, and what the text becomes.
        windows: the windows.
        bits_of_bytes: what each byte of each window tells, in bits, drawn as bars; None draws none.
        path: of the PNG.
    """
    bars = BARS if bits_of_bytes else 0.0
    lines = broken([_width(window) for window in windows])
    step = bars + TEXT + BITS + LINE_GAP
    legend = _legend(windows, bits_of_bytes)
    head = 0.9 + 0.15 * (len(legend) > 0)
    height = head + step * len(lines) + 0.08
    with house_style():
        figure = Figure(figsize=(WIDTH, height))
        titles(figure, MARGIN / WIDTH, "A text in windows, and its code bits", subtitle)
        axes = figure.add_axes((MARGIN / WIDTH, 0, 1 - 2 * MARGIN / WIDTH, 1))
        axes.set(xlim=(0, SLOTS), ylim=(height, 0))
        axes.axis("off")
        if bits_of_bytes:
            most = _tallest(bits_of_bytes)
        axes.text(0, 0.84, "; ".join(legend), size=9, color=QUIET, va="center")
        for number, line in enumerate(lines):
            top, at = head + step * number, 0.0
            for index in line:
                colour = COLOURS[index % len(COLOURS)]
                if bits_of_bytes:
                    _draw_bars(axes, bits_of_bytes[index], at, top + bars, bars / most, colour)
                _draw_window(axes, windows[index], at, top + bars, colour)
                at += _width(windows[index]) + WINDOW_GAP
        return save(figure, path)


def _legend(windows: Cells, bits_of_bytes: Sequence[Sequence[float]] | None) -> list[str]:
    """Return what the marks of a picture mean, those alone that are in it."""
    found = []
    if bits_of_bytes:
        tallest = _tallest(bits_of_bytes)
        found.append(f"Bars: what a byte tells by M1, the tallest {tallest:.1f} bits")
    texts = "".join(_characters(b"".join(text for text, _ in window)) for window in windows)
    odd = [_is_cut(character) for character in texts if not character.isprintable()]
    if any(odd):
        found.append(f"{CUT} is a byte of a character that is cut")
    if not all(odd):
        found.append(f"{UNPRINTED} is a control character")
    return found


def _tallest(bits_of_bytes: Sequence[Sequence[float]]) -> float:
    return max(max(bits, default=0.0) for bits in bits_of_bytes)


def broken(widths: Sequence[float]) -> list[list[int]]:
    """Return the numbers of the windows of each line; a window wider than a line has its own."""
    lines: list[list[int]] = []
    used = SLOTS
    for index, width in enumerate(widths):
        if used + width > SLOTS or not lines:
            lines.append([])
            used = 0.0
        lines[-1].append(index)
        used += width + WINDOW_GAP
    return lines


def glyphs(text: bytes) -> list[str]:
    """Return what stands in the slot of each byte.

    A character of several bytes stands in the first of their slots. A byte of a character that is
    cut off is a dot, and a control character U+FFFD.
    """
    found = []
    for character in _characters(text):
        n_bytes = len(character.encode("utf-8", "surrogateescape"))
        if _is_cut(character):
            character = CUT
        shown = character if character.isprintable() else UNPRINTED
        found += [shown, *[""] * (n_bytes - 1)]
    return found


def _characters(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _is_cut(character: str) -> bool:
    """Return whether this is one byte of a character whose others stand elsewhere."""
    return "\udc80" <= character <= "\udcff"


def _width(window: Sequence[tuple[bytes, str]]) -> float:
    n_bytes = sum(len(text) for text, _ in window)
    n_bits = sum(len(bits) for _, bits in window)
    return max(n_bytes + 0.4, BIT * n_bits + TOKEN_GAP * (len(window) - 1) + 0.6)


def _draw_bars(axes: Axes, bits: Sequence[float], at: float, base: float, scale: float, colour):
    """Draw a bar above each byte's slot."""
    for place, value in enumerate(bits):
        size = scale * value
        axes.add_patch(
            Rectangle((at + place + 0.35, base - size), 0.7, size, color=colour, linewidth=0)
        )


def _draw_window(axes: Axes, window, at: float, top: float, colour: str) -> None:
    """Draw a window's box, its text and the bits of its tokens."""
    box = dict(boxstyle="round,pad=0,rounding_size=0.25", mutation_aspect=0.12)
    axes.add_patch(
        FancyBboxPatch(
            (at, top + 0.02),
            _width(window),
            TEXT + BITS,
            facecolor=colour,
            alpha=0.2,
            linewidth=0,
            **box,
        )
    )
    mono = dict(family="DejaVu Sans Mono", va="center")
    text = b"".join(own for own, _ in window)
    for place, glyph in enumerate(glyphs(text)):
        axes.text(at + place + 0.7, top + 0.145, glyph, ha="center", size=11, color=INK, **mono)
    start = at + 0.3
    for _, bits in window:
        width = BIT * len(bits)
        middle, below = start + width / 2, top + TEXT + 0.09
        axes.text(middle, below, bits, ha="center", size=6.9, color=QUIET, **mono)
        start += width + TOKEN_GAP
