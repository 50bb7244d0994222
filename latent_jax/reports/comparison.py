"""The picture of several runs: their curves side by side, and their last values as bars."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from latent_jax.reports.curves import PARTS, bits, fit_height, is_latent, seen_axis
from latent_jax.reports.records import read_run
from latent_jax.reports.style import QUIET, house_style, label_ends, line_look, save, titles


def write_comparison(folders: Sequence[str | Path], path: str | Path) -> Path:
    """Draw the validation bits per byte of several runs over the raw bytes they have read.

    Bars beside the curves show the last values; those of latent methods show their parts.

    Args:
        folders: run folders, in the order of their colours.
        path: path of the PNG.

    Returns:
        The path.

    Raises:
        ValueError: there is no run.
        RunFolderError: a folder is damaged or has no validation record yet.
    """
    if not folders:
        raise ValueError("a comparison needs at least one run folder")
    runs = [read_run(folder) for folder in folders]
    with house_style():
        return save(_comparison_figure(runs), path)


def _comparison_figure(runs):
    """Return the figure of a comparison: curves on the left, last values as bars on the right."""
    finals = [run.final() for run in runs]
    height = max(4.8, 2.1 + 0.52 * len(runs))
    figure = Figure(figsize=(11.6, height))
    bottom, top = 0.5 / height, 1 - 1.2 / height
    latent = any(is_latent(run) for run in runs)
    titles(
        figure,
        0.05,
        "Bits per byte of held-out text",
        "Lower is better. Latent methods pay for their codes and for what the codes leave open: "
        "the full code length"
        if latent
        else "Lower is better. Raw bytes are counted alike for all methods",
    )
    curves = figure.add_axes((0.05, bottom, 0.37, top - bottom))
    curves.set_title("Over the text read in training")
    scale = seen_axis(curves, runs)
    ends = []
    for i, run in enumerate(runs):
        xs, ys = run.curve(run.metric)
        look = line_look(i)
        curves.plot(xs / scale, ys, **look, marker="o", markersize=2.5)
        ends.append((xs[-1] / scale, ys[-1], _short(run.name), look["color"]))
    fit_height(curves)
    label_ends(curves, ends)
    bars = figure.add_axes((0.655, bottom, 0.335, top - bottom))
    _draw_bars(bars, runs, finals, latent)
    return figure


def _draw_bars(axes, runs, finals, latent):
    """Draw one bar per run: its last bits per byte, divided into parts for latent methods."""
    axes.grid(False)
    axes.set_title("At the end" + (", and what it is made of" if latent else ""))
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    largest = max(final[run.metric] for run, final in zip(runs, finals, strict=True))
    for row, (run, final) in enumerate(zip(runs, finals, strict=True)):
        colour = line_look(row)["color"]
        total = final[run.metric]
        if is_latent(run):
            reconstruction, language_model = (final[part] for part in PARTS)
            axes.barh(row, language_model, 0.3, color=colour)
            axes.barh(row, reconstruction, 0.3, left=language_model, color=colour, alpha=0.45)
            sum_of = f"= {bits(language_model)} LM + {bits(reconstruction)} reconstruction"
        else:
            axes.barh(row, total, 0.3, color=colour)
            sum_of = ""
        axes.text(0, row - 0.21, _short(run.name), size=8.5, color=colour, va="bottom")
        axes.annotate(
            bits(total),
            (total, row),
            (5, 0),
            textcoords="offset points",
            va="center",
            weight="bold",
        )
        axes.annotate(
            sum_of,
            (total, row),
            (9 + 6.3 * len(bits(total)), 0),  # after the total, in points
            textcoords="offset points",
            va="center",
            size=8,
            color=QUIET,
        )
    axes.set_xlim(0, largest * (2.5 if latent else 1.15))
    axes.set_ylim(max(len(runs), 2) - 0.5, -0.65)


def _short(name, length=34):
    """Return the name, shortened to `length` characters so that it fits beside the curves."""
    return name if len(name) <= length else name[: length - 3] + "..."
