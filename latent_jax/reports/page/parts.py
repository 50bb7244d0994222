"""What a page is made of: plain data that says what to show and nothing of how."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Records = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Figure:
    """An interactive figure.

    Attributes:
        id: of the element, and the name of what is downloaded.
        title: what it shows, best a finding.
        caption: how to read it.
        wide: Vega-Lite specification that reads the data set "records".
        narrow: the same for a phone.
        records: what is drawn, and what its CSV holds.
    """

    id: str
    title: str
    caption: str
    wide: Mapping[str, Any]
    narrow: Mapping[str, Any]
    records: Records


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that is sorted by its headers.

    Attributes:
        id: see `Figure`.
        title: what it shows.
        caption: how to read it.
        records: all of them, unrounded; what its CSV holds.
        columns: keys to show, in order.
    """

    id: str
    title: str
    caption: str
    records: Records
    columns: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """Claims and what became of them: the rows of `latent_jax.reports.verdicts.verdict_table`."""

    rows: Records


@dataclasses.dataclass(frozen=True)
class Sample:
    """One held-out text and what several runs made of it.

    Attributes:
        text: on one line, as `samples/` of a run folder has it.
        made: (run, what it made) of each.
    """

    text: str
    made: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Cut:
    """A text cut by a tokenizer.

    Attributes:
        name: of the tokenizer.
        lengths: bytes of each token; they add up to the text.
        ids: of the tokens; None where they are not known.
    """

    name: str
    lengths: Sequence[int]
    ids: Sequence[int] | None = None


@dataclasses.dataclass(frozen=True)
class BrowserCode:
    """A code that runs in the browser.

    Attributes:
        name: of the tokenizer.
        kind: "tree" or "merges"; codes.js says what each holds.
        packed: base64 of a zlib stream.
    """

    name: str
    kind: str
    packed: str


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One sentence by every tokenizer, and the codes that cut what is typed."""

    sentence: str
    cuts: Sequence[Cut]
    codes: Sequence[BrowserCode] = ()


Part = Figure | Table | Verdicts | Sample | Segmentation


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        id: where the bar at the top leads.
        name: in that bar.
        title: the heading, best a finding.
        text: a sentence or two below it; may be empty.
        parts: in order.
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
        kind: of the study, such as "sweep".
        title: the heading.
        summary: a few sentences.
        facts: numbers that stand for the study, (number, what it counts).
        sections: in order.
        made_by: the command that makes the page again.
    """

    kind: str
    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    made_by: str
