"""The tables that the analysis of boundaries prints, one for each part, and its places as text."""

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from latent_jax.analysis.boundaries.view import pieces_of
from latent_jax.analysis.codes import Records
from latent_jax.reports.columns import Column
from latent_jax.reports.cut_text import terminal_lines
from latent_jax.reports.tables import text_table
from latent_jax.reports.terminal import takes_colour
from latent_jax.spelling import one_line

_SHARE = {"format": ".1f", "scale": 100.0}

_ORIGIN = (Column("label", "run"), Column("text", "text"), Column("stage", "stage", "d"))

_COLUMNS = {
    "chunks": (
        Column("n_bytes", "bytes", ",d"),
        Column("n_chunks", "chunks", ",d"),
        Column("bytes_per_chunk", "bytes per\nchunk", ".2f"),
        Column("whole_chunk_bytes_median", "median\nbytes", ".0f"),
        Column("whole_chunk_bytes_largest", "longest\nbytes", ",d"),
        Column("variation_ratio", "deviation\nover mean", ".2f"),
        Column("overflow_share", "no room\n%", ".2f", 100.0),
    ),
    "agreement": (
        Column("reference", "ends of"),
        Column("where", "chunks end"),
        Column("n_reference_ends", "ends", ",d"),
        Column("precision_share", "precision\n%", **_SHARE),
        Column("recall_share", "recall\n%", **_SHARE),
        Column("f1_share", "F1\n%", **_SHARE),
        Column("random_f1_share", "by chance\n%", **_SHARE),
    ),
    "surprisal": (
        Column("n_start", "chunk\nstarts", ",d"),
        Column("start_nats", "nats\nthere", ".3f"),
        Column("start_standard_error_nats", "standard\nerror", ".3f"),
        Column("elsewhere_nats", "nats\nelsewhere", ".3f"),
        Column("elsewhere_standard_error_nats", "standard\nerror", ".3f"),
        Column("enrichment_ratio", "B, over\nall", ".3f"),
    ),
    "places": (),
    "pair": (
        Column("other_label", "and"),
        Column("n_ends", "ends", ",d"),
        Column("n_reference_ends", "its ends", ",d"),
        Column("f1_share", "F1\n%", **_SHARE),
        Column("random_f1_share", "by chance\n%", **_SHARE),
        Column("above_random_share", "above chance,\n% of the rest", **_SHARE),
    ),
    "noise": (),
}

_TITLES = {
    "chunks": "How long chunks are; no room: boundaries that were dropped",
    "agreement": "Whether chunks end where words, pieces and morphemes do",
    "surprisal": "What the first id behind a boundary costs; B: times the mean of all",
    "places": "Nats by the place in the chunk, the first one right behind the boundary",
    "pair": "What two runs cut alike; chance: as many ends at random places of each row",
    "noise": "Bits per byte of noised text, and how much more that is",
}


def labels(records: Records) -> dict[str, str]:
    """Return run folder -> its name; with its seed, or the folder, where several have that name."""
    runs = {record["run"]: record for record in records}
    found = {run: record["name"] for run, record in runs.items()}
    for name in {*found.values()}:
        own = [run for run in found if runs[run]["name"] == name]
        if len(own) > 1:
            seeds = {run: f"{name}, seed {runs[run].get('train_seed')}" for run in own}
            found |= seeds if len({*seeds.values()}) == len(own) else {run: run for run in own}
    return found


def labelled(records: Records) -> list[dict[str, Any]]:
    """Return records with the labels of their runs, "label" and "other_label"."""
    known = labels(records)
    return [
        {
            "label": known[r["run"]],
            **({"other_label": known[r["other_run"]]} if "other_run" in r else {}),
            **r,
        }
        for r in records
    ]


def show_parts(records: Records) -> str:
    """Return a table for each part, and below them the places with their chunks."""
    records = labelled(records)
    tables = []
    for part, columns in _COLUMNS.items():
        own = [record for record in records if record["part"] == part]
        if not own:
            continue
        if part == "places":
            tables.append(f"{_TITLES[part]}\n\n{place_table(own)}")
            continue
        if part == "noise":
            own, columns = noise_rows(own)
        first = [column for column in _ORIGIN if any(column.key in record for record in own)]
        known = [*first, *(c for c in columns if any(r.get(c.key) is not None for r in own))]
        tables.append(f"{_TITLES[part]}\n\n{text_table(own, known)}")
    return "\n\n".join([*tables, *_views(records)])


def place_table(records: Records) -> str:
    """Return a table with a row for each place, and a column for each run, text and stage."""
    keys = list(dict.fromkeys((r["label"], r["text"], r["stage"]) for r in records))
    rows: dict[int, dict[str, Any]] = {}
    for record in records:
        place, error = record["place"], record["place_standard_error_nats"]
        row = rows.setdefault(place, {"place": f"{place}{'+' * record['is_this_and_later']}"})
        said = f"{record['place_nats']:.3f}"
        key = record["label"], record["text"], record["stage"]
        row[f"nats_{keys.index(key)}"] = said if error is None else f"{said} ±{error:.3f}"
    columns = [
        Column(f"nats_{number}", f"{label}\n{text}, stage {stage}")
        for number, (label, text, stage) in enumerate(keys)
    ]
    return text_table([rows[place] for place in sorted(rows)], [Column("place", "place"), *columns])


def noise_rows(records: Records) -> tuple[list[dict[str, Any]], list[Column]]:
    """Return a row for each run and text with the bits of all noises, and the columns of them."""
    noises = [*dict.fromkeys(record["noise"] for record in records)]
    rows: dict[tuple, dict[str, Any]] = {}
    for record in records:
        origin = {name: record[name] for name in ("label", "run", "text", "method")}
        row = rows.setdefault((record["run"], record["text"]), origin)
        number = noises.index(record["noise"])
        row[f"bits_{number}"] = record["bits_per_byte"]
        row[f"added_{number}"] = record["added_bits_per_byte"]
        row[f"half_{number}"] = _half(record, "bits_per_byte")
        row[f"added_half_{number}"] = _half(record, "added_bits_per_byte")
        row[f"chunk_{number}"] = record.get("bytes_per_chunk_1")
    columns = [
        Column("method", "method"),
        Column("bits_0", "as it is\nbits/byte", ".3f"),
        Column("half_0", "\n±", ".3f"),
    ]
    for number, noise in enumerate(noises[1:], 1):
        columns.append(Column(f"bits_{number}", f"{noise}\nbits/byte", ".3f"))
        columns.append(Column(f"half_{number}", "\n±", ".3f"))
        columns.append(Column(f"added_{number}", "\nmore", "+.3f"))
        columns.append(Column(f"added_half_{number}", "\n±", ".3f"))
    columns += [
        Column(f"chunk_{number}", f"{noise if number else 'as it is'}\nbytes/chunk", ".2f")
        for number, noise in enumerate(noises)
    ]
    return [*rows.values()], columns


def _half(record: Mapping[str, Any], name: str) -> float | None:
    """Return half of the interval of a value, None where it has none."""
    low, high = (record.get(f"{name}_{end}") for end in ("low", "high"))
    return None if low is None else (high - low) / 2


def _views(records: Records) -> list[str]:
    """Return the places, those of all runs at one place below each other."""
    own = [record for record in records if record["part"] == "view"]
    is_coloured = takes_colour(sys.stdout)
    width = min(shutil.get_terminal_size().columns, 100)
    width = width if is_coloured else 3 * width // 4  # marks need room
    marks = "tints" if is_coloured else "|"
    found = [f"What is cut; {marks} tell chunks apart"] if own else []
    for record in sorted(own, key=lambda r: _first_of(own, r)):
        title = one_line(f"{record['label']}, {record['text']}, place {record['sample']}")
        found.append(f"{title}\n{terminal_lines(pieces_of(record), width, is_coloured)}")
    return found


def _first_of(records: Records, record: Mapping[str, Any]) -> int:
    """Return where the text and place of a record stand first."""
    key = record["text"], record["sample"]
    return next(i for i, r in enumerate(records) if (r["text"], r["sample"]) == key)
