"""Pictures of stability: histograms of distances, and shares of stable ids and boundaries."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_jax.analysis.codes import Records
from latent_jax.reports.page.analyses import (
    METHOD,
    figure_id,
    grouped,
    has,
    is_number,
    ordered,
    words_of,
)
from latent_jax.reports.page.charts import Axis, bars, lines
from latent_jax.reports.page.parts import Figure as PageFigure
from latent_jax.reports.panels import name_rows, note, row_panels
from latent_jax.reports.style import INK, PALETTE, few_ticks, titles

SHARES = (
    ("same_text_probability", "one id, the same text"),
    ("same_ids_probability", "one word, the same ids"),
    ("space_recall_share", "spaces that are token boundaries"),
    ("space_precision_share", "token boundaries at spaces"),
    ("piece_recall_share", "piece boundaries that are token boundaries"),
    ("piece_precision_share", "token boundaries at piece boundaries"),
)

DISTANCES = {
    "prefix_distance_share": "tokens of a sentence that another word before it changes",
    "changed_tokens_share": "tokens that one changed byte changes",
    "travel_bytes_median": "bytes that the effect of a changed byte travels, median",
    "reaches_end_share": "changes whose effect reaches the end of the text",
}
PROBABILITIES = {
    "same_text_probability": "one id stands for the same text, probability",
    "same_ids_probability": "one word has the same ids, probability",
}
"""Key -> title of the bars on a page. A page is drawn only if a key of `DISTANCES` is there: these
two keys may also be in the records of other analyses."""


def distances_figure(records: Records, histograms: Records) -> Figure:
    """Draw a row for each method: distances after other prefixes, and how far a change travels."""
    figure, rows = row_panels(
        "Stability of tokenizations",
        "Left: Levenshtein distance between one sentence's tokenizations after different words. "
        "Right: bytes that one changed byte's effect travels",
        n_rows=len(records),
        row_height=0.5,
        hspace=0.25,
    )
    lefts, rights = zip(*rows, strict=True)
    _strips(lefts, records, histograms, "prefix_distance_tokens", lambda x: x)
    _strips(rights, records, histograms, "travel_bytes", lambda x: np.log2(np.maximum(x, 0.5)))
    for record, (left, right) in zip(records, rows, strict=True):
        words = dict(xycoords="axes fraction", textcoords="offset points", ha="right", va="bottom")
        left.annotate(record["method"], (0, 0), (-8, 1), size=8.5, color=INK, **words)
        note(left, f"mean {record['prefix_distance_tokens']:.1f}")
        note(right, f"to the end {record['reaches_end_share']:.0%}")
    left, right = rows[-1]
    left.set_xlabel("tokens, share of pairs")
    few_ticks(left)
    left.set_yticks([])
    last = int(max(right.get_xlim()))
    names = ["0", *(f"{2**k:,}" for k in range(1, last + 1, 2))]
    right.set_xticks(range(-1, last + 1, 2), names)
    right.set_xlabel("bytes, share of changes")
    return figure


def _strips(
    column: Sequence[Axes],
    records: Records,
    histograms: Records,
    quantity: str,
    place: Callable[[float], float],
) -> None:
    """Draw one histogram in each axes; they share the x scale, and each has its own y scale."""
    for row, (axes, record) in enumerate(zip(column, records, strict=True)):
        key = (record["method"], quantity)
        bins = [bin_ for bin_ in histograms if (bin_["method"], bin_["quantity"]) == key]
        starts = np.array([place(bin_["start"]) for bin_ in bins])
        widths = np.array([place(bin_["stop"]) for bin_ in bins]) - starts
        shares = [bin_["share"] for bin_ in bins]
        look = dict(color=PALETTE[row % len(PALETTE)], linewidth=0)
        axes.bar(starts, shares, widths, align="edge", **look)
        axes.set_yticks([])
        axes.set_ylim(0, 1.6 * max(shares))
        axes.spines["left"].set_visible(False)


def shares_figure(records: Records) -> Figure:
    """Draw a panel for each share and a row for each method; a hollow dot is chance."""
    shown = [(key, name) for key, name in SHARES if any(r.get(key) is not None for r in records)]
    n_rows = -(-len(shown) // 2)
    height = 0.9 + n_rows * (0.75 + 0.2 * len(records))
    figure = Figure(figsize=(10.4, height))
    title = "What stays the same, and where tokens end"
    titles(figure, 0.02, title, "Hollow: as many boundaries at random positions")
    box = dict(left=0.24, right=0.97, bottom=0.4 / height, top=1 - 1.05 / height)
    box["hspace"] = 0.75 / (0.2 * len(records))
    grid = figure.subplots(n_rows, 2, sharey=True, squeeze=False, gridspec_kw=box)
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
        name_rows(axes, [record["method"] for record in records])
    return figure


def histogram_page_figures(stem: str, records: Records) -> list[PageFigure]:
    """Return a page's figures of histograms, one for each quantity; [] for other records."""
    if not has(records, METHOD, "quantity", "start", "share"):
        return []
    figures = []
    for quantity, rows in grouped(records, "quantity").items():
        rows = ordered(rows, "start", "share")
        is_wide = max(row["start"] for row in rows) > 200
        # The first bin may begin at 0, which a logarithmic axis cannot show.
        shown = [{**row, "at": max(row["start"], 0.5) if is_wide else row["start"]} for row in rows]
        name = words_of(quantity).lower()
        figures.append(
            lines(
                figure_id(stem, quantity),
                f"{words_of(stem)}: {name}",
                "The share of cases in each bin, over where the bin begins.",
                shown,
                Axis("at", name, is_log=is_wide, format="~s"),
                Axis("share", "share", format=".0%"),
                METHOD,
                with_values=False,
            )
        )
    return figures


def stability_page_figures(stem: str, records: Records) -> list[PageFigure]:
    """Return a page's bar charts of stability, one for each key; [] for other records."""
    if not any(has(records, METHOD, key) for key in DISTANCES):
        return []
    figures = []
    for key, words in {**DISTANCES, **PROBABILITIES}.items():
        rows = [row for row in records if is_number(row.get(key))]
        if rows:
            title = words[:1].upper() + words[1:]
            drawn = sorted(rows, key=lambda row: row[key])
            unit = next(u for u in ("bytes", "share", "probability") if u in key)
            x = Axis(key, unit, format=",.2~f", value_format=".3~r")
            figures.append(bars(figure_id(stem, key), title, "", drawn, METHOD, x))
    return figures
