"""The tables of solutions, and their picture: the share that is right against the slots in use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_jax.analysis.codes import Records
from latent_jax.reports import panels, style
from latent_jax.reports.columns import Column, with_interval
from latent_jax.reports.tables import text_table

_SHARE = {"format": ".1f", "scale": 100.0}


_TABLES = {
    "What is right": (
        *with_interval("right_share", "right\n%", **_SHARE),
        *with_interval("lenient_right_share", "last number\nright %", **_SHARE),
        Column("n_steps", "equations", ",d"),
        *with_interval("steps_right_share", "which\nhold %", **_SHARE),
    ),
    "What is written": (
        *with_interval("cut_share", "cut before\ntheir end %", **_SHARE),
        *with_interval("blocks_per_solution", "blocks per\nsolution", format=".2f"),
        *with_interval("slots_per_solution", "slots per\nsolution", format=".2f"),
        *with_interval("tokens_per_solution", "tokens per\nsolution", format=".1f"),
    ),
}

_NO_BLOCKS = -1
"""Where solutions without blocks stand on the axis of slots."""


def show_solutions(records: Records) -> str:
    """Return the tables; runs stand one below the other."""
    runs = {record["run"] for record in records}
    names = {record["name"] for record in records}
    first = [Column("way", "thoughts")]
    if len(runs) > 1:
        first = [Column("name" if len(names) == len(runs) else "run", "run"), *first]
    counts = {(record["name"], record["n_problems"]): None for record in records}
    said = "; ".join(f"{name}: {count:,} held-out problems" for name, count in counts)
    tables = []
    for title, columns in _TABLES.items():
        known = [c for c in columns if any(record[c.key] is not None for record in records)]
        if not any(record["n_steps"] for record in records):
            known = [column for column in known if column.key != "n_steps"]
        tables.append(f"{title}\n\n{text_table(records, [*first, *known])}")
    return "\n\n".join([said, *tables])


def draw_shares(records: Records, path: Path) -> Path:
    """Draw the share of right solutions of each run, with its interval, against k."""
    with style.house_style():
        figure, (axes,) = panels.line_panels(
            "Solutions that are right",
            "%, held-out problems; bars are 95 % intervals over problems",
        )
        names = {record["run"]: record["name"] for record in records}
        is_told = len(set(names.values())) == len(names)
        ends = []
        for index, (run, name) in enumerate(names.items()):
            own = sorted((r for r in records if r["run"] == run), key=_place)
            colour = style.line_look(index)["color"]
            # Runs lie a little apart, so that equal values stay visible.
            shift = 0.07 * (index - (len(names) - 1) / 2)
            places = [_place(record) + shift for record in own]
            shares = [100 * record["right_share"] for record in own]
            for place, record in zip(places, own, strict=True):
                interval = [100 * record[f"right_share_{end}"] for end in ("low", "high")]
                axes.plot([place, place], interval, color=colour, linewidth=1.2)
            # Without blocks there is another kind of text, and no line to it.
            first = 0 if own[0]["opens_blocks"] else 1
            axes.plot(places[:first], shares[:first], marker="o", markersize=4, color=colour)
            look = style.line_look(index)
            axes.plot(places[first:], shares[first:], marker="o", markersize=4, **look)
            ends.append((places[-1], shares[-1], name if is_told else run, colour))
        numbers = range(max(map(_place, records)) + 1)
        axes.set_xticks([_NO_BLOCKS, *numbers], ["no blocks", *map(str, numbers)])
        axes.set_xlabel("slots in use of a block, at most")
        axes.set_ylim(-3, 103)
        style.label_ends(axes, ends)
        return style.save(figure, path)


def _place(record: Mapping[str, Any]) -> int:
    return record["k"] if record["opens_blocks"] else _NO_BLOCKS
