"""Panels that several pictures share: panels of lines, and rows with names at the left."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_jax.reports.style import QUIET, line_look, titles


def lines_of(
    records: Sequence[Mapping[str, Any]], series: str, x: str, y: str, scale: float = 1.0
) -> dict[str, tuple[list[float], list[float]]]:
    """Return series -> (x values, y values times `scale`), in the order of the records.

    Args:
        records: the points.
        series: key of the name of a line.
        x: key of the x values.
        y: key of the y values.
        scale: factor on y.
    """
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        xs, ys = lines.setdefault(record[series], ([], []))
        xs.append(record[x])
        ys.append(scale * record[y])
    return lines


def plot_lines(
    axes: Axes, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], **look: Any
) -> list[tuple[float, float, str, str]]:
    """Draw each line in its own colour and dashes, and return their ends for `label_ends`.

    Args:
        axes: the axes to draw on.
        lines: name of each line -> its x and y.
        **look: options of matplotlib's `plot` for all lines.
    """
    ends = []
    for index, (name, (xs, ys)) in enumerate(lines.items()):
        own = {"marker": "o", "markersize": 3, **line_look(index), **look}
        axes.plot(xs, ys, **own)
        ends.append((xs[-1], ys[-1], name, own["color"]))
    return ends


def line_panels(
    title: str, subtitle: str, names: Sequence[str] = ("",), height: float = 5.4
) -> tuple[Figure, list[Axes]]:
    """Return a figure and a panel for each name, with room right of the last for `label_ends`.

    Args:
        title: title of the figure.
        subtitle: text below the title.
        names: titles of the panels; "" for none.
        height: height of the figure, in inches.
    """
    figure = Figure(figsize=(8.6, height))
    top = 0.845 if len(names) == 1 else 1 - 1.1 / height
    figure.subplots_adjust(left=0.075, right=0.72, bottom=0.54 / height, top=top, wspace=0.25)
    titles(figure, 0.075, title, subtitle)
    panels = list(figure.subplots(1, len(names), squeeze=False)[0])
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(name)
    return figure, panels


def broken_panel(title: str, subtitle: str, is_broken: bool) -> tuple[Figure, Axes, Axes | None]:
    """Return a figure, its panel as `line_panels` makes it, and above it a low one if broken.

    The y axis is cut between the two, so that what lies far above does not flatten the rest.

    Args:
        title: title of the figure.
        subtitle: text below the title.
        is_broken: whether there is a panel above.
    """
    figure, (axes,) = line_panels(title, subtitle)
    if not is_broken:
        return figure, axes, None
    box = axes.get_position()
    cut, gap = 0.83, 0.035
    axes.set_position((box.x0, box.y0, box.width, cut * box.height))
    above = figure.add_axes(
        (box.x0, box.y0 + (cut + gap) * box.height, box.width, (1 - cut - gap) * box.height),
        sharex=axes,
    )
    above.spines["bottom"].set_visible(False)
    above.tick_params(axis="x", which="both", length=0, labelbottom=False)
    marks = dict(marker=[(-1, -0.5), (1, 0.5)], markersize=7, linestyle="none", color=QUIET)
    for panel, height in ((axes, 1), (above, 0)):
        panel.plot([0], [height], transform=panel.transAxes, clip_on=False, **marks)
    return figure, axes, above


def spaced_panels(title: str, subtitle: str, names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure and a panel for each name, with room right of every one for `label_ends`."""
    left, panel, beside, above, below, height = 0.6, 3.4, 2.35, 1.05, 0.55, 5.0
    width = left + len(names) * (panel + beside)
    figure = Figure(figsize=(width, height))
    titles(figure, left / width, title, subtitle)
    panels = []
    for index, name in enumerate(names):
        start = (left + index * (panel + beside)) / width
        box = (start, below / height, panel / width, 1 - (above + below) / height)
        panels.append(figure.add_axes(box, title=name))
    return figure, panels


def row_panels(
    title: str, subtitle: str, n_rows: int, row_height: float, hspace: float
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and its panels, two in each row, with room left of the rows for their names.

    Args:
        title: title of the figure.
        subtitle: text below the title.
        n_rows: number of rows.
        row_height: height of a row, in inches.
        hspace: space between rows, as a share of the height of a panel.
    """
    height = 1.35 + row_height * n_rows
    figure = Figure(figsize=(10.4, height))
    titles(figure, 0.02, title, subtitle)
    box = dict(left=0.24, right=0.98, bottom=0.55 / height, top=1 - 0.8 / height, hspace=hspace)
    grid = figure.subplots(n_rows, 2, sharex="col", squeeze=False, gridspec_kw=box)
    return figure, [list(row) for row in grid]


def note(axes: Axes, text: str) -> None:
    """Write a short text in grey in the upper right corner of a panel."""
    axes.annotate(
        text,
        (1, 1),
        (0, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        size=7.5,
        color=QUIET,
    )


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of the rows 0, 1, ... of a panel, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
