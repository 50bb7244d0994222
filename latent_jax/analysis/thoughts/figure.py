"""The picture of the analysis of thoughts, and the same for a page."""

from pathlib import Path

from matplotlib.figure import Figure

from latent_jax.analysis.codes import Records
from latent_jax.reports import panels, style
from latent_jax.reports.page.analyses import figure_id
from latent_jax.reports.page.charts import Axis, bars
from latent_jax.reports.page.parts import Figure as PageFigure


def draw_ways(records: Records, path: Path) -> list[Path]:
    """Draw nats and right results behind exchanged thoughts, a dot with its interval for a run."""
    with style.house_style():
        return [style.save(_figure(_all_blocks(records)), path)]


def _all_blocks(records: Records) -> Records:
    return [r for r in records if r["part"] == "intervention" and r["block"] == 0]


def _figure(records: Records) -> Figure:
    ways = list(dict.fromkeys(record["way"] for record in records))
    runs = list(dict.fromkeys(record["run"] for record in records))
    height = 1.75 + 0.33 * len(ways)
    figure = Figure(figsize=(10.4, height))
    title = "Results behind exchanged thoughts"
    style.titles(figure, 0.02, title, "held-out problems; lines are 95 % intervals over problems")
    box = dict(left=0.2, right=0.98, bottom=0.62 / height, top=1 - 1.2 / height, wspace=0.12)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw=box)
    left.set_title("nats per result token more than own")
    right.set_title("results right, %")
    left.axvline(0, color=style.QUIET, linewidth=1.0)
    for index, run in enumerate(runs):
        colour = style.line_look(index)["color"]
        # Runs lie a little apart, so that equal values stay visible.
        shift = 0.22 * (index - (len(runs) - 1) / 2)
        for record in (record for record in records if record["run"] == run):
            y = ways.index(record["way"]) + shift
            look = dict(marker="o", markersize=5, color=colour, linestyle="")
            right.plot(100 * record["right_share"], y, **look)
            if "added_nats_per_token" in record:
                left.plot(record["added_nats_per_token"], y, **look)
            if "added_nats_per_token_low" in record:
                ends = [record[f"added_nats_per_token_{end}"] for end in ("low", "high")]
                left.plot(ends, [y, y], color=colour, linewidth=1.6)
        if len(runs) > 1:
            name = next(record["name"] for record in records if record["run"] == run)
            place = 1 - (0.34 + 0.22 * index) / height
            figure.text(0.98, place, name, color=colour, size=8.5, ha="right", va="center")
    panels.name_rows(left, ways)
    right.set_xlim(-3, 103)
    return figure


def thoughts_page_figures(stem: str, records: Records) -> list[PageFigure]:
    """Return bars of the same for a page; [] for other records."""
    if not all("part" in r and "n_thoughts" in r for r in records):
        return []
    rows = [
        {**r, "shown": r["way"] if one else f"{r['way']}, {r['name']}"}
        for one in [len({r["run"] for r in records}) == 1]
        for r in _all_blocks(records)
    ]
    if not rows:
        return []
    x = Axis("nats_per_token", "nats per result token")
    title = "What results cost behind exchanged thoughts"
    caption = "As much as behind own thoughts: nobody reads them. The table has the intervals."
    return [bars(figure_id(stem), title, caption, rows, "shown", x)]
