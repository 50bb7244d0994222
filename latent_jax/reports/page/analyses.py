"""The section of analyses: files of flat records that `launch/analyze.py --json` wrote.

The keys of the records, not the file name, identify an analysis. Every file is shown as a table.
Functions that draw figures of some analyses are passed in; this file also has their shared helpers.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_jax.json_files import ANY, read_json
from latent_jax.reports.columns import column_of
from latent_jax.reports.latent_figures import short_of
from latent_jax.reports.page.parts import CutText, Figure, Records, Section, Table

MOST_RECORDS = 2000
"""Most records of a file. Larger ones, such as the map of every token, do not fit on a page."""

METHOD = "method"

Draw = Callable[[str, Records], Sequence[Figure | Table | CutText]]
"""A function (stem of a file, its records) -> figures, and tables and texts that need more than a
record a row; [] if it does not draw these records."""


def analysis_sections(paths: Sequence[str | Path], drawers: Sequence[Draw] = ()) -> list[Section]:
    """Return one section with all files.

    Args:
        paths: paths of the files.
        drawers: tried in order; for each file the first one that returns figures is used.

    Raises:
        ValueError: a file cannot be read, is not a list of flat records or has too many, or two
            files have the same name.
    """
    if not paths:
        return []
    parts: list[Figure | Table | CutText] = []
    stems = [Path(path).stem for path in paths]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise ValueError(f"--analyses names two files {twice!r}: give them names of their own")
    for path in map(Path, paths):
        records = _told_apart(_read(path))
        parts += next(filter(None, (draw(path.stem, records) for draw in drawers)), [])
        keys = list(dict.fromkeys(key for record in records for key in record))
        title = f"{words_of(path.stem)}, all numbers"
        parts.append(Table(figure_id(path.stem, "table"), title, "As measured.", records, keys))
    text = "What launch/analyze.py measured."
    return [Section("analyses", "Analyses", "Inside the codes", text, parts)]


def _read(path: Path) -> list[dict[str, Any]]:
    way_out = "name files that launch/analyze.py VERB --json wrote"
    try:
        records = read_json(path, ANY)
    except ValueError as error:
        raise ValueError(f"--analyses={path} cannot be read ({error}): {way_out}") from error
    if not isinstance(records, list) or not records:
        raise ValueError(f"--analyses={path} holds no list of records: {way_out}")
    for record in records:
        if not isinstance(record, Mapping) or any(
            isinstance(value, list | dict) for value in record.values()
        ):
            raise ValueError(f"--analyses={path} holds {record!r}, no flat record: {way_out}")
    if len(records) > MOST_RECORDS:
        raise ValueError(
            f"--analyses={path} holds {len(records):,} records; a page takes {MOST_RECORDS:,} of a "
            "file: name one that sums them up"
        )
    return records


def _told_apart(records: Records) -> list[dict[str, Any]]:
    """Return records in which several runs of one method get different names, for figures."""
    runs: dict[str, set[str]] = {}
    for record in records:
        if "run" in record:
            runs.setdefault(record.get(METHOD, ""), set()).add(record["run"])
    named = []
    for record in records:
        if "run" in record and len(runs[record.get(METHOD, "")]) > 1:
            method, words = record[METHOD].partition(", ")[0], Path(record["run"]).name
            if "lm_gradient" in record:
                words, method = f"seed {record['seed']}", short_of({**record, METHOD: method})
            record = {**record, METHOD: f"{method}, {words}"}
        named.append(record)
    return named


def has(records: Records, *keys: str) -> bool:
    """Return whether each of these keys has a value in at least one record."""
    return all(any(record.get(key) is not None for record in records) for key in keys)


def grouped(records: Records, key: str) -> dict[str, list[Mapping[str, Any]]]:
    """Return value of `key` -> records, without groups that contain no number."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault(str(record.get(key) or ""), []).append(record)
    return {
        name: rows
        for name, rows in groups.items()
        if any(is_number(value) for row in rows for value in row.values())
    }


def ordered(records: Records, x: str, y: str) -> list[Mapping[str, Any]]:
    """Return the records with numbers at both keys, sorted by method and x."""
    methods = list(dict.fromkeys(record[METHOD] for record in records))
    both = [r for r in records if is_number(r.get(x)) and is_number(r.get(y))]
    return sorted(both, key=lambda record: (methods.index(record[METHOD]), record[x]))


def is_number(value: Any) -> bool:
    """Return whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def words_of(key: str) -> str:
    """Return "Travel bytes" for "travel_bytes", or the header that tables have for it."""
    header = column_of(key).header
    words = (key.replace("_", " ").replace("-", " ") if header == key else header).split()
    return " ".join(words)[:1].upper() + " ".join(words)[1:]


def figure_id(*words: str) -> str:
    """Return the id of a figure or table from its words: the stem of its file, and a suffix."""
    joined = "_".join(["analysis", *filter(None, words)])
    return "".join(c if c.isalnum() else "_" for c in joined)
