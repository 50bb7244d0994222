"""Pictures of what tokens stand for: entropies, runs decoded alone, lengths of vocabularies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from latent_jax.reports.style import (
    INK,
    PALETTE,
    QUIET,
    house_style,
    label_ends,
    line_look,
    save,
    titles,
)

ERROR = "decoding_error_share@"


def write_token_figures(
    records: Sequence[Mapping[str, Any]],
    vocabularies: Sequence[Mapping[str, Any]],
    folder: str | Path,
) -> list[Path]:
    """Draw the pictures into a folder.

    Args:
        records: one for each method: text_bits, text_given_id_bits, text_given_shuffled_id_bits,
            and decoding_error_share@N for runs of N ids.
        vocabularies: piece_bytes, n_ids and n_tokens of methods whose ids stand for one text each;
            no picture is drawn where there is none.
        folder: where the PNGs go.
    """
    folder = Path(folder)
    with house_style():
        paths = [
            save(_entropies(records), folder / "ambiguity.png"),
            save(_decoding(records), folder / "decoding.png"),
        ]
        if vocabularies:
            paths.append(save(_vocabularies(vocabularies), folder / "vocabulary.png"))
    return paths


def _entropies(records) -> Figure:
    """One row for each method: what the id leaves open of the text, of all that there is."""
    height = 1.45 + 0.32 * len(records)
    figure = Figure(figsize=(9.2, height))
    titles(
        figure,
        0.02,
        "How much of a token's text is open once its id is known",
        "Bar: bits of text given the id. Hollow dot: the same where ids are shuffled and say "
        "nothing. Line: bits of the text",
    )
    axes = figure.add_axes((0.26, 0.55 / height, 0.71, 1 - 1.4 / height))
    for row, record in enumerate(records):
        colour = PALETTE[row % len(PALETTE)]
        axes.barh(row, record["text_given_id_bits"], 0.5, color=colour)
        axes.plot([record["text_bits"]] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=1.2)
        axes.plot(
            record["text_given_shuffled_id_bits"],
            row,
            "o",
            markersize=5,
            color=colour,
            markerfacecolor="white",
        )
    axes.set_yticks(range(len(records)), [record["method"] for record in records])
    axes.set_ylim(len(records) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("bits per token")
    return figure


def _decoding(records) -> Figure:
    """Errors over the length of runs, one line for each method."""
    figure = Figure(figsize=(8.6, 5.2))
    figure.subplots_adjust(left=0.075, right=0.72, bottom=0.1, top=0.845)
    titles(
        figure,
        0.075,
        "Runs of ids decoded alone",
        "Levenshtein distance to the bytes that they cover, as a share of the longer of the two",
    )
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    ends, places = [], set()
    for row, record in enumerate(records):
        points = sorted((int(k.removeprefix(ERROR)), v) for k, v in record.items() if ERROR in k)
        if not points:
            continue
        xs, ys = zip(*points, strict=True)
        look = line_look(row)
        axes.plot(xs, ys, marker="o", markersize=3, **look)
        ends.append((xs[-1], ys[-1], record["method"], look["color"]))
        places.update(xs)
    axes.set_xticks(sorted(places))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("ids in a run")
    label_ends(axes, ends, size=7.5)
    return figure


def _vocabularies(vocabularies) -> Figure:
    """Lengths of texts, one row for each method: of the vocabulary, and of the tokens of a text."""
    methods = list(dict.fromkeys(record["method"] for record in vocabularies))
    height = 1.35 + 0.9 * len(methods)
    figure = Figure(figsize=(10.4, height))
    titles(
        figure,
        0.02,
        "Lengths of the texts that ids stand for",
        "Left: share of the vocabulary. Right: share of the tokens of held-out text",
    )
    grid = figure.subplots(
        len(methods),
        2,
        sharex=True,
        squeeze=False,
        gridspec_kw=dict(
            left=0.24, right=0.98, bottom=0.55 / height, top=1 - 0.8 / height, hspace=0.3
        ),
    )
    for row, method in enumerate(methods):
        own = [record for record in vocabularies if record["method"] == method]
        for axes, key in zip(grid[row], ("n_ids", "n_tokens"), strict=True):
            _bars(axes, own, key, PALETTE[row % len(PALETTE)])
        grid[row, 0].set_ylabel(method, rotation=0, ha="right", va="center", color=INK)
    for axes in grid[-1]:
        axes.set_xlabel("bytes")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _bars(axes: Axes, records, key: str, colour: str) -> None:
    total = sum(record[key] for record in records)
    sizes = [record["piece_bytes"] for record in records]
    axes.bar(sizes, [record[key] / max(total, 1) for record in records], 0.8, color=colour)
    mean = sum(record["piece_bytes"] * record[key] for record in records) / max(total, 1)
    axes.annotate(
        f"mean {mean:.2f}",
        (1, 1),
        (0, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="top",
        size=7.5,
        color=QUIET,
    )
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
