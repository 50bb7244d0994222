"""Names and texts of others in pages, pictures and tables: shown as they are, and taken for nothing
else.
"""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from latent_jax.methods.registry import looks
from latent_jax.reports.comparison import write_comparison
from latent_jax.reports.curves import write_curves
from latent_jax.reports.page import Cut, Segmentation, study_page, write_page
from latent_jax.reports.style import house_style, save, show_families
from latent_jax.reports.sweep_report import report_sweep
from latent_jax.reports.tables import markdown_table, text_table
from latent_jax.spelling import markdown_cell, one_line, script_json, whole

show_families(looks())

NAMES = {
    "a comment and a script": "<!-- <script> one",
    "the end of a script": "</script><script>alert(1)</script>",
    "upper case": "<!--<SCRIPT",
    "half a character": "lone \ud800 and \udfff end",
    "a whole pair": "\ud83d\ude00",
    "line ends": "one\ntwo\r\nthree\u2028four\x85five",
    "cells": "a | b || c \\| d",
    "escape codes": "\x1b[31mred\x1b]0;title\x07",
    "a broken formula": "$\\frac{1$ and $x_{$",
    "one dollar": "costs 5$",
    "two dollars": "from $5 to $10",
    "the other direction": "abc\u202edef",
    "an attribute": "\" onload='alert(1)' x=\"",
    "a template": "$data ${title} {{x}}",
    "nothing": " ",
    "a null": "a\0b",
}


def write_run(folder, name):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"name": name, "method": "Bytes"}))
    lines = [
        {"step": step, "split": split, "bytes_seen": 1000 * step, "bits_per_byte": 8 / (1 + step)}
        for step in range(1, 4)
        for split in ("train", "validation")
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


class Elements(HTMLParser):
    """The elements of a page, and what its data says."""

    def __init__(self, html):
        super().__init__()
        self.scripts, self.attributes, self._text = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.attributes += [name for name, _ in attributes]
        if tag == "script":
            self.scripts.append("")
            self._text = True

    def handle_endtag(self, tag):
        self._text = None if tag == "script" else self._text

    def handle_data(self, data):
        if self._text:
            self.scripts[-1] += data


@pytest.mark.parametrize("name", NAMES)
def test_a_page_keeps_its_three_scripts_and_its_data(tmp_path, name):
    folders = [str(write_run(tmp_path / "a", NAMES[name])), str(write_run(tmp_path / "b", "other"))]
    cuts = Segmentation(NAMES[name], [Cut(NAMES[name], [1], [1])], [])
    path = write_page(study_page(folders, segmentation=cuts), tmp_path / "index.html")
    html = path.read_bytes().decode("utf-8")
    elements = Elements(html)
    assert len(elements.scripts) == 3
    assert "<" not in elements.scripts[0], "nothing in it can end it, or begin a comment"
    data = json.loads(elements.scripts[0])
    assert data["segmentation"]["sentence"] in (NAMES[name], whole(NAMES[name]))
    assert "onload" not in elements.attributes


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_drawn_whatever_a_run_is_called(tmp_path, name):
    folders = [write_run(tmp_path / "a", NAMES[name]), write_run(tmp_path / "b", "other")]
    write_curves(folders[0])
    write_comparison(folders, tmp_path / "both.png")


def drawn(name, tmp_path, where):
    """Return the picture of a name as a title, as a tick of names, or of numbers on a log axis."""
    with house_style():
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        if where == "title":
            axes.set_title(name)
        elif where == "category":
            axes.barh([name, "b"], [1, 2])
        elif where == "ticks":
            axes.set_yticks([0, 1], [name, "b"])
        else:
            axes.set(xscale="log", xlim=(1, 1e6))
        return imread(save(figure, tmp_path / "picture.png"))


@pytest.mark.parametrize("where", ["title", "category", "ticks"])
def test_dollars_are_drawn_and_begin_no_formula(tmp_path, where):
    dollars, formula = drawn("$a_b$", tmp_path, where), drawn("a_b", tmp_path, where)
    assert dollars.shape == formula.shape and not np.array_equal(dollars, formula)
    assert not np.array_equal(drawn("$x^2$", tmp_path, where), drawn("$y^2$", tmp_path, where))
    drawn("$\\frac{1$", tmp_path, where)


def test_powers_of_ten_stay_formulas(tmp_path, monkeypatch):
    expected = drawn("", tmp_path, "log")
    monkeypatch.setattr("latent_jax.reports.style._spell_ticks", lambda axis: [])
    assert not np.array_equal(drawn("", tmp_path, "log"), expected)


def test_a_report_of_a_sweep_holds_names_of_others(tmp_path):
    folder = tmp_path / "a|<script>"
    cell = {"size": "nano", "budget": "bytes:1 <!-- |", "bits_per_byte": 2.0, "seed": 0}
    needed = ("bytes_per_token", "bytes_seen", "n_parameters", "n_embedding_parameters")
    cell |= dict.fromkeys(needed, 1)
    for number, name in enumerate(NAMES.values()):
        (folder / "cells" / str(number)).mkdir(parents=True)
        words = {"name": name, "method": f"Bytes {name}", "setting": name, "group": "", **cell}
        (folder / "cells" / str(number) / "cell.json").write_text(json.dumps(words))
    (folder / "manifest.json").write_text("{}")
    report_sweep([folder])
    page = (folder / "report" / "report.md").read_bytes().decode("utf-8")
    assert "<" not in page and "\x1b" not in page
    for path in (folder / "report").glob("*.csv"):
        path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_tables_keep_their_cells_and_lines(name):
    records = [{"name": NAMES[name], "bits_per_byte": 1.0}, {"name": "b", "bits_per_byte": 2.0}]
    for table in (text_table(records), markdown_table(records)):
        assert len(table.split("\n")) == 4 and len(table.splitlines()) == 4
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", table)
        table.encode("utf-8")
    row = markdown_table(records).split("\n")[2]
    assert len(re.findall(r"(?<!\\)\|", row.replace("\\\\|", ""))) == 3
    assert "<" not in row


@given(st.text(st.characters(), max_size=40))
def test_any_text_is_one_line_one_cell_and_one_string(text):
    line = one_line(text)
    assert line.isprintable() or all(not c.isspace() or c == " " for c in line if ord(c) < 160)
    assert len(line.splitlines()) <= 1 and (line.encode("utf-8") or not text)
    assert "<" not in markdown_cell(text)
    embedded = script_json([text])
    assert whole(json.loads(embedded)[0]) == whole(text)
    assert not set("<>&\u2028\u2029") & set(embedded) and embedded.isascii()
