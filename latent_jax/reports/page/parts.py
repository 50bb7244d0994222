"""The parts of a page: plain data that states what to show, and not how."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from latent_jax.reports.cut_text import Piece

Records = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Figure:
    """An interactive figure.

    Attributes:
        id: id of the HTML element, and name of the downloaded file.
        title: the title, if possible a finding.
        caption: how to read the figure.
        wide: Vega-Lite specification that reads the data set "records".
        narrow: the same for a phone.
        records: the data of the figure and of its CSV.
    """

    id: str
    title: str
    caption: str
    wide: Mapping[str, Any]
    narrow: Mapping[str, Any]
    records: Records


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that readers sort by clicking on its headers.

    Attributes:
        id: see `Figure`.
        title: the title.
        caption: how to read the table.
        records: all records, unrounded, which are also its CSV.
        columns: keys to show, in order.
    """

    id: str
    title: str
    caption: str
    records: Records
    columns: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """Claims with their verdicts: the rows of `latent_jax.reports.verdicts.verdict_table`."""

    rows: Records


@dataclasses.dataclass(frozen=True)
class Sample:
    """One held-out text and its reconstructions by several runs.

    Attributes:
        text: the text on one line, as in `samples/` of a run folder.
        made: (name of the run, its reconstruction) for each run.
    """

    text: str
    made: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Cut:
    """A text cut by a tokenizer.

    Attributes:
        name: name of the tokenizer.
        lengths: bytes of each token; they sum to the length of the text.
        ids: ids of the tokens; None if unknown.
    """

    name: str
    lengths: Sequence[int]
    ids: Sequence[int] | None = None


@dataclasses.dataclass(frozen=True)
class BrowserCode:
    """A code that runs in the browser.

    Attributes:
        name: name of the tokenizer.
        kind: "tree" or "merges"; codes.js describes the data of each.
        packed: the data, base64 of a zlib stream.
    """

    name: str
    kind: str
    packed: str


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One sentence cut by every tokenizer, and the codes that cut text typed by the reader."""

    sentence: str
    cuts: Sequence[Cut]
    codes: Sequence[BrowserCode] = ()


@dataclasses.dataclass(frozen=True)
class CutText:
    """Texts with the chunks that a run cuts them into; it needs no script.

    Attributes:
        id: id of the HTML element.
        title: the title.
        caption: how to read it.
        texts: (name of the run, the pieces of a text) for each text.
    """

    id: str
    title: str
    caption: str
    texts: Sequence[tuple[str, Sequence[Piece]]]


Part = Figure | Table | Verdicts | Sample | Segmentation | CutText


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a page: a heading and its parts.

    Attributes:
        id: id of the HTML element, to which the navigation bar links.
        name: name in the navigation bar.
        title: the heading, if possible a finding.
        text: a sentence or two below the heading; may be empty.
        parts: the parts, in order.
    """

    id: str
    name: str
    title: str
    text: str
    parts: Sequence[Part]


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        kind: kind of the study, such as "report of a sweep".
        title: the heading.
        summary: a few sentences.
        facts: key numbers of the study, as (number, its label).
        sections: the sections, in order.
        made_by: the command that makes the page.
    """

    kind: str
    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    made_by: str
