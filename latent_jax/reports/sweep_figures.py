"""Pictures of a sweep: bits per byte against size, cost, bytes per step, and window width."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from latent_jax.reports.panels import line_panels
from latent_jax.reports.scores import Scores
from latent_jax.reports.style import (
    PALETTE,
    QUIET,
    colour_of,
    house_style,
    label_ends,
    save,
    short_name,
)

NARROW = (0, (4, 1.5))
"""Line style of methods with tokens of 8 bits."""


def write_sweep_figures(scores: Scores, folder: str | Path) -> list[Path]:
    """Draw all pictures of a sweep into a folder.

    Args:
        scores: the cells without a group.
        folder: the folder for the PNGs.

    Returns:
        The paths of the PNGs. The picture of windows is drawn only if there are two widths.
    """
    folder = Path(folder)
    with house_style():
        paths = [
            save(_by_size(scores), folder / "bits_by_parameters.png"),
            save(
                _scatter(
                    scores,
                    lambda method, size: scores.mean(method, size, "inference_flops_per_byte"),
                    "Bits per byte against cost",
                    "forward FLOPs per raw byte, M1 included",
                    log=True,
                ),
                folder / "bits_by_flops.png",
            ),
            save(
                _scatter(
                    scores,
                    lambda method, _: scores.of_method(method, "bytes_per_token"),
                    "Bits per byte against bytes per step",
                    "raw bytes that one step of the model stands for",
                ),
                folder / "bits_by_bytes_per_step.png",
            ),
        ]
        if len(_windows(scores)) > 1:
            paths.append(save(_by_window(scores), folder / "bits_by_window.png"))
    return paths


def _look(method: str) -> dict:
    return {"color": colour_of(method), "linestyle": NARROW if "v=256" in method else "-"}


def _short(method: str) -> str:
    return short_name(method.partition(", ")[0])


def _by_size(scores: Scores) -> Figure:
    """Return the figure of bits per byte over parameters, with uniform models as dotted lines."""
    figure, (axes,) = line_panels(
        "Bits per byte against parameters",
        "Parameters outside of embeddings; dotted: a uniform model of the same tokens. "
        "Dashed: tokens of 8 bits",
    )
    axes.set_xscale("log")
    ends = []
    for method in scores.leading:
        points = [
            (
                scores.mean(method, size, "n_parameters")
                - scores.mean(method, size, "n_embedding_parameters"),
                scores.mean(method, size),
            )
            for size in scores.sizes
            if scores.sample(method, size)
        ]
        look = _look(method)
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, marker="o", markersize=3, **look)
        uniform = scores.of_method(method, "uniform_bits_per_byte")
        if uniform is not None and uniform <= 1.15 * max(ys):
            axes.plot(
                xs, [uniform] * len(xs), color=look["color"], linewidth=0.8, linestyle=(0, (1, 2))
            )
        ends.append((xs[-1], ys[-1], f"{_short(method)} {ys[-1]:.2f}", look["color"]))
    axes.set_xlabel("parameters outside of embeddings")
    _plain_ticks(axes, sorted({x for line in axes.get_lines() for x in line.get_xdata()}), _count)
    label_ends(axes, ends, size=7.5)
    return figure


def _scatter(
    scores: Scores,
    x_of: Callable[[str, str], float | None],
    title: str,
    label: str,
    log: bool = False,
) -> Figure:
    """Return the figure of bits per byte over `x_of`, with a line through each method's sizes."""
    figure, (axes,) = line_panels(title, "One point for each size, the largest dot the largest")
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    ends = []
    for method in scores.leading:
        points = [
            (x, scores.mean(method, size), 12 + 14 * rank)
            for rank, size in enumerate(scores.sizes)
            if scores.sample(method, size) and (x := x_of(method, size)) is not None
        ]
        if not points:
            continue
        xs, ys, areas = zip(*points, strict=True)
        look = _look(method)
        axes.plot(xs, ys, linewidth=0.8, alpha=0.6, **look)
        axes.scatter(xs, ys, areas, color=look["color"], linewidths=0)
        ends.append((xs[-1], ys[-1], _short(method), look["color"]))
    axes.set_xlabel(label)
    label_ends(axes, ends, size=7.5)
    return figure


def _windows(scores: Scores) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for method in scores.methods:
        match = re.fullmatch(r"EqualInfoAC\[b=(\d+),v=(256|65536)\]", method)
        if match:
            found.setdefault(int(match[1]), []).append(method)
    return found


def _by_window(scores: Scores) -> Figure:
    """Return the figure of bits per byte over window width, a line per token width and size."""
    figure, (axes,) = line_panels(
        "Width of windows", "Bits per byte; dotted: a uniform model. Dashed: tokens of 8 bits"
    )
    axes.set_xscale("log", base=2)
    widths, ends = sorted(_windows(scores)), []
    for vocab, name in ((256, "v=256"), (65536, "v=65k")):
        for rank, size in enumerate(scores.sizes):
            colour = PALETTE[rank % len(PALETTE)]
            xs, ys, uniforms = [], [], []
            for width in widths:
                method = f"EqualInfoAC[b={width},v={vocab}]"
                bits = scores.mean(method, size)
                if bits is not None:
                    xs.append(width)
                    ys.append(bits)
                    uniforms.append(scores.mean(method, size, "uniform_bits_per_byte"))
            if not xs:
                continue
            style = NARROW if vocab == 256 else "-"
            axes.plot(xs, ys, marker="o", markersize=3, color=colour, linestyle=style)
            axes.plot(xs, uniforms, color=QUIET, linewidth=0.8, linestyle=(0, (1, 2)))
            ends.append((xs[-1], ys[-1], f"{name}, {size} {ys[-1]:.2f}", colour))
    axes.set_xlabel("bits of a window")
    _plain_ticks(axes, widths)
    label_ends(axes, ends)
    return figure


def _plain_ticks(
    axes: Axes, places: Sequence[float], text: Callable[[float], str] = "{:.0f}".format
) -> None:
    """Label these places of a logarithmic axis with plain numbers instead of powers of ten."""
    axes.set_xticks(list(places))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda x, _: text(x))


def _count(n: float) -> str:
    """Return 25174016 as "25.2M"."""
    for divisor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= divisor:
            return f"{n / divisor:.3g}{unit}"
    return f"{n:.0f}"
