"""The picture of the analysis of thoughts, and the same for a page."""

from pathlib import Path

from matplotlib.figure import Figure

from latent_jax.analysis.codes import Records
from latent_jax.analysis.thoughts.beside import probe_tables
from latent_jax.analysis.thoughts.interventions import SWAPPED
from latent_jax.analysis.thoughts.one_problem import problem_tables
from latent_jax.reports import panels, style
from latent_jax.reports.page.analyses import figure_id
from latent_jax.reports.page.charts import Axis, bars
from latent_jax.reports.page.parts import Figure as PageFigure
from latent_jax.reports.page.parts import Table
from latent_jax.spelling import plot_text

_LINE = 0.22
"""Inches of a line below the axes; each run has one."""


def draw_ways(records: Records, path: Path) -> list[Path]:
    """Draw nats and right results behind exchanged thoughts, a dot with its interval for a run."""
    with style.house_style():
        return [style.save(_figure(_all_blocks(records)), path)]


def _all_blocks(records: Records) -> Records:
    return [r for r in records if r["part"] == "intervention" and r["block"] == 0]


def _figure(records: Records) -> Figure:
    ways = list(dict.fromkeys(record["way"] for record in records))
    runs = list(dict.fromkeys(record["run"] for record in records))
    height = 1.75 + 0.33 * len(ways) + _LINE * len(runs)
    figure = Figure(figsize=(10.4, height))
    title = "Results behind exchanged thoughts"
    style.titles(figure, 0.02, title, "held-out problems; lines are 95 % intervals over problems")
    box = dict(
        left=0.2,
        right=0.98,
        bottom=(0.5 + _LINE * len(runs)) / height,
        top=1 - 1.2 / height,
        wspace=0.12,
    )
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
        own = [record for record in records if record["run"] == run]
        words = dict(color=colour, size=8.5, va="center")
        if len(runs) > 1:
            place = 1 - (0.34 + 0.22 * index) / height
            figure.text(0.98, place, plot_text(own[0]["name"]), ha="right", **words)
        place = (0.14 + _LINE * (len(runs) - 1 - index)) / height
        figure.text(0.02, place, use_in_words(own), **words)
    panels.name_rows(left, ways)
    right.set_xlim(-3, 103)
    return figure


def use_in_words(records: Records) -> str:
    """Return what the thoughts of another problem do to the results of one run, in a line.

    Args:
        records: of the exchanges of a run, for all blocks; "" without that exchange, or where it
            was measured before there were the last two numbers.
    """
    for record in records:
        if record["way"] == SWAPPED and "lost_right_share" in record:
            added, capped = (record[f"{key}_nats_per_token"] for key in ("added", "capped"))
            low, high = (record.get(f"lost_right_share_{end}") for end in ("low", "high"))
            ends = "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"
            return (
                f"thoughts {SWAPPED} {added:+.2f} nats ({capped:+.2f} capped at uniform), "
                f"{100 * record['lost_right_share']:.1f} % of results lost{ends}"
            )
    return ""


def thoughts_page_figures(stem: str, records: Records) -> list[PageFigure | Table]:
    """Return bars of the same for a page, a problem with its thoughts, and probes side by side.

    [] for other records.
    """
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
    by_run: dict[str, list] = {}
    for row in rows:
        by_run.setdefault(row["run"], []).append(row)
    for own in by_run.values():
        if use := use_in_words(own):
            caption += f" {own[0]['name']}, {use}."
    return [
        bars(figure_id(stem), title, caption, rows, "shown", x),
        *problem_tables(stem, records),
        *probe_tables(stem, records),
    ]
