"""Rendering of a page as one HTML file that contains everything and fetches nothing."""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import altair
import numpy as np
import vl_convert

from latent_jax.paths import replace_file
from latent_jax.reports.columns import COLUMNS, MISSING, Column, column_of
from latent_jax.reports.page.cut_html import cut_html
from latent_jax.reports.page.parts import (
    CutText,
    Figure,
    Page,
    Part,
    Sample,
    Section,
    Segmentation,
    Table,
    Verdicts,
)
from latent_jax.reports.trial import REFUTED, SUPPORTED, UNDECIDED, UNTRIED
from latent_jax.spelling import script_json, whole

SCRIPTS = ("codes.js", "segments.js", "page.js")
LOWER_IS_BETTER = "bits_per_byte"

_CLASS = {SUPPORTED: "supported", REFUTED: "refuted", UNDECIDED: "undecided", UNTRIED: "untried"}


def write_page(page: Page, path: str | Path) -> Path:
    """Write a page in one atomic step, and return the path.

    Raises:
        ValueError: a number of the page is not finite.
    """
    return replace_file(path, whole(render(page)).encode())


def render(page: Page) -> str:
    """Return the HTML of a page.

    Raises:
        ValueError: a number of the page is not finite.
    """
    facts = "".join(f"<div><dt>{escape(b)}</dt><dd>{escape(a)}</dd></div>" for a, b in page.facts)
    return Template(_asset("page.html")).substitute(
        title=escape(page.title),
        kind=escape(page.kind),
        css=_asset("page.css"),
        header=f'<h1>{escape(page.title)}</h1>\n<p class="lede">{escape(page.summary)}</p>\n'
        f'<dl class="facts">{facts}</dl>',
        nav="\n".join(f'<li><a href="#{s.id}">{escape(s.name)}</a></li>' for s in page.sections),
        main="\n".join(map(_section, page.sections)),
        footer=f"<p>Made by <code>{escape(page.made_by)}</code>. All numbers come from the folder "
        "of the study.</p>",
        data=script_json(_data(page)),
        library=_library(),
        script="\n".join(map(_asset, SCRIPTS)),
    )


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in the version that Altair uses."""
    version = ".".join(altair.SCHEMA_VERSION.split(".")[:2])
    return vl_convert.javascript_bundle(vl_version=version).replace("</script", "<\\/script")


def _data(page: Page) -> dict[str, Any]:
    """Return the data that the scripts of the page read."""
    parts = [part for section in page.sections for part in section.parts]
    data: dict[str, Any] = {
        "figures": {
            part.id: {"wide": part.wide, "narrow": part.narrow, "records": _plain(part.records)}
            for part in parts
            if isinstance(part, Figure)
        },
        "tables": {
            part.id: {"records": _plain(part.records)} for part in parts if isinstance(part, Table)
        },
        "segmentation": {"sentence": "", "cuts": [], "codes": []},
    }
    for part in parts:
        if isinstance(part, Segmentation):
            data["segmentation"] = {
                "sentence": part.sentence,
                "cuts": [vars(cut) for cut in part.cuts],
                "codes": [vars(code) for code in part.codes],
            }
    return data


def _plain(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: v.item() if isinstance(v, np.generic) else v for key, v in record.items()}
        for record in records
    ]


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    body = "\n".join(_part(part) for part in section.parts)
    return (
        f'<section id="{section.id}">\n<h2>{escape(section.title)}</h2>\n{text}\n{body}\n</section>'
    )


def _part(part: Part) -> str:
    if isinstance(part, Figure):
        plot = f'<div class="plot" role="img" aria-label="{escape(part.title)}"></div>'
        return _framed(part, ("png", "csv"), plot)
    if isinstance(part, Table):
        return _framed(part, ("csv",), f'<div class="scroll" tabindex="0">{_table(part)}</div>')
    if isinstance(part, Verdicts):
        return _verdicts(part)
    if isinstance(part, Sample):
        return _sample(part)
    if isinstance(part, CutText):
        return cut_html(part)
    return _segmentation(part)


def _framed(part: Figure | Table, formats: Sequence[str], body: str) -> str:
    """Return the HTML of a figure or table with its title, caption and download buttons."""
    buttons = "".join(
        f'<button data-download="{f} {part.id}" aria-label="Download {escape(part.title)} as '
        f'{f.upper()}">{f.upper()}</button>'
        for f in formats
    )
    return (
        f'<figure id="{part.id}">\n<div class="head"><div><h3>{escape(part.title)}</h3>'
        f"<figcaption>{escape(part.caption)}</figcaption></div>"
        f'<div class="downloads">{buttons}</div></div>\n{body}\n</figure>'
    )


def _table(table: Table) -> str:
    """Return the HTML of a table; the lowest value of each column of bits per byte is marked."""
    columns = [column_of(key) for key in table.columns]
    numbers = [
        all(isinstance(r.get(c.key), int | float | np.number | None) for r in table.records)
        for c in columns
    ]
    best = {
        c.key: min((r[c.key] for r in table.records if r.get(c.key) is not None), default=None)
        for c in columns
        if c.key.partition("@")[0] == LOWER_IS_BETTER and len(table.records) > 1
    }
    head = "".join(
        f"<th{' class=number' if number else ''}><button>{escape(c.header)}</button></th>"
        for c, number in zip(columns, numbers, strict=True)
    )
    rows = []
    for record in table.records:
        cells = []
        for column, number in zip(columns, numbers, strict=True):
            value, text = record.get(column.key), _cell_text(column, record)
            is_best = value is not None and best.get(column.key) == value
            words = "number" if number else "words" if len(text) > 40 else ""
            words += " best" if is_best else ""
            data = "" if value is None else f' data-value="{escape(str(value))}"'
            shown = escape(text) if number else _breakable(text)
            cells.append(f'<td class="{words.strip()}"{data}>{shown}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table>"
    )


def _cell_text(column: Column, record: Mapping[str, Any]) -> str:
    value = record.get(column.key)
    if column.key.partition("@")[0] not in COLUMNS and type(value) is int:
        return f"{value:,}"
    text = column.cell(record)
    return "–" if text == MISSING else text


def _breakable(name: str) -> str:
    """Return a name as HTML that may be broken after brackets and commas."""
    return re.sub(r"([\[,])", r"\1<wbr>", escape(name))


def _verdicts(part: Verdicts) -> str:
    """Return the HTML of claims; numbers of places and untested claims unfold on a click."""
    tried = [_verdict(row) for row in part.rows if row["n_tried"]]
    untried = [_verdict(row) for row in part.rows if not row["n_tried"]]
    more = (
        f'<li class="more"><details><summary class="quiet">{len(untried)} more that this study '
        f"cannot try</summary><ul>{''.join(untried)}</ul></details></li>"
        if untried
        else ""
    )
    return f'<ul class="verdicts">{"".join(tried)}{more}</ul>'


def _verdict(row: Mapping[str, Any]) -> str:
    verdict = f'<span class="verdict {_CLASS[row["verdict"]]}">{escape(row["verdict"])}</span>'
    claim = f'{escape(row["claim"])} <span class="quiet">({escape(row["source"])})</span>'
    if row["n_tried"]:
        least = row["smallest_effect"]
        seen = "" if least is None else f"; an effect of {least:.2g} would have been seen"
        counts = f"{row['n_supporting']} support it, {row['n_refuting']} refute it"
        places = f"of {row['n_tried']} places {counts}{seen}"
        found = [places, *row["numbers"].split("; ")]
        numbers = "".join(f"<li>{escape(text)}</li>" for text in found)
        claim = f'<details><summary>{claim}</summary><ul class="numbers">{numbers}</ul></details>'
    return f"<li>{verdict}<div>{claim}</div></li>"


def _sample(sample: Sample) -> str:
    rows = [f'<dt>held-out text</dt><dd class="original">{escape(sample.text)}</dd>']
    rows += [
        f"<dt>{escape(name)}</dt><dd>{_marked(sample.text, made)}</dd>"
        for name, made in sample.made
    ]
    return f'<div class="sample"><dl>{"".join(rows)}</dl></div>'


def _marked(text: str, made: str) -> str:
    """Return a reconstruction as HTML, with marks where it differs from the text."""
    matcher = difflib.SequenceMatcher(None, text, made, autojunk=False)
    pieces = []
    for kind, _, _, start, stop in matcher.get_opcodes():
        piece = escape(made[start:stop])
        pieces.append(piece if kind == "equal" or not piece else f"<mark>{piece}</mark>")
    return "".join(pieces)


def _segmentation(part: Segmentation) -> str:
    ratio = '<div class="ratio"><b></b> <span>bytes/token</span><small></small></div>'

    def rows(names: Iterable[str], attribute: str) -> str:
        return "".join(
            f'<div class="cut" {attribute}="{escape(name)}">'
            f'<div class="name">{_breakable(name)}</div><div class="tokens"></div>{ratio}</div>'
            for name in names
        )

    cuts = f'<div class="cuts">{rows((cut.name for cut in part.cuts), "data-cut")}</div>'
    if not part.codes:
        return cuts
    return (
        f"{cuts}\n"
        '<h3 class="type"><label for="typed">Type, and see it cut</label></h3>\n'
        '<p class="quiet">These codes run in this page, and cut these <span id="typed-size"></span>'
        " as the Python tokenizers of the same names do. Small marks stand for invisible bytes: ⏎ "
        "is the end of a line, and two digits are one byte of a divided character.</p>\n"
        f'<textarea id="typed" spellcheck="false" autocomplete="off">{escape(part.sentence)}'
        f'</textarea>\n<div class="cuts live">'
        f"{rows((code.name for code in part.codes), 'data-live')}</div>"
    )
