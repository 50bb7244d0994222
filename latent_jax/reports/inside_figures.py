"""Pictures of what is inside codes: windows, latents, and symbols by rank."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latent_jax.reports.latent_figures import short_of
from latent_jax.reports.style import QUIET, house_style, label_ends, line_look, save, titles

Records = Sequence[Mapping[str, Any]]


def write_window_figure(records: Records, path: str | Path) -> Path:
    """Draw the bits of each token of a window as a share of its uniform model's, and accuracy."""
    names = list(dict.fromkeys(record["name"] for record in records))
    with house_style():
        figure = Figure(figsize=(8.6, 4.2))
        figure.subplots_adjust(left=0.075, right=0.72, bottom=0.13, top=0.74, wspace=0.25)
        titles(figure, 0.075, "Inside the window", "by the place of a token in its window")
        left, right = figure.subplots(1, 2)
        ends = []
        for index, name in enumerate(names):
            own = [record for record in records if record["name"] == name]
            places = [record["position"] for record in own]
            share = [100 * r["bits_per_token"] / r["uniform_bits_per_token"] for r in own]
            accuracy = [100 * record["accuracy"] for record in own]
            look = line_look(index)
            left.plot(places, share, marker="o", markersize=3.5, **look)
            right.plot(places, accuracy, marker="o", markersize=3.5, **look)
            ends.append((places[-1], accuracy[-1], name, look["color"]))
        left.set_title("bits, % of the uniform model's")
        right.set_title("likeliest token right, %")
        for axes in (left, right):
            axes.set_xlabel("place in the window")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _fix_limits(right)
        label_ends(right, ends)
        return save(figure, path)


def write_latent_figure(records: Records, path: str | Path) -> Path:
    """Draw how many bytes come back by place in the group and in the row."""
    runs = _grouped(records)
    with house_style():
        figure = Figure(figsize=(8.6, 4.2))
        figure.subplots_adjust(left=0.075, right=0.7, bottom=0.13, top=0.74, wspace=0.25)
        titles(figure, 0.075, "Inside the latent", "bytes that come back wrong, by their place")
        parts = {"group": "place in the group of a latent", "row": "sixteenth of the row"}
        all_axes = figure.subplots(1, 2)
        ends = []
        for axes, (part, label) in zip(all_axes, parts.items(), strict=True):
            for index, (name, of_run) in enumerate(runs.items()):
                own = [r for r in of_run if r["part"] == part]
                places = [record["position"] for record in own]
                wrong = [100 * (1 - record["reconstruction_accuracy"]) for record in own]
                look = line_look(index)
                axes.plot(places, wrong, marker="o", markersize=3.5, **look)
                if part == "row":
                    ends.append((places[-1], wrong[-1], name, look["color"]))
            axes.set_title("wrong bytes, %")
            axes.set_xlabel(label)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _fix_limits(all_axes[1])
        label_ends(all_axes[1], ends, size=7)
        return save(figure, path)


def _grouped(records: Records) -> dict[str, list[Mapping[str, Any]]]:
    """Return the records of each run by its name, with its setting where it has one."""
    has_seeds = len({record.get("seed") for record in records}) > 1
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        name = short_of(record) if "lm_gradient" in record else record["name"]
        name += f", seed {record['seed']}" if has_seeds else ""
        runs.setdefault(name, []).append(record)
    return runs


def write_zipf_figure(shares: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Draw the share of every symbol against its rank, both logarithmic."""
    with house_style():
        figure = Figure(figsize=(8.6, 5.4))
        figure.subplots_adjust(left=0.085, right=0.72, bottom=0.1, top=0.845)
        titles(
            figure, 0.085, "Symbols by rank", "the share of each symbol of a code, largest first"
        )
        axes = figure.subplots()
        ends = []
        for index, (name, values) in enumerate(shares.items()):
            # A thousand points are as good as all on a logarithmic axis.
            ranks = np.unique(np.geomspace(1, len(values), 1000).astype(int))
            look = line_look(index)
            axes.loglog(ranks, values[ranks - 1], **look)
            ends.append((ranks[-1], values[-1], name, look["color"]))
        first = max(values[0] for values in shares.values())
        last = max(len(values) for values in shares.values())
        axes.loglog([1, last], [first, first / last], color=QUIET, linewidth=0.8, linestyle=":")
        axes.annotate("1 / rank", (last**0.5, first / last**0.5), color=QUIET, size=8)
        axes.set_ylim(bottom=min(values[-1] for values in shares.values()) / 2)
        axes.set_xlabel("rank")
        _fix_limits(axes)
        label_ends(axes, ends)
        return save(figure, path)


def _fix_limits(axes: Axes) -> None:
    """Settle the limits, which matplotlib puts off until it draws."""
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
