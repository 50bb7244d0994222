"""Pictures of what is cut: lengths and nats by place, agreement, noise; and the same for a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from latent_jax.analysis.boundaries.picture import draw_places
from latent_jax.analysis.boundaries.shown import labelled
from latent_jax.analysis.boundaries.surprisal import N_PLACES
from latent_jax.analysis.boundaries.view import pieces_of
from latent_jax.analysis.codes import Records
from latent_jax.reports import panels, style
from latent_jax.reports.page.analyses import figure_id
from latent_jax.reports.page.charts import Axis, bars, lines
from latent_jax.reports.page.parts import CutText
from latent_jax.reports.page.parts import Figure as PageFigure

PAGE_TEXTS = 3
"""Places of each run on a page, at most."""


def draw_all(records: Records, folder: Path, analysis: str) -> list[Path]:
    """Draw chunks, agreement, noise and the places, as far as there are records of them.

    Args:
        records: of the analysis.
        folder: of the pictures.
        analysis: begins their names, so that others may lie in the same folder.
    """
    records = named_series(records)
    drawers = {
        "chunks": (_chunks_figure, ("lengths", "places")),
        "agreement": (_agreement_figure, ("agreement",)),
        "noise": (_noise_figure, ("noise",)),
        "places": (draw_places, ("view",)),
    }
    paths = []
    with style.house_style():
        for name, (draw, parts) in drawers.items():
            own = [of_part(records, part) for part in parts]
            if all(own):
                paths.append(style.save(draw(*own), folder / f"{analysis}_{name}.png"))
    return paths


def of_part(records: Records, part: str) -> list[Mapping[str, Any]]:
    """Return the records of a part."""
    return [record for record in records if record["part"] == part]


def named_series(records: Records) -> list[dict[str, Any]]:
    """Return records with "series": the run, and stage and text where there are several."""
    records = labelled(records)
    texts = {record["text"] for record in records}
    stages = {record["stage"] for record in records if "stage" in record}

    def series(record):
        words = [record["label"]]
        words += [f"stage {record['stage']}"] if len(stages) > 1 and "stage" in record else []
        words += [record["text"]] if len(texts) > 1 else []
        return ", ".join(words)

    return [{"series": series(record), **record} for record in records]


def _chunks_figure(lengths: Records, places: Records) -> Figure:
    figure, (left, right) = panels.line_panels(
        "Chunks and what stands in them",
        "of held-out text; bands are two standard errors over rows",
        ("chunks of a length, %", "nats by the place in the chunk"),
        height=4.4,
    )
    drawn = panels.lines_of(lengths, "series", "length_bytes", "chunks_share", 100)
    panels.plot_lines(left, drawn, markersize=2.5)
    left.set_xlabel("bytes")
    left.set_ylim(bottom=0)
    ends = panels.plot_lines(
        right, panels.lines_of(places, "series", "place", "place_nats"), markersize=3
    )
    for index, name in enumerate(dict.fromkeys(record["series"] for record in places)):
        own = [r for r in places if r["series"] == name and r["place_standard_error_nats"]]
        low, high = (
            [r["place_nats"] + side * 2 * r["place_standard_error_nats"] for r in own]
            for side in (-1, 1)
        )
        colour = style.line_look(index)["color"]
        right.fill_between([r["place"] for r in own], low, high, color=colour, alpha=0.18, lw=0)
    # Bands of few rows may be far wider than what there is to see.
    values = [record["place_nats"] for record in places]
    margin = 0.15 * (max(values) - min(values)) or 0.1
    right.set_ylim(min(values) - margin, max(values) + margin)
    right.set_xlabel("place, 1 = right behind the boundary")
    ticks = [*range(1, N_PLACES - 2, 2), N_PLACES]
    right.set_xticks(ticks, [*map(str, ticks[:-1]), f"{N_PLACES}+"])
    longest = max(record["length_bytes"] for record in lengths)
    is_open = any(record["is_this_and_longer"] for record in lengths)
    ticks = [1, *range(4, longest, 4 if longest > 12 else 2), longest]
    left.set_xticks(ticks, [*map(str, ticks[:-1]), f"{longest}{'+' * is_open}"])
    style.label_ends(right, ends)
    return figure


def _agreement_figure(records: Records) -> Figure:
    told = [record for record in records if record["f1_share"] is not None]
    rows = list(dict.fromkeys((record["reference"], record["where"]) for record in told))
    series = list(dict.fromkeys(record["series"] for record in told))
    height = 1.5 + len(rows) * max(0.34, 0.2 * len(series) + 0.12) + 0.2 * len(series)
    figure = Figure(figsize=(9.2, height))
    title = "Where chunks end, held against words and pieces"
    style.titles(figure, 0.03, title, "F1, %; hollow: as many ends at random places of each row")
    bottom = (0.5 + 0.2 * len(series)) / height
    axes = figure.add_axes((0.28, bottom, 0.68, 1 - bottom - 0.9 / height))
    for index, name in enumerate(series):
        colour = style.line_look(index)["color"]
        # Runs lie a little apart, so that equal values stay visible.
        shift = 0.62 * ((index + 0.5) / len(series) - 0.5)
        for record in (record for record in told if record["series"] == name):
            y = rows.index((record["reference"], record["where"])) + shift
            chance, value = 100 * record["random_f1_share"], 100 * record["f1_share"]
            axes.plot([chance, value], [y, y], color=colour, linewidth=1.2, alpha=0.6)
            axes.plot(chance, y, "o", markersize=4, color=colour, markerfacecolor="white")
            axes.plot(value, y, "o", markersize=5, color=colour)
        place = (0.14 + 0.2 * (len(series) - 1 - index)) / height
        figure.text(0.03, place, f"● {name}", color=colour, size=8.5, va="center")
    axes.set_xlim(-2, 102)
    panels.name_rows(axes, [f"{reference}, {where}" for reference, where in rows])
    return figure


def _noise_figure(records: Records) -> Figure:
    noises = list(dict.fromkeys(record["noise"] for record in records))
    series = list(dict.fromkeys(record["series"] for record in records))
    height = 1.5 + 0.42 * len(series)
    figure = Figure(figsize=(9.2, height))
    style.titles(
        figure,
        0.03,
        "Bits per byte under noise",
        "of the raw bytes of the noised text; the number is how much more than without noise",
    )
    axes = figure.add_axes((0.28, 0.5 / height, 0.56, 1 - 1.4 / height))
    for index, noise in enumerate(noises):
        colour = style.QUIET if index == 0 else style.PALETTE[index - 1]
        own = {record["series"]: record for record in records if record["noise"] == noise}
        for y, name in enumerate(series):
            bits, added = (own[name][key] for key in ("bits_per_byte", "added_bits_per_byte"))
            axes.plot(bits, y, "o", markersize=6, color=colour)
            if index:
                axes.annotate(
                    f"{added:+.2f}",
                    (bits, y),
                    (0, -6 if index % 2 else 6),
                    textcoords="offset points",
                    ha="center",
                    va="top" if index % 2 else "bottom",
                    size=7.5,
                    color=colour,
                )
        y = 1 - (0.98 + 0.2 * index) / height
        figure.text(0.86, y, f"● {noise}", color=colour, size=8.5, va="center")
    axes.margins(x=0.1)
    axes.set_xlabel("bits per byte")
    panels.name_rows(axes, series)
    axes.set_ylim(len(series) - 0.35, -0.65)
    return figure


def boundaries_page_figures(stem: str, records: Records) -> Sequence[PageFigure | CutText]:
    """Return a page's text with its chunks, lengths, nats by place, and noise; [] for others."""
    parts = {"chunks", "view", "noise"}
    if not parts & {record.get("part") for record in records} or "run" not in records[0]:
        return []
    records = named_series(records)
    found: list[PageFigure | CutText] = []
    views = [r for r in of_part(records, "view") if r["sample"] <= PAGE_TEXTS]
    at = [*map(_place, views)]
    views = sorted(views, key=lambda record: at.index(_place(record)))
    if views:
        caption = "Tints change where a chunk ends"
        if any("ends_2" in record for record in views):
            caption += ", underlines where one of the second stage does"
        caption += (
            ". Point at a character: what it costs, and how probable a boundary behind it was."
        )
        texts = [(f"{r['series']}, place {r['sample']}", pieces_of(r)) for r in views]
        found.append(CutText(figure_id(stem, "cuts"), "What is cut", caption, texts))
    if lengths := of_part(records, "lengths"):
        rows = [{**r, "percent": 100 * r["chunks_share"]} for r in lengths]
        found.append(
            lines(
                figure_id(stem, "lengths"),
                "How long chunks are",
                "Of the chunks that begin and end by a decision of the model.",
                rows,
                Axis("length_bytes", "bytes of a chunk", format="d"),
                Axis("percent", "% of chunks", format=".0f"),
                "series",
                with_values=False,
            )
        )
    if places := of_part(records, "places"):
        found.append(
            lines(
                figure_id(stem, "places"),
                "What bytes cost by their place in the chunk",
                f"1 is right behind the boundary; {N_PLACES} is of all from there on.",
                places,
                Axis("place", "place in the chunk", format="d"),
                Axis("place_nats", "nats", format=".1f"),
                "series",
            )
        )
    if noise := [r for r in of_part(records, "noise") if r["noise"] != "none"]:
        rows = [{**r, "shown": f"{r['series']}: {r['noise']}"} for r in noise]
        x = Axis("added_bits_per_byte", "bits per byte more than without noise", format=".2f")
        title = "What noise costs"
        caption = "Bits per byte of the noised text, less those of the text as it is."
        kinds = dict.fromkeys(record["noise"] for record in rows)
        colours = dict(zip(kinds, style.PALETTE, strict=False))
        words = dict(part="noise", colours=colours)
        found.append(bars(figure_id(stem, "noise"), title, caption, rows, "shown", x, **words))
    return found


def _place(record: Mapping[str, Any]) -> tuple[str, int]:
    return record["text"], record["sample"]
