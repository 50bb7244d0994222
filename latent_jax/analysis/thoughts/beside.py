"""The same probes of several runs side by side: what thoughts hold beside what pauses hold.

A probe on thoughts finds patterns that a probe on a run without thoughts finds too (arXiv
2606.12689). So the share that counts is the one above that of the control.
"""

from typing import Any

from latent_jax.analysis.codes import Records
from latent_jax.reports.columns import Column
from latent_jax.reports.page.analyses import figure_id
from latent_jax.reports.page.parts import Table

CONTROLS = ("pause", "filler")
"""What the slots of a control hold: nothing that was computed."""

PROBES = "Linear probes, on problems that they were not trained on, % right"

_SAME = ("source", "target", "slot")


def probe_rows(records: Records) -> list[dict[str, Any]]:
    """Return a row for each probe, with the accuracy of each run under a key of its own.

    Args:
        records: of the analysis, all parts and runs.

    Returns:
        "source", "target", "slot", "majority_share" of the first run that has the probe,
        "accuracy_1", "accuracy_2", ... in the order of the runs, and, if a run with pauses or
        filler stands beside others, "above_control_..." of each of those. None where a run does not
        have the probe.
    """
    probes = [record for record in records if record["part"] == "probe"]
    runs = _runs(probes)
    control = _control(runs)
    rows: dict[tuple, dict[str, Any]] = {}
    for record in probes:
        same = {key: record[key] for key in _SAME}
        row = rows.setdefault(tuple(same.values()), same)
        row.setdefault("majority_share", record["majority_share"])
        row[f"accuracy_{list(runs).index(record['run']) + 1}"] = record["accuracy"]
    if control is not None:
        for row in rows.values():
            for number in range(1, len(runs) + 1):
                own, bare = (row.get(f"accuracy_{n}") for n in (number, control))
                if number != control and own is not None and bare is not None:
                    row[f"above_control_{number}"] = own - bare
    return list(rows.values())


def probe_columns(records: Records) -> list[Column]:
    """Return the columns of `probe_rows` that have values."""
    rows = probe_rows(records)
    runs = _runs([record for record in records if record["part"] == "probe"])
    columns = [
        Column("source", "read from a slot"),
        Column("target", "probe for"),
        Column("slot", "slot", "d"),
        Column("majority_share", "most\nfrequent", ".1f", 100.0),
    ]
    names = _names(runs)
    for number, name in enumerate(names, start=1):
        columns.append(Column(f"accuracy_{number}", f"right,\n{name}", ".1f", 100.0))
    for number, name in enumerate(names, start=1):
        key, bare = f"above_control_{number}", _control(runs)
        if bare is not None:
            header = f"{name},\nmore than {names[bare - 1]}"
            columns.append(Column(key, header, "+.1f", 100.0))
    return [column for column in columns if any(column.key in row for row in rows)]


def probe_tables(stem: str, records: Records) -> list[Table]:
    """Return the table of a page, [] for fewer than two runs.

    Args:
        stem: of the file of records.
        records: of the analysis, all parts and runs.
    """
    columns, rows = probe_columns(records), probe_rows(records)
    if len(_runs([record for record in records if record["part"] == "probe"])) < 2:
        return []
    heads = [" ".join(column.header.split()) for column in columns]
    said = [
        {head: row.get(column.key) for head, column in zip(heads, columns, strict=True)}
        for row in rows
    ]
    caption = (
        "Shares right on problems that a probe was not trained on. A probe shows that something is "
        "there, not that it is used: a run without thoughts may have it too."
    )
    return [Table(figure_id(stem, "probes"), "The same probes of all runs", caption, said, heads)]


def _runs(probes: Records) -> dict[str, tuple[str, str | None]]:
    """Return run -> (its name, what its slots hold), in order."""
    return {record["run"]: (record["name"], record.get("slots")) for record in probes}


def _control(runs: dict[str, tuple[str, str | None]]) -> int | None:
    """Return the number of the first control, if there is another run beside it."""
    held = [slots for _, slots in runs.values()]
    found = [number for number, slots in enumerate(held, start=1) if slots in CONTROLS]
    return found[0] if found and len(found) < len(held) else None


def _names(runs: dict[str, tuple[str, str | None]]) -> list[str]:
    """Return a name for each run: its own, or its folder where two have the same."""
    names = [name for name, _ in runs.values()]
    return names if len(set(names)) == len(names) else list(runs)
