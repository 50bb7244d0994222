"""The look of every picture: one palette, thin grids, names at the ends of lines, no legends.

Pictures use matplotlib's object interface, so no global state changes and no display is needed. The
colours are those of Okabe and Ito, "Color Universal Design" (2008), which colour-blind readers can
distinguish. From the eighth line on, the dashes change as well.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import (
    FuncFormatter,
    LogFormatter,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

from latent_jax.paths import replace_file
from latent_jax.spelling import one_line, plot_text

INK = "#22262b"
QUIET = "#6b7280"
GRID = "#e6e8eb"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")

_FAMILIES: dict[str, tuple[int, str]] = {}

LAST = 1000
"""Rank of an unknown family."""

DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
DPI = 200

_SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 9.0,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 10.0,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "savefig.facecolor": "white",
}


def show_families(looks: Mapping[str, tuple[int, int | None]]) -> None:
    """Register the look of families of methods. Call it before the first table or picture.

    Args:
        looks: family -> (rank, index of its colour in `PALETTE`). Tables show families in the order
            of their ranks; the index None means grey. See `methods.registry.looks`.
    """
    for name, (rank, colour) in looks.items():
        _FAMILIES[name] = rank, QUIET if colour is None else PALETTE[colour]


def family_of(method: str) -> str:
    """Return the family of a method's name."""
    return method.partition("[")[0].partition(",")[0]


def rank_of(method: str) -> int:
    """Return the rank of a method's family; unknown families come last.

    Raises:
        RuntimeError: `show_families` has not been called.
    """
    return _look(method)[0]


def colour_of(method: str) -> str:
    """Return the colour of a method's family; grey for an unknown family.

    Raises:
        RuntimeError: `show_families` has not been called.
    """
    return _look(method)[1]


def _look(method: str) -> tuple[int, str]:
    if not _FAMILIES:
        raise RuntimeError("no family has a look yet: call show_families(registry.looks()) first")
    return _FAMILIES.get(family_of(method), (LAST, QUIET))


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Apply the house style to everything that is drawn within the block."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_SETTINGS}):
        yield


def line_look(index: int) -> dict:
    """Return the colour and dashes of line number `index` of a picture, for matplotlib."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": DASHES[index // len(PALETTE) % len(DASHES)],
    }


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG; the file is whole or not there, and a link there is replaced.

    Texts are drawn as they are: a "$" in the name of a run begins no formula.
    """
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    numbers = {id(text) for axis in axes for text in _spell_ticks(axis)}
    for text in figure.findobj(Text):
        text.set_text("\n".join(map(one_line, text.get_text().split("\n"))))
        text.set_parse_math(id(text) in numbers)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    return replace_file(path, image.getvalue(), follows_links=False)


def _spell_ticks(axis: Axis) -> list[Text]:
    """Return the labels of an axis, after names that stand in place of numbers are spelled.

    Numbers stay with matplotlib, which writes powers of ten as formulas.
    """
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, ScalarFormatter | LogFormatter | NullFormatter):
        axis.set_major_formatter(FuncFormatter(lambda x, place: plot_text(formatter(x, place))))
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [axis.get_offset_text(), *(label for t in ticks for label in (t.label1, t.label2))]


def titles(figure: Figure, left: float, title: str, subtitle: str) -> None:
    """Write a title and, in grey below it, a subtitle; `left` is a share of the width."""
    height = figure.get_size_inches()[1]
    figure.text(left, 1 - 0.32 / height, title, size=13, weight="bold", va="center")
    figure.text(left, 1 - 0.59 / height, subtitle, size=9, color=QUIET, va="center")


def short_name(method: str) -> str:
    """Return the short form of a literature name for the end of a line."""
    return method.replace("v=65536", "v=65k").replace("EqualInfoAC", "EqInfoAC")


def bytes_unit(largest: float) -> tuple[float, str]:
    """Return the divisor and the name of the decimal unit that suits `largest` bytes."""
    for divisor, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if largest >= divisor:
            return divisor, name
    return 1.0, "bytes"


def smooth(ys: np.ndarray, window: int) -> np.ndarray:
    """Return the centred running mean over about `window` values.

    The window narrows at the start, where losses are steep. At the end it has only its left half,
    so that the last value is a mean as well.
    """
    index = np.arange(len(ys))
    left = np.minimum(window // 2, index)
    right = np.minimum(left, index[::-1])
    sums = np.concatenate([[0.0], np.cumsum(ys)])
    return (sums[index + right + 1] - sums[index - left]) / (left + right + 1)


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], size=8.5) -> None:
    """Write names in a column right of the axes, near the ends of their lines, without overlap.

    Call it last, because it fixes the limits of the axes, which matplotlib would compute only when
    it draws.

    Args:
        axes: the axes with the lines.
        ends: (x, y, text, colour) of each line; a text may contain newlines.
        size: font size in points.
    """
    if not ends:
        return
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    to_points = 72.0 / axes.get_figure().dpi
    ends = sorted(ends, key=lambda end: end[1])
    wanted = [axes.transData.transform((x, y))[1] * to_points for x, y, _, _ in ends]
    heights = [size * 1.25 * (1 + text.count("\n")) + 1.5 for _, _, text, _ in ends]
    box = axes.get_window_extent()
    places = spread(wanted, heights, box.y0 * to_points - 4, box.y1 * to_points + 8)
    column = box.x1 * to_points + 9
    for (x, y, text, colour), wish, place in zip(ends, wanted, places, strict=True):
        gap = column - axes.transData.transform((x, y))[0] * to_points
        axes.annotate(
            text,
            (x, y),
            xytext=(column, place),
            textcoords="figure points",
            color=colour,
            size=size,
            va="center",
            linespacing=1.2,
            annotation_clip=False,
            arrowprops=(
                dict(
                    arrowstyle="-",
                    color=colour,
                    linewidth=0.6,
                    alpha=0.6,
                    relpos=(0, 0.5),
                    shrinkA=0,
                    shrinkB=2,
                )
                if abs(place - wish) > 3 or gap > 20
                else None
            ),
        )


def spread(
    wanted: Sequence[float], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Return centres of boxes that do not overlap, close to the `wanted` centres.

    Overlapping boxes are merged into blocks, and each block is placed at the mean of the wanted
    places of its boxes. This is the pool-adjacent-violators solution of the least-squares problem.

    Args:
        wanted: wanted centres, ascending.
        heights: height of each box.
        low: lower limit of the boxes.
        high: upper limit; a block that does not fit begins at `low` and exceeds it.
    """
    blocks = []  # [sum of (wish - offset within the block), number of boxes, height]
    for wish, height in zip(wanted, heights, strict=True):
        blocks.append([wish - height / 2, 1, height])
        while len(blocks) > 1 and _bottom(blocks[-2], low, high) + blocks[-2][2] > _bottom(
            blocks[-1], low, high
        ):
            upper = blocks.pop()
            lower = blocks[-1]
            lower[0] += upper[0] - upper[1] * lower[2]
            lower[1] += upper[1]
            lower[2] += upper[2]
    centres = []
    remaining = iter(heights)
    for block in blocks:
        bottom = _bottom(block, low, high)
        for _ in range(block[1]):
            height = next(remaining)
            centres.append(bottom + height / 2)
            bottom += height
    return centres


def _bottom(block, low, high):
    """Return the bottom of a block of `spread`: its mean wanted place, moved into the limits."""
    total, count, height = block
    return max(low, min(total / count, high - height))


def few_ticks(axes: Axes) -> None:
    """Limit both axes to at most six intervals between round numbers."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)))
