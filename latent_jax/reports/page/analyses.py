"""Figures of analyses: lists of flat records that `launch/analyze.py --json` wrote.

What a file holds is told by the keys of its records, not by its name. Every file's table is shown;
shapes that are known here are drawn as well.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_jax.reports.latent_figures import short_of
from latent_jax.reports.page.charts import Axis, bars, lines
from latent_jax.reports.page.parts import Figure, Records, Section, Table
from latent_jax.reports.tables import column_of

MOST_RECORDS = 2000
"""A file of more, such as the map of every token, is no table for a page."""

METHOD = "method"
STABILITIES = {
    "prefix_distance_share": "tokens of a sentence that another word before it changes",
    "changed_tokens_share": "tokens that one changed byte changes",
    "travel_bytes_median": "bytes that the effect of a changed byte travels, median",
    "reaches_end_share": "changes whose effect reaches the end of the text",
    "resynchronised_share": "changes after which the tokens come to be the same again",
    "same_text_probability": "one id stands for the same text, probability",
    "same_ids_probability": "one word has the same ids, probability",
}
"""Keys of a stability that are drawn as bars, and what they say."""


def analysis_sections(paths: Sequence[str | Path]) -> list[Section]:
    """Return one section with all files.

    Raises:
        ValueError: a file cannot be read, or is no list of flat records, or has too many, or two
            have one name.
    """
    if not paths:
        return []
    parts: list[Figure | Table] = []
    stems = [Path(path).stem for path in paths]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise ValueError(f"--analyses names two files {twice!r}: give them names of their own")
    for path in map(Path, paths):
        records = _told_apart(_read(path))
        for is_shape, draw in SHAPES:
            if is_shape(records):
                parts += draw(path.stem, records)
                break
        keys = list(dict.fromkeys(key for record in records for key in record))
        title = f"{_words(path.stem)}, all numbers"
        parts.append(Table(_id(path.stem, "table"), title, "As measured.", records, keys))
    text = "What launch/analyze.py measured."
    return [Section("analyses", "Analyses", "Inside the codes", text, parts)]


def _read(path: Path) -> list[dict[str, Any]]:
    way_out = "name files that launch/analyze.py VERB --json wrote"
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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
    """Return records in which runs of one method have a name each, as figures need it."""
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


def _entropies(stem: str, records: Records) -> list[Figure]:
    """Return held-out bits per byte over the order of n-grams, a figure for each text."""
    key = "held_out_bits_per_byte"
    figures = []
    for text, rows in _grouped(records, "text").items():
        rows = _ordered(rows, "n", key)
        best = min(rows, key=lambda row: row[key])
        title = f"{best[METHOD]} has the lowest n-gram entropy{_of(text)}, {best[key]:.2f}"
        figures.append(
            lines(
                _id(stem, text),
                f"{title} bits per byte",
                "A model of n-grams on held-out text, in bits for each raw byte; more context than "
                "the text supports makes it worse again.",
                rows,
                Axis("n", "n, tokens", format="d", ticks=sorted({row["n"] for row in rows})),
                Axis(key, "bits per byte", format=".2f"),
                METHOD,
            )
        )
    return figures


def _bests(stem: str, records: Records) -> list[Figure]:
    """Return the best bits per byte of each method, a figure for each text."""
    key = "best_bits_per_byte"
    figures = []
    # What was counted on more text costs less: only equally much stands in one figure.
    named = [{**r, "text": _counted(r)} for r in records if _is_number(r.get(key))]
    for text, rows in _grouped(named, "text").items():
        rows = sorted(rows, key=lambda r: r[key])
        caption = "The best order of n-grams for each code, on held-out text."
        title = f"Entropy{_of(text)}, bits per byte"
        x = Axis(key, "bits per byte", format=".2f")
        figures.append(bars(_id(stem, text), title, caption, rows, METHOD, x))
    return figures


def _histograms(stem: str, records: Records) -> list[Figure]:
    """Return the share of each bin over where it begins, a figure for each quantity."""
    figures = []
    for quantity, rows in _grouped(records, "quantity").items():
        rows = _ordered(rows, "start", "share")
        is_wide = max(row["start"] for row in rows) > 200
        # A logarithmic axis has no 0, which is where the first bin may begin.
        shown = [{**row, "at": max(row["start"], 0.5) if is_wide else row["start"]} for row in rows]
        figures.append(
            lines(
                _id(stem, quantity),
                f"{_words(stem)}: {_words(quantity).lower()}",
                "The share of cases in each bin, over where the bin begins.",
                shown,
                Axis("at", _words(quantity).lower(), is_log=is_wide, format="~s"),
                Axis("share", "share", format=".0%"),
                METHOD,
                with_values=False,
            )
        )
    return figures


def _stabilities(stem: str, records: Records) -> list[Figure]:
    """Return bars for what makes a tokenization stable."""
    figures = []
    for key, words in STABILITIES.items():
        rows = [row for row in records if _is_number(row.get(key))]
        if rows:
            title = words[:1].upper() + words[1:]
            drawn = sorted(rows, key=lambda row: row[key])
            unit = next(u for u in ("bytes", "share", "probability") if u in key)
            x = Axis(key, unit, format=",.2~f", value_format=".3~r")
            figures.append(bars(_id(stem, key), title, "", drawn, METHOD, x))
    return figures


def _pieces(stem: str, records: Records) -> list[Figure]:
    """Return how much of the text tokens of each length make up."""
    totals: dict[str, float] = {}
    for row in records:
        totals[row[METHOD]] = totals.get(row[METHOD], 0) + row["n_tokens"]
    rows = [
        {**row, "tokens_share": row["n_tokens"] / totals[row[METHOD]]}
        for row in _ordered(records, "piece_bytes", "n_tokens")
        if totals[row[METHOD]]
    ]
    x = Axis("piece_bytes", "bytes of a token", format="d")
    y = Axis("tokens_share", "share of all tokens", format=".0%")
    title, caption = "How long tokens are", "By use in the text."
    return [lines(_id(stem), title, caption, rows, x, y, METHOD, with_values=False)]


def _decodings(stem: str, records: Records) -> list[Figure]:
    """Return the error of decoding a run of tokens by itself, over how long the run is."""
    key = "decoding_error_share"
    rows = [
        {METHOD: row[METHOD], "run_tokens": int(name.partition("@")[2]), key: value}
        for row in records
        for name, value in row.items()
        if name.startswith(f"{key}@") and _is_number(value)
    ]
    rows = _ordered(rows, "run_tokens", key)
    ticks = sorted({row["run_tokens"] for row in rows})
    x = Axis("run_tokens", "tokens in the run", is_log=True, format="d", ticks=ticks)
    y = Axis(key, "share of bytes that come out wrong", format=".0%")
    title = "Tokens decoded without those before them"
    return [lines(_id(stem), title, "0 is a code whose ids mean one text.", rows, x, y, METHOD)]


def _has(*keys: str) -> Callable[[Records], bool]:
    return lambda records: all(any(_is_known(r, key) for r in records) for key in keys)


SHAPES: tuple[tuple[Callable[[Records], bool], Callable[[str, Records], list[Figure]]], ...] = (
    (_has(METHOD, "n", "held_out_bits_per_byte"), _entropies),
    (_has(METHOD, "best_bits_per_byte"), _bests),
    (_has(METHOD, "quantity", "start", "share"), _histograms),
    (_has(METHOD, "piece_bytes", "n_tokens"), _pieces),
    (lambda rs: any(_has(METHOD, key)(rs) for key in [*STABILITIES][:5]), _stabilities),
    (lambda rs: any(k.startswith("decoding_error_share@") for k in rs[0]), _decodings),
)
"""Whether records have a shape, and what draws it; the first one counts."""


def _grouped(records: Records, key: str) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault(str(record.get(key) or ""), []).append(record)
    return {
        name: rows
        for name, rows in groups.items()
        if any(_is_number(value) for row in rows for value in row.values())
    }


def _ordered(records: Records, x: str, y: str) -> list[Mapping[str, Any]]:
    """Return the records that have both, by method and x."""
    methods = list(dict.fromkeys(record[METHOD] for record in records))
    both = [r for r in records if _is_number(r.get(x)) and _is_number(r.get(y))]
    return sorted(both, key=lambda record: (methods.index(record[METHOD]), record[x]))


def _counted(record: Mapping[str, Any]) -> str:
    """Return the text of a record, and how much of it was counted where that is known."""
    text, n_bytes = str(record.get("text") or ""), record.get("train_bytes")
    return f"{text}, {n_bytes / 1e6:.1f} MB counted".lstrip(", ") if n_bytes else text


def _of(text: str) -> str:
    return f" of {text}" if text else ""


def _is_known(record: Mapping[str, Any], key: str) -> bool:
    return record.get(key) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(key: str) -> str:
    """Return "Travel bytes" for "travel_bytes", or the header that tables have for it."""
    header = column_of(key).header
    words = (key.replace("_", " ").replace("-", " ") if header == key else header).split()
    return " ".join(words)[:1].upper() + " ".join(words)[1:]


def _id(*words: str) -> str:
    joined = "_".join(["analysis", *filter(None, words)])
    return "".join(c if c.isalnum() else "_" for c in joined)
