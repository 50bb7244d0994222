"""Pictures of stability: histograms of distances, and how often words and tokens mean the same."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_jax.reports.style import INK, PALETTE, QUIET, few_ticks, house_style, save, titles

SHARES = (
    ("same_text_probability", "one id, the same text"),
    ("same_ids_probability", "one word, the same ids"),
    ("space_recall_share", "spaces that are token boundaries"),
    ("space_precision_share", "token boundaries at spaces"),
    ("piece_recall_share", "piece boundaries that are token boundaries"),
    ("piece_precision_share", "token boundaries at piece boundaries"),
)


def write_stability_figures(
    records: Sequence[Mapping[str, Any]],
    histograms: Sequence[Mapping[str, Any]],
    folder: str | Path,
) -> list[Path]:
    """Draw both pictures into a folder.

    Args:
        records: one for each method, with what `SHARES` names (others are left out), as far as
            known beside `random_` and the same name.
        histograms: bins: method, quantity ("prefix_distance_tokens" or "travel_bytes"), start,
            stop, share.
        folder: where the PNGs go.
    """
    folder = Path(folder)
    with house_style():
        return [
            save(_distances(records, histograms), folder / "stability.png"),
            save(_shares(records), folder / "consistency.png"),
        ]


def _distances(records, histograms) -> Figure:
    """One row for each method: distances behind other prefixes, and how far a change travels."""
    figure, columns = _rows(
        records,
        "Stability of tokenizations",
        "Left: Levenshtein distance between one sentence's tokenizations behind different words. "
        "Right: bytes that one changed byte's effect travels",
        n_columns=2,
        left=0.24,
    )
    _strips(columns[0], records, histograms, "prefix_distance_tokens", lambda x: x)
    _strips(columns[1], records, histograms, "travel_bytes", lambda x: np.log2(np.maximum(x, 0.5)))
    for record, left, right in zip(records, *columns, strict=True):
        _name(left, record["method"])
        _note(left, f"mean {record['prefix_distance_tokens']:.1f}")
        _note(right, f"to the end {record['reaches_end_share']:.0%}")
    columns[0][-1].set_xlabel("tokens, share of pairs")
    few_ticks(columns[0][-1])
    columns[0][-1].set_yticks([])
    last = int(max(columns[1][-1].get_xlim()))
    columns[1][-1].set_xticks(range(-1, last + 1, 2))
    columns[1][-1].set_xticklabels(["0", *(f"{2**k:,}" for k in range(1, last + 1, 2))])
    columns[1][-1].set_xlabel("bytes, share of changes")
    return figure


def _rows(records, title, subtitle, n_columns, left) -> tuple[Figure, list[list[Axes]]]:
    """Return axes in columns, one row for each record."""
    n = len(records)
    height = 1.35 + 0.5 * n
    figure = Figure(figsize=(10.4, height))
    titles(figure, 0.02, title, subtitle)
    grid = figure.subplots(
        n,
        n_columns,
        sharex="col",
        squeeze=False,
        gridspec_kw=dict(
            left=left, right=0.98, bottom=0.55 / height, top=1 - 0.8 / height, hspace=0.25
        ),
    )
    return figure, [list(grid[:, column]) for column in range(n_columns)]


def _strips(
    column: Sequence[Axes], records, histograms, quantity: str, place: Callable[[float], float]
) -> None:
    """Draw one histogram in each axes, all on one scale of x, each on its own of y."""
    for row, (axes, record) in enumerate(zip(column, records, strict=True)):
        bins = [
            bin_
            for bin_ in histograms
            if (bin_["method"], bin_["quantity"]) == (record["method"], quantity)
        ]
        starts = np.array([place(bin_["start"]) for bin_ in bins])
        widths = np.array([place(bin_["stop"]) for bin_ in bins]) - starts
        colour = PALETTE[row % len(PALETTE)]
        shares = [bin_["share"] for bin_ in bins]
        axes.bar(starts, shares, widths, align="edge", color=colour, linewidth=0)
        axes.set_yticks([])
        axes.set_ylim(0, 1.6 * max(shares))
        axes.spines["left"].set_visible(False)


def _name(axes: Axes, method: str) -> None:
    axes.annotate(
        method,
        (0, 0),
        (-8, 1),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        size=8.5,
        color=INK,
    )


def _note(axes: Axes, text: str) -> None:
    axes.annotate(
        text,
        (1, 1),
        (0, -1),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        size=7.5,
        color=QUIET,
    )


def _shares(records) -> Figure:
    """One panel for each share, one row for each method; a hollow dot is chance."""
    shown = [(key, name) for key, name in SHARES if any(r.get(key) is not None for r in records)]
    n_columns = 2
    n_rows = -(-len(shown) // n_columns)
    height = 0.9 + n_rows * (0.75 + 0.2 * len(records))
    figure = Figure(figsize=(10.4, height))
    titles(
        figure,
        0.02,
        "What stays the same, and where tokens end",
        "Hollow: as many boundaries at random positions",
    )
    grid = figure.subplots(
        n_rows,
        n_columns,
        sharey=True,
        squeeze=False,
        gridspec_kw=dict(
            left=0.24,
            right=0.97,
            bottom=0.4 / height,
            top=1 - 1.05 / height,
            hspace=0.75 / (0.2 * len(records)),
        ),
    )
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, (key, name) in zip(grid.flat, shown, strict=False):
        axes.set_title(name)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
        for row, record in enumerate(records):
            colour = PALETTE[row % len(PALETTE)]
            chance, value = record.get(f"random_{key}"), record.get(key)
            if value is None:
                continue
            axes.plot([chance or 0, value], [row, row], color=colour, linewidth=1.2, alpha=0.6)
            if chance is not None:
                axes.plot(chance, row, "o", markersize=4, color=colour, markerfacecolor="white")
            axes.plot(value, row, "o", markersize=5, color=colour)
        axes.set_yticks(range(len(records)), [record["method"] for record in records])
        axes.set_ylim(len(records) - 0.4, -0.6)
    return figure
