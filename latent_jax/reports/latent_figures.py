"""Bar charts of latent languages, with codes and reconstruction as parts, and other methods."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from latent_jax.reports.scores import Scores, latent_label
from latent_jax.reports.style import PALETTE, house_style, save, titles

Records = Sequence[Mapping[str, Any]]

PARTS = {"codes": PALETTE[4], "reconstruction": PALETTE[1], "other methods": "#8b93a0"}
"""Part of a bar -> its colour."""

TITLE = "What latent languages cost"
CAPTION = "Bits per byte on equal budgets: the language model over codes, and what the codes lose."


def bar_parts(records: Records) -> list[dict[str, Any]]:
    """Return one record per part of a bar, with one bar per setting, shortest first.

    Numbers are means over seeds.

    Args:
        records: records of cells; those with a group are left out.
    """
    scores, bars = Scores(records), []
    for method in scores.methods:
        for size in scores.sizes:
            if not scores.sample(method, size):
                continue
            whole = scores.mean(method, size)
            codes = scores.mean(method, size, "language_model_bits_per_byte")
            name = short(method) + (f", {size}" if len(scores.sizes) > 1 else "")
            parts = {"other methods": whole}
            if codes is not None:
                parts = {"codes": codes, "reconstruction": whole - codes}
            bars.append((whole, name, parts))
    return [
        {"name": name, "part": part, "part_order": [*PARTS].index(part), "bits_per_byte": bits}
        for _, name, parts in sorted(bars, key=lambda bar: bar[:2])
        for part, bits in parts.items()
    ]


def short(label: str) -> str:
    """Return a latent language as "conv1d C=2, beta 0.1, input"; other labels as they are."""
    found = re.fullmatch(
        r"Latent\[(\w+),c=(\d+),k=\d+\], beta=([\d.e-]+), lm_gradient=(\w+)", label
    )
    if not found:
        return label
    kind, c, beta, gradient = found.groups()
    return f"{kind} C={c}, beta {beta}, {gradient.replace('_', ' ')}"


def short_of(record: Mapping[str, Any]) -> str:
    """Return `short` for a record with "method", "beta" and "lm_gradient"."""
    return short(latent_label(record["method"], record["beta"], record["lm_gradient"]))


def write_latent_bars(records: Records, path: Path) -> Path:
    """Draw `bar_parts` as a PNG and return its path."""
    parts = bar_parts(records)
    names = list(dict.fromkeys(part["name"] for part in parts))
    with house_style():
        figure = Figure(figsize=(8.6, 1.4 + 0.27 * len(names)))
        top = 1 - 0.85 / figure.get_figheight()
        figure.subplots_adjust(left=0.3, right=0.97, bottom=0.5 / figure.get_figheight(), top=top)
        titles(figure, 0.03, TITLE, CAPTION)
        axes = figure.subplots()
        starts = dict.fromkeys(names, 0.0)
        for part in parts:
            name, bits = part["name"], part["bits_per_byte"]
            label = None if part["part"] in axes.get_legend_handles_labels()[1] else part["part"]
            axes.barh(name, bits, 0.7, starts[name], color=PARTS[part["part"]], label=label)
            starts[name] += bits
        for name, bits in starts.items():
            axes.text(bits, name, f" {bits:.3f}", va="center", fontsize=7.5)
        axes.set_xlim(0, 1.1 * max(starts.values()))
        axes.invert_yaxis()
        axes.set_xlabel("bits per byte")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.legend(
            ncols=3, loc="upper right", bbox_to_anchor=(1, -0.03), frameon=False, fontsize=7.5
        )
        return save(figure, path)
