"""Pictures of a sweep: bits per byte against size, cost, bytes per step, and window width."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from latent_jax.reports.panels import broken_panel, line_panels
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

UNIFORM = {"linewidth": 0.9, "linestyle": (0, (4, 2.5)), "alpha": 0.9}
"""Look of the levels of uniform models: dashed, as in the figures of Lester et al. 2024."""

FAR = 1.25
"""Levels so many times above the highest trained model are drawn in a panel of their own."""

CLOSE = 1.1
"""Costs within this factor are drawn as equal ones, see `around`."""


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
            save(size_figure(scores), folder / "bits_by_parameters.png"),
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
                    scores.bytes_per_step,
                    "Bits per byte against bytes per step",
                    "raw bytes that one step of the model, or of its network over chunks, reads",
                ),
                folder / "bits_by_bytes_per_step.png",
            ),
        ]
        if len(_windows(scores)) > 1:
            paths.append(save(_by_window(scores), folder / "bits_by_window.png"))
    return paths


def _look(method: str) -> dict:
    """Return the look of a line: the colour of the family, hollow dots for tokens of 8 bits."""
    colour = colour_of(method)
    return {"color": colour, "markerfacecolor": "white" if "v=256" in method else colour}


def _short(method: str) -> str:
    return short_name(method.partition(", ")[0])


def size_figure(scores: Scores) -> Figure:
    """Return the figure of bits per byte over parameters, with every uniform model as a level."""
    lines, levels = {}, {}
    for method in scores.leading:
        lines[method] = [
            (
                scores.mean(method, size, "n_parameters")
                - scores.mean(method, size, "n_embedding_parameters"),
                scores.mean(method, size),
            )
            for size in scores.sizes
            if scores.sample(method, size)
        ]
        if (uniform := scores.of_method(method, "uniform_bits_per_byte")) is not None:
            levels[method] = uniform
    highest = max(y for points in lines.values() for _, y in points)
    far = {method: level for method, level in levels.items() if level > FAR * highest}
    figure, axes, above = broken_panel(
        "Bits per byte against parameters",
        "Solid: trained models; hollow dots: tokens of 8 bits. "
        "Dashed: equal probability to all tokens",
        is_broken=bool(far),
    )
    axes.set_xscale("log")
    ends = []
    for method, points in lines.items():
        look = _look(method)
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, marker="o", markersize=3.5, **look)
        if method in levels and method not in far:
            axes.axhline(levels[method], color=look["color"], **UNIFORM)
        ends.append((xs[-1], ys[-1], f"{_short(method)} {ys[-1]:.2f}", look["color"]))
    axes.set_xlabel("parameters outside of embeddings")
    _plain_ticks(axes, sorted({x for points in lines.values() for x, _ in points}), count)
    label_ends(axes, ends, size=7.5)
    if above is not None:
        _draw_far(above, far, right=axes.get_xlim()[1])
    return figure


def _draw_far(axes: Axes, levels: Mapping[str, float], right: float) -> None:
    """Draw the levels that lie far above in a panel of their own."""
    for method, level in levels.items():
        axes.axhline(level, color=colour_of(method), **UNIFORM)
    axes.set_ylim(min(levels.values()) - 0.6, max(levels.values()) + 0.6)
    axes.set_yticks(sorted({round(level) for level in levels.values()}))
    ends = [
        (right, level, f"{_short(method)}, uniform {level:.2f}", colour_of(method))
        for method, level in levels.items()
    ]
    label_ends(axes, ends, size=7.5)


def _scatter(
    scores: Scores,
    x_of: Callable[[str, str], float | None],
    title: str,
    label: str,
    log: bool = False,
) -> Figure:
    """Return the figure of bits per byte over `x_of`, with a line through each method's sizes."""
    said = "One dot for each size, the largest dot the largest; hollow: tokens of 8 bits"
    figure, (axes,) = line_panels(title, said)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    ends, drawn = [], []
    for method in scores.leading:
        points = [
            (x, scores.mean(method, size), 12 + 14 * rank)
            for rank, size in enumerate(scores.sizes)
            if scores.sample(method, size) and (x := x_of(method, size)) is not None
        ]
        if not points:
            continue
        xs, ys, areas = zip(*points, strict=True)
        drawn += xs
        look = _look(method)
        axes.plot(xs, ys, linewidth=0.8, alpha=0.6, color=look["color"])
        edge = dict(edgecolors=look["color"], linewidths=1.0, zorder=3)
        axes.scatter(xs, ys, areas, color=look["markerfacecolor"], **edge)
        ends.append((xs[-1], ys[-1], _short(method), look["color"]))
    if log and (limits := around(drawn)):
        axes.set_xscale("linear")
        axes.set_xlim(limits)
        axes.xaxis.set_major_formatter(lambda x, _: count(x))
    axes.set_xlabel(label)
    label_ends(axes, ends, size=7.5)
    return figure


def around(costs: Sequence[float]) -> tuple[float, float] | None:
    """Return the ends of a linear axis for costs that are as good as equal; None for others.

    A logarithm of so little has no numbers at its axis, and differences of no weight would fill it.
    """
    if not costs or max(costs) > CLOSE * min(costs):
        return None
    middle, rest = (max(costs) + min(costs)) / 2, 2 * (CLOSE - 1)
    return middle * (1 - rest), middle * (1 + rest)


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
        "Width of windows",
        "Bits per byte; hollow dots: tokens of 8 bits. Dashed: equal probability to all tokens",
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
            inside = "white" if vocab == 256 else colour
            axes.plot(xs, ys, marker="o", markersize=3.5, color=colour, markerfacecolor=inside)
            axes.plot(xs, uniforms, color=QUIET, **UNIFORM)
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
    axes.tick_params(which="minor", length=0)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda x, _: text(x))


def count(n: float) -> str:
    """Return 25174016 as "25.2M"."""
    for divisor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= divisor:
            return f"{n / divisor:.3g}{unit}"
    return f"{n:.0f}"
