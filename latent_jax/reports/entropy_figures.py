"""Pictures of entropies: n-grams of every code, and bits against random bits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latent_jax.reports.style import house_style, label_ends, line_look, save, titles

Records = Sequence[Mapping[str, Any]]

_LEFT, _PANEL, _NAMES, _TOP, _BOTTOM = 0.6, 3.4, 2.35, 1.05, 0.55
"""Inches: the margin, the width of a panel and of the names beside it, above and below."""

_DOTTED = (0, (1, 1.6))


def write_entropy_figure(records: Records, path: str | Path) -> Path:
    """Draw held-out bits per byte against n, one panel for each text, one line for each code.

    Args:
        records: of `launch/analyze.py entropy`; those without an "n" are of trained language models
            and are drawn as points right of the last n.
        path: of the PNG.
    """
    models = [record for record in records if record.get("n") is None]
    texts, codes = _distinct(records, "text"), _distinct(records, "method")
    highest = max(record["held_out_bits_per_byte"] for record in records)
    with house_style():
        figure, panels = _panels(
            texts,
            "Entropy of text in every code",
            "Bits per raw byte of held-out text. n-grams: modified Kneser-Ney"
            + ("; diamonds: a trained language model" if models else ""),
        )
        for axes, text in zip(panels, texts, strict=True):
            of_text = [record for record in records if record["text"] == text]
            axes.set_ylim(0, 1.05 * highest)
            _draw_codes(axes, of_text, codes)
        return save(figure, path)


def write_uniformity_figure(records: Records, path: str | Path) -> Path:
    """Draw the divergence of n bits from uniform against n: n-grams, and tokens of n bits.

    Args:
        records: of `launch/analyze.py uniformity`.
        path: of the PNG.
    """
    pairs = list(dict.fromkeys((record["text"], record["values"]) for record in records))
    several = len(_distinct(records, "text")) > 1
    codes = _distinct(records, "method")
    with house_style():
        figure, panels = _panels(
            [f"{text}: {values}" if several else values for text, values in pairs],
            "How far the bits of a code are from random",
            "KL from uniform in bits per value of n bits. Dotted: as many random bits",
        )
        lowest = min(record["random_kl_bits"] for record in records)
        highest = max(record["kl_bits"] for record in records)
        for axes, pair in zip(panels, pairs, strict=True):
            of_pair = [record for record in records if (record["text"], record["values"]) == pair]
            axes.set_yscale("log")
            axes.set_ylim(0.5 * lowest, 2 * highest)
            ends = []
            for index, code in enumerate(codes):
                look = line_look(index)
                of_code = [record for record in of_pair if record["method"] == code]
                xs = [record["n"] for record in of_code]
                ys = [record["kl_bits"] for record in of_code]
                randoms = [record["random_kl_bits"] for record in of_code]
                axes.plot(xs, ys, marker="o", markersize=2.5, **look)
                axes.plot(xs, randoms, color=look["color"], linestyle=_DOTTED, linewidth=1.0)
                ends.append((xs[-1], ys[-1], f"{_short(code)} {ys[-1]:.2g}", look["color"]))
            _finish(axes, ends)
        return save(figure, path)


def _panels(names: Sequence[str], title: str, subtitle: str) -> tuple[Figure, list[Axes]]:
    """Return a figure and one panel for each name, with room for the names of lines beside it."""
    width, height = _LEFT + len(names) * (_PANEL + _NAMES), 5.0
    figure = Figure(figsize=(width, height))
    titles(figure, _LEFT / width, title, subtitle)
    panels = []
    for index, name in enumerate(names):
        left = _LEFT + index * (_PANEL + _NAMES)
        box = (left, _BOTTOM, _PANEL, height - _TOP - _BOTTOM)
        axes = figure.add_axes(
            (box[0] / width, box[1] / height, box[2] / width, box[3] / height), title=name
        )
        axes.set_xlabel("n")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels.append(axes)
    return figure, panels


def _draw_codes(axes: Axes, records: Records, codes: Sequence[str]) -> None:
    """Draw the lines of one text, and the points of language models."""
    ends = []
    last_n = max(record["n"] for record in records if record.get("n"))
    for index, code in enumerate(codes):
        look = line_look(index)
        of_code = [record for record in records if record["method"] == code]
        by_n = [record for record in of_code if record.get("n")]
        if by_n:
            xs = [record["n"] for record in by_n]
            ys = [record["held_out_bits_per_byte"] for record in by_n]
            axes.plot(xs, ys, marker="o", markersize=3, **look)
            ends.append((xs[-1], ys[-1], f"{_short(code)} {ys[-1]:.2f}", look["color"]))
        for record in of_code:
            if not record.get("n"):
                at = (last_n + 0.4, record["held_out_bits_per_byte"])
                axes.plot(*at, marker="D", markersize=4, color=look["color"])
                ends.append((*at, f"{_short(code)}, model {at[1]:.2f}", look["color"]))
    _finish(axes, ends)


def _finish(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    axes.set_xlim(*axes.get_xlim())
    label_ends(axes, ends, size=7.5)


def _distinct(records: Records, key: str) -> list[str]:
    return list(dict.fromkeys(record[key] for record in records))


def _short(method: str) -> str:
    return method.replace("v=65536", "v=65k").replace("EqualInfoAC", "EqInfoAC")
