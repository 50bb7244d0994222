"""The picture of the worked example: nested intervals with codewords, and bits per symbol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from latent_jax.reports.style import (
    INK,
    PALETTE,
    QUIET,
    house_style,
    label_ends,
    save,
    spread,
    titles,
)
from latent_jax.tokenizers.intervals import (
    Alphabet,
    coder_codeword,
    codeword,
    shortest_fraction,
)

MOST_BOXES = 27
"""Messages of the longest length that is drawn."""
MOST_COLUMNS = 3
ROOM = 172.0
"""Points between the intervals and the axes of the right."""
LEAST_LETTERS = 0.028
"""Height of the smallest interval in which its message is written."""


def write_intervals(
    alphabet: Alphabet, summary: Sequence[Mapping[str, Any]], path: str | Path
) -> Path:
    """Draw the messages of the first lengths as nested intervals, and mean bits by length.

    Args:
        alphabet: of the messages.
        summary: records of "length", "entropy_bits_per_symbol", "codeword_bits_per_symbol" and
            "coder_bits_per_symbol".
        path: of the PNG, which is returned.
    """
    n_symbols = len(alphabet.symbols)
    lengths = [n for n in range(1, MOST_COLUMNS + 1) if n == 1 or n_symbols**n <= MOST_BOXES]
    with house_style():
        figure = Figure(figsize=(10.2, 5.4))
        titles(
            figure,
            0.045,
            "Every message owns an interval as long as it is probable",
            "Left: its shortest binary fraction, the codeword, and in grey the coder's own bits. "
            "Right: longer messages cost what they tell",
        )
        _draw_boxes(figure.add_axes((0.045, 0.05, 0.33, 0.78)), alphabet, lengths)
        _draw_means(figure.add_axes((0.655, 0.105, 0.2, 0.725)), summary)
        return save(figure, path)


def _draw_boxes(axes: Axes, alphabet: Alphabet, lengths: Sequence[int]) -> None:
    """Draw a column of intervals for each length; 0 is at the top, as in the tables."""
    axes.set(xlim=(0, len(lengths)), ylim=(1, 0), xticks=[])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", "1/4", "1/2", "3/4", "1"))
    for column, length in enumerate(lengths):
        for message in alphabet.messages(length):
            interval = alphabet.interval(message)
            low, size = float(interval.low), float(interval.size)
            colour = PALETTE[alphabet.symbols.index(message[0]) % len(PALETTE)]
            look = dict(facecolor=colour, alpha=0.32 - 0.09 * column)
            axes.add_patch(Rectangle((column, low), 1, size, linewidth=0, **look))
            edge = dict(fill=False, edgecolor="white", linewidth=1.6)
            axes.add_patch(Rectangle((column, low), 1, size, **edge))
            if size >= LEAST_LETTERS:
                axes.text(
                    column + 0.5,
                    low + size / 2,
                    message,
                    ha="center",
                    va="center",
                    size=min(12, 7 + 60 * size),
                    color=INK,
                )
    _draw_codewords(axes, alphabet, lengths[-1])


def _draw_codewords(axes: Axes, alphabet: Alphabet, length: int) -> None:
    """Write every message, its fraction and both codewords right of its interval."""
    messages = list(alphabet.messages(length))
    height = axes.get_window_extent().height * 72 / axes.get_figure().dpi
    middles = [
        height * float(interval.low + interval.high) / 2
        for interval in map(alphabet.interval, messages)
    ]
    n_lines = len(messages)
    line = min(14.0, height / n_lines)
    places = spread(middles, [line] * n_lines, -6, height + 6)
    columns = (
        (messages, INK),
        ([str(shortest_fraction(alphabet.interval(m))) for m in messages], QUIET),
        ([f".{codeword(alphabet, m)}" for m in messages], INK),
        ([f".{coder_codeword(alphabet, m)}" for m in messages], QUIET),
    )
    widths = [max(map(len, texts)) + 2 for texts, _ in columns]
    # A letter of DejaVu Sans Mono is 0.602 of its size wide.
    size = min(9.0, 0.72 * line, ROOM / (0.602 * sum(widths)))
    offset = 8.0
    for (texts, colour), width in zip(columns, widths, strict=True):
        for text, place in zip(texts, places, strict=True):
            axes.annotate(
                text,
                (length, place / height),
                (offset, 0),
                textcoords="offset points",
                family="DejaVu Sans Mono",
                color=colour,
                size=size,
                va="center",
                annotation_clip=False,
            )
        offset += 0.602 * size * width


def _draw_means(axes: Axes, summary: Sequence[Mapping[str, Any]]) -> None:
    """Draw the mean bits per symbol over the length of messages, and the entropy."""
    xs = [record["length"] for record in summary]
    axes.set_title("bits per symbol", weight="normal", color=QUIET, size=8.5, pad=4)
    ends = []
    for key, name, look in (
        ("entropy_bits_per_symbol", "entropy", dict(color=INK, linestyle=(0, (4, 2)))),
        ("codeword_bits_per_symbol", "codeword", dict(color=PALETTE[0], marker="o")),
        ("coder_bits_per_symbol", "coder's own", dict(color=QUIET, marker="o")),
    ):
        ys = [record[key] for record in summary]
        axes.plot(xs, ys, markersize=3, linewidth=1.6, **look)
        ends.append((xs[-1], ys[-1], f"{name} {ys[-1]:.3f}", look["color"]))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("symbols of a message")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_ends(axes, ends)
