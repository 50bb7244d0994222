"""The report of a sweep: tables, pictures and verdicts, made from the records of its cells."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_jax.paths import replace_file
from latent_jax.reports.chunk_claims import chunk_table
from latent_jax.reports.isoflop import isoflop_table
from latent_jax.reports.latent_figures import write_latent_bars
from latent_jax.reports.scores import Scores, read_cells
from latent_jax.reports.sweep_figures import write_sweep_figures
from latent_jax.reports.sweep_tables import (
    ablation_table,
    baseline_table,
    latent_table,
    main_table,
    seed_table,
)
from latent_jax.reports.tables import markdown_table, text_table, write_table
from latent_jax.reports.thought_claims import thought_table
from latent_jax.reports.verdicts import verdict_table
from latent_jax.spelling import markdown_cell, whole

REPORT = "report"
"""Name of the folder, inside that of a sweep, for the files of this report."""

Records = Sequence[Mapping[str, Any]]


def sweep_tables(records: Records) -> dict[str, list[dict[str, Any]]]:
    """Return every table that the records can fill, by name."""
    scores = Scores(records)
    tables = {
        "main": main_table(scores),
        "baselines": baseline_table(scores),
        "seeds": seed_table(records),
        "latents": latent_table(records),
        "thoughts": thought_table(records),
        "chunks": chunk_table(records),
        "ablations": ablation_table(records),
        "isoflop": isoflop_table(records),
        "verdicts": verdict_table(records),
    }
    return {name: rows for name, rows in tables.items() if rows}


TITLES = {
    "main": "Bits per byte and cost at each size",
    "baselines": "Uniform and unigram models of the tokens",
    "seeds": "Mean and spread over seeds",
    "latents": "Latent languages: what their codes cost, and what they lose",
    "thoughts": "Thoughts: what a result costs behind them, and what they are used for",
    "chunks": "Chunks: what is cut, what it costs, and what a byte costs then",
    "ablations": "Ablations",
    "isoflop": "Best at equal training FLOPs, with 95 % intervals of the bootstrap",
    "verdicts": "Claims, tried",
}


def report_sweep(folders: Sequence[str | Path], *, results: str | None = None) -> list[Path]:
    """Print the tables of a sweep and write them beside its pictures.

    Args:
        folders: the folder of the sweep, and those of other sweeps whose cells belong into the same
            tables, such as ablations. The folder `report` in the first one gets report.md, one CSV
            per table, and PNGs.
        results: a file configs/results/NAME.json for the records, or None. Tables are written
            beside it as NAME_TABLE.json, so that a page can show them.

    Returns:
        The files that were written.

    Raises:
        ValueError: no cell is finished, or cells that would be compared have different budgets.
    """
    records = [record for folder in folders for record in read_cells(folder)]
    _check_budgets(records)
    folder = Path(folders[0])
    tables, out = sweep_tables(records), folder / REPORT
    budget = ", ".join(sorted({record["budget"] for record in records}))
    title, budget = markdown_cell(folder.name), markdown_cell(budget)
    page = [f"# {title}", f"{len(records)} cells; budget of each: {budget}."]
    written = []
    for name, rows in tables.items():
        print(f"\n{TITLES[name]}\n\n{text_table(rows)}")
        page += [f"## {TITLES[name]}", markdown_table(rows)]
        written.append(replace_file(out / f"{name}.csv", _csv(rows)))
        if results:
            path = Path(results)
            written.append(write_table(rows, path.with_name(f"{path.stem}_{name}.json")))
    # The figures compare methods on one text; arms of reasoners differ in settings and in problems.
    scores = Scores([record for record in records if "problems_seen" not in record])
    pictures = write_sweep_figures(scores, out) if scores.methods else []
    if "latents" in tables and scores.methods:
        pictures.append(write_latent_bars(records, out / "latents.png"))
    if pictures:
        page += ["## Pictures", *(f"![{path.stem}]({path.name})" for path in pictures)]
    written.append(replace_file(out / "report.md", ("\n\n".join(page) + "\n").encode()))
    if results:
        written.append(write_table([measured(record) for record in records], results))
    print("\n" + "\n".join(map(str, [*written, *pictures])))
    return [*written, *pictures]


def measured(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without what its sweep had planned: published records are measured."""
    return {key: value for key, value in record.items() if not key.startswith("planned_")}


def _check_budgets(records: Records) -> None:
    """Raise ValueError if cells of one group and size have different budgets."""
    budgets: dict[tuple[str, str], set[str]] = {}
    for record in records:
        place = record.get("group", ""), record["size"]
        budgets.setdefault(place, set()).add(record["budget"])
    for (group, size), found in budgets.items():
        if len(found) > 1:
            name = f"{size} of the group {group!r}" if group else size
            raise ValueError(
                f"cells of {name} have the budgets {', '.join(sorted(found))}, which cannot be "
                "compared: report on one sweep at a time"
            )


def _csv(rows: Records) -> bytes:
    """Return the rows as CSV, unrounded, with every key that any of them has."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return whole(text.getvalue()).encode()
