"""The picture of one run: its curves over training.

Axes of text are in raw bytes, and losses in bits per raw byte, so that methods with different
tokens can be compared in one picture. Axes of other data are in the first unit that the method
counts. For latent methods the compared line is the full code length: the cost of the codes under
the language model, plus the cost of the bytes given the codes.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from latent_jax.reports.records import SEEN, read_run
from latent_jax.reports.style import (
    INK,
    PALETTE,
    QUIET,
    bytes_unit,
    few_ticks,
    house_style,
    label_ends,
    save,
    smooth,
    titles,
)

PARTS = ("reconstruction_bits_per_byte", "language_model_bits_per_byte")
"""The parts whose sum is the full code length of a latent method."""

BLUE, ORANGE, GREEN = PALETTE[:3]


def write_curves(folder: str | Path) -> Path:
    """Draw `curves.png` of one run into its run folder, and return the path.

    Raises:
        RunFolderError: the folder is damaged or has no validation record yet.
    """
    run = read_run(folder)
    run.final()  # raises if there is nothing to draw
    with house_style():
        figure = _latent_figure(run) if is_latent(run) else _single_figure(run)
        return save(figure, run.folder / "curves.png")


def is_latent(run):
    """Return whether the run's records have the parts of a full code length."""
    return all(run.has(part) for part in PARTS)


def _single_figure(run):
    """Return the figure of a method without latents: training and validation in one panel."""
    figure = Figure(figsize=(7.6, 4.3))
    figure.subplots_adjust(left=0.085, right=0.82, bottom=0.115, top=0.8)
    metric = run.metric.replace("_", " ").replace("bits per byte", "bits per raw byte")
    titles(figure, 0.085, run.name, f"{_extent(run)}. {metric.capitalize()}; lower is better")
    axes = figure.subplots()
    _draw_code_length(axes, run)
    return figure


def _latent_figure(run):
    """Return a figure of four panels: code length, its parts, restored bytes, codebook."""
    figure = Figure(figsize=(11.6, 7.6))
    figure.subplots_adjust(
        left=0.045, right=0.865, bottom=0.07, top=0.855, wspace=0.52, hspace=0.36
    )
    titles(figure, 0.045, run.name, _extent(run))
    (code_length, parts), (restored, codebook) = figure.subplots(2, 2)
    _draw_code_length(code_length, run)
    code_length.set_title("Full code length, bits/byte")
    _draw_parts(parts, run)
    _draw_restored(restored, run)
    _draw_codebook(codebook, run)
    return figure


def _draw_code_length(axes, run):
    """Draw the bits per byte of training and validation."""
    scale = seen_axis(axes, [run])
    xs, ys = run.curve(run.metric, split="train")
    ends = []
    if len(xs):
        window = max(1, len(xs) // 40)
        smoothed = smooth(ys, window)
        if window > 1:
            axes.plot(xs / scale, ys, color=ORANGE, linewidth=0.7, alpha=0.3)
        axes.plot(xs / scale, smoothed, color=ORANGE, linewidth=1.4)
        ends.append((xs[-1] / scale, smoothed[-1], f"training {smoothed[-1]:.2f}", ORANGE))
    xs, ys = run.curve(run.metric)
    axes.plot(xs / scale, ys, color=BLUE, marker="o", markersize=3)
    ends.append((xs[-1] / scale, ys[-1], f"validation {ys[-1]:.2f}", BLUE))
    fit_height(axes)
    label_ends(axes, ends)


def _draw_parts(axes, run):
    """Draw the parts of the code length, and the baselines that a language model must beat."""
    scale = seen_axis(axes, [run])
    axes.set_title("Its parts on validation text, bits/byte")
    ends = []
    for key, name, colour, style in (
        ("bits_per_byte", "sum", INK, "-"),
        ("language_model_bits_per_byte", "LM over codes", BLUE, "-"),
        ("reconstruction_bits_per_byte", "reconstruction", GREEN, "-"),
        ("unigram_bits_per_byte", "unigram", QUIET, (0, (4, 2))),
        ("uniform_bits_per_byte", "uniform", QUIET, (0, (1, 1.6))),
    ):
        xs, ys = run.curve(key)
        if not len(xs):
            continue
        width = 1.8 if style == "-" else 1.2
        axes.plot(xs / scale, ys, color=colour, linestyle=style, linewidth=width)
        ends.append((xs[-1] / scale, ys[-1], f"{name} {bits(ys[-1])}", colour))
    fit_height(axes, from_zero=True)
    label_ends(axes, ends)


def _draw_restored(axes, run):
    """Draw the share of bytes that the decoder restores from their codes."""
    scale = seen_axis(axes, [run])
    axes.set_title("Bytes restored from the codes, %")
    ends = []
    for split, name, colour in (("train", "training", ORANGE), ("validation", "validation", BLUE)):
        xs, ys = run.curve("reconstruction_accuracy", split=split)
        if not len(xs):
            continue
        ys = 100 * smooth(ys, max(1, len(ys) // 40) if split == "train" else 1)
        marker = dict(marker="o", markersize=3) if split == "validation" else dict(linewidth=1.4)
        axes.plot(xs / scale, ys, color=colour, **marker)
        ends.append((xs[-1] / scale, ys[-1], f"{name} {ys[-1]:.1f} %", colour))
    axes.set_ylim(0, 102)
    few_ticks(axes)
    label_ends(axes, ends)


def _draw_codebook(axes, run):
    """Draw the number of codes in use, and the size of the codebook."""
    scale = seen_axis(axes, [run])
    axes.set_title("Codebook, number of codes")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    xs, perplexity = run.curve("codebook_perplexity")
    ends = [(xs[-1] / scale, perplexity[-1], f"perplexity {perplexity[-1]:,.0f}", BLUE)]
    axes.plot(xs / scale, perplexity, color=BLUE, marker="o", markersize=3)
    size = _codebook_size(run)
    if size:
        xs, usage = run.curve("codebook_usage")
        axes.plot(xs / scale, usage * size, color=GREEN)
        ends.append((xs[-1] / scale, usage[-1] * size, f"used {usage[-1] * size:,.0f}", GREEN))
        axes.axhline(size, color=QUIET, linestyle=(0, (4, 2)), linewidth=1.2)
        ends.append((axes.get_xlim()[1], size, f"codebook size {size:,}", QUIET))
        axes.set_ylim(0, size * 1.06)
    else:
        axes.set_ylim(0, None)
    few_ticks(axes)
    label_ends(axes, ends)


def _codebook_size(run):
    """Return the number of codes: perplexity / its share of the codebook; 0 if unknown."""
    last = run.final()
    share = last.get("codebook_perplexity_share", 0.0)
    return round(last["codebook_perplexity"] / share) if share > 0 else 0


def seen_axis(axes, runs):
    """Set up the x axis, what all runs have seen in training; return the divisor.

    Raises:
        ValueError: the runs count different units first.
    """
    units = sorted({run.unit for run in runs})
    if len(units) > 1:
        raise ValueError(
            f"runs that count {' and '.join(units)} share no axis: compare runs of one kind of data"
        )
    (unit,) = units
    largest = max(record[f"{unit}{SEEN}"] for run in runs for record in run.records)
    scale, name = bytes_unit(largest) if unit == "bytes" else (1.0, unit)
    axes.set_xlim(0, 1.01 * largest / scale or 1.0)
    axes.set_xlabel(f"{'text read' if unit == 'bytes' else 'seen'} in training, {name}")
    return scale


def fit_height(axes, from_zero=False):
    """Choose the y limits from the values after the first tenth of the text.

    Losses fall so steeply at first that their start would flatten the rest of the curve.
    """
    values, settled = [], []
    start = 0.1 * axes.get_xlim()[1]
    for line in axes.get_lines():
        xs, ys = (np.asarray(data, dtype=float) for data in line.get_data())
        values.extend(ys[np.isfinite(ys)])
        settled.extend(ys[(xs >= start) & np.isfinite(ys)])
    chosen = settled if len(settled) > 1 else values
    # The best value is always seen, also where it came early.
    low, high = (min(values), max(chosen)) if chosen else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.1
    axes.set_ylim(0 if from_zero else max(0, low - margin), high + margin)
    few_ticks(axes)


def _extent(run):
    """Return the steps and the text that the run has trained on, for a subtitle."""
    last = run.final()
    method = "" if run.name == run.method else f"{run.method}, "
    seen = last[f"{run.unit}{SEEN}"]
    amount = f"{seen:,} {run.unit}"
    if run.unit == "bytes":
        divisor, name = bytes_unit(seen)
        amount = f"{seen / divisor:.3g} {name} of text"
    return f"{method}{last['step']:,} steps, {amount}"


def bits(value):
    """Return a number of bits for people."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
