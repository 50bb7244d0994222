"""Learning curves: bits per byte over the raw bytes read."""

from collections.abc import Callable, Mapping

import numpy as np

from latent_jax.reports.page.charts import Axis, Look, lines, settled
from latent_jax.reports.page.parts import Figure
from latent_jax.reports.records import Run
from latent_jax.reports.style import bytes_unit, smooth

CURVE_POINTS = 60
"""Most points of a training curve, which has a record every few steps."""


def curve(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return bytes seen and bits per byte; training curves are smoothed and thinned."""
    seen, bits = run.curve("bits_per_byte", split=split)
    if split == "validation" or not len(seen):
        return seen, bits
    kept = np.unique(np.linspace(0, len(seen) - 1, CURVE_POINTS).round().astype(int))
    return seen[kept], smooth(bits, max(1, len(bits) // 20))[kept]


def curves_figure(
    runs: Mapping[str, Run],
    title: str,
    caption: str,
    look: Callable[[str], Look] | None = None,
    split: str = "validation",
) -> list[Figure]:
    """Return the figure of bits per byte over raw bytes, one line per run; [] without records."""
    rows = [
        {"run": name, "bytes_seen": seen, "bits_per_byte": bits}
        for name, run in runs.items()
        for seen, bits in zip(*curve(run, split), strict=True)
    ]
    if not rows:
        return []
    scale, unit = bytes_unit(max(row["bytes_seen"] for row in rows))
    for row in rows:
        row["text_seen"] = row["bytes_seen"] / scale
    x = Axis("text_seen", f"text read in training, {unit}", format="~f")
    limits = settled(rows, "bytes_seen", "bits_per_byte")
    y = Axis("bits_per_byte", "bits per byte", domain=limits, format=".2f")
    names = dict.fromkeys(row["run"] for row in rows)
    looks = {name: look(name) for name in names} if look else None
    return [lines("curves", title, caption, rows, x, y, "run", looks, split == "validation")]
