"""Lists of flat records as tables for people, and as JSON for programs.

A record is one row: `{"method": "Bytes", "bits_per_byte": 2.31, ...}`, units in the key names.
Tables round for reading; JSON keeps every digit.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax import json_files
from latent_jax.nearest import nearest
from latent_jax.paths import replace_file
from latent_jax.reports.columns import Column, column_of
from latent_jax.spelling import markdown_cell, one_line


def text_table(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str | Column] | None = None
) -> str:
    """Return an aligned table for a terminal, in plain ASCII as far as the records are.

    Args:
        records: the rows.
        columns: keys or `Column`s, in order; None shows every key of the records.

    Raises:
        ValueError: no record has a column, or there are no records.
    """
    columns, rows = _cells(records, columns)
    rows = [[*map(one_line, row)] for row in rows]
    headers = [[*map(one_line, column.header.split("\n"))] for column in columns]
    height = max(len(header) for header in headers)
    head = [[*[""] * (height - len(header)), *header] for header in headers]
    widths = [max(map(len, [*lines, *(row[i] for row in rows)])) for i, lines in enumerate(head)]
    numeric = _numeric(records, columns)

    def line(cells):
        padded = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([*map(line, zip(*head, strict=True)), rule, *map(line, rows)])


def markdown_table(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str | Column] | None = None
) -> str:
    """Return the same table in Markdown; arguments and errors as in `text_table`."""
    columns, rows = _cells(records, columns)
    marks = ["---:" if number else ":---" for number in _numeric(records, columns)]
    headers = [markdown_cell(column.header) for column in columns]
    escaped = [[*map(markdown_cell, row)] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, marks, *escaped))


def write_table(records: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write the records, one per line and unrounded, in one atomic step; return the path.

    Raises:
        ValueError: a value is not a string, a finite number, a bool or None.
    """
    lines = [json.dumps({key: _plain(key, value) for key, value in r.items()}) for r in records]
    body = ",\n".join(lines)
    return replace_file(path, f"[\n{body}\n]\n".encode())


def keep_each(
    records: Iterable[Mapping[str, Any]], path: str | Path | None
) -> list[Mapping[str, Any]]:
    """Return all records; write the file after each, so that an interruption loses none.

    Args:
        records: an iterable that measures one record after the other.
        path: path for `write_table`; None or "" writes nothing.
    """
    found = []
    for record in records:
        found.append(record)
        if path:
            write_table(found, path)
    return found


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """Read what `write_table` wrote.

    Raises:
        ValueError: the file cannot be read, or holds no list of records.
    """
    try:
        records = json_files.read_json(path, json_files.ANY)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a list of records: {error}") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(f"{path} holds no list of records: name another file")
    return records


def kept_records(path: str | Path | None, append: bool) -> list[dict[str, Any]]:
    """Return the records already in a file to which others will be added.

    Call it before the work, so that a wrong path is found early.

    Args:
        path: path of the file; None where no file is written.
        append: whether the file keeps its old records.

    Raises:
        ValueError: the path is a folder or holds no records, or `append` is set without a path.
    """
    if append and path is None:
        raise ValueError("--append adds records to the file of --json: name one")
    if path is not None and Path(path).is_dir():
        raise ValueError(f"--json={path} is a folder: name a file")
    return read_table(path) if append and Path(path).exists() else []


def _cells(records, columns):
    """Return the columns and the text of every cell."""
    if not records:
        raise ValueError("a table needs at least one record")
    known = list(dict.fromkeys(key for record in records for key in record))
    chosen = known if columns is None else columns
    chosen = [column if isinstance(column, Column) else column_of(column) for column in chosen]
    for column in chosen:
        if column.key not in known:
            raise ValueError(
                f"no record has a column {column.key!r}{nearest(column.key, known)}; "
                f"they have {', '.join(known)}"
            )
    return chosen, [[column.cell(record) for column in chosen] for record in records]


def _numeric(records, columns):
    """Return for each column whether it holds only numbers, which are aligned right."""
    return [
        all(isinstance(r.get(c.key), int | float | np.number | None) for r in records)
        for c in columns
    ]


def _plain(key, value):
    """Return a value as a type that JSON has.

    Raises:
        ValueError: there is none.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"{key!r} is {value}, which JSON cannot hold; leave the key out or use None"
        )
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ValueError(f"{key!r} is {type(value).__name__}; a flat record holds text and numbers")
    return value
