"""Places with their chunks: records and back, and texts that HTML must not read."""

import re

import numpy as np
import pytest

from latent_jax.analysis.boundaries.agreement import word_reference
from latent_jax.analysis.boundaries.figures import boundaries_page_figures
from latent_jax.analysis.boundaries.measure import draw, measure, show
from latent_jax.analysis.boundaries.picture import WIDTH
from latent_jax.analysis.boundaries.view import pieces_of, sample_places, view_records
from latent_jax.reports.cut_text import terminal_lines, wrapped
from latent_jax.reports.page.cut_html import cut_html
from latent_jax.reports.page.parts import CutText
from tests.analysis.boundaries.made_cuts import made
from tests.analysis.pictures import drawn

HARD = "<b>&|\"a'|| </b>|é\n"


def test_places_begin_lines_that_are_spread_over_a_text():
    text = b"".join(b"line %02d\n" % number for number in range(100))
    places = sample_places([text[:300], text[300:]], 3)
    assert [start for start, _ in places] == [0, 272, 536]
    assert all(stop - start <= 320 for start, stop in places) and places[-1][1] == 800
    assert sample_places([text], 0) == []
    assert sample_places([b"ab"], 3) == [(0, 2), (1, 2)]


def test_a_record_says_what_the_run_said():
    seen = made(HARD, nats=[np.arange(15.0)])
    (record,) = view_records(seen, [(0, 15)])
    assert bytes.fromhex(record["bytes_hex"]).decode() == HARD.replace("|", "")
    assert record["ends_1"] == "4 7 12 15" and record["ends_2"].startswith("7 ")
    pieces = pieces_of(record)
    assert "".join(piece.text for piece in pieces) == "<b>&\"a' </b>é⏎"
    assert [piece.chunk for piece in pieces] == [*4 * [0], *3 * [1], *5 * [2], 3, 3]
    assert [piece.outer for piece in pieces] == [*7 * [0], *7 * [1]]
    assert pieces[3].said == (
        "3.00 nats, boundary of stage 1 behind it: 0.75, boundary of stage 2 behind it: 0.25"
    )
    assert pieces[12].said.startswith("25.00 nats"), "both bytes of é"
    assert pieces[-1].is_mark and "boundary" not in pieces[-1].said


def test_a_character_that_a_chunk_ends_in_is_two_bytes():
    seen = made("éa")
    stage = seen.stages[0]
    seen = seen._replace(stages=(stage._replace(ends_N=np.array([True, False, False])),))
    pieces = pieces_of(view_records(seen, [(0, 3)])[0])
    assert [(p.text, p.chunk) for p in pieces] == [(r"\xc3", 0), (r"\xa9", 1), ("a", 1)]


def test_html_holds_text_as_text():
    record = view_records(made(HARD), [(0, 15)])[0]
    html = cut_html(CutText("x", "<i>", "a & b", [("<run>", pieces_of(record))]))
    assert "<b>" not in html and "</b>" not in html and "<run>" not in html
    shown = re.sub("<[^>]*>", "", html.partition('<div class="chunks">')[2])
    assert "&lt;b&gt;&amp;&quot;a&#x27; &lt;/b&gt;é⏎" in shown
    assert html.count('<span class="c0">') == 2 and html.count('<span class="u1">') == 1
    assert 'title="1.00 nats, boundary of stage 1 behind it: 0.25' in html
    assert "&quot;" not in html.partition('title="')[2].partition('"')[0]
    assert "<script" not in html


def test_a_terminal_has_colour_or_marks():
    pieces = pieces_of(view_records(made("An |owl|| sees"), [(0, 11)])[0])
    assert terminal_lines(pieces, 80, False) == "An |owl|| sees"
    assert terminal_lines(pieces, 6, False) == "An |owl||\n sees"
    assert terminal_lines(pieces, 4, False) == "An |o\nwl|| s\nees"
    coloured = terminal_lines(pieces, 80, True)
    assert coloured == (
        "\x1b[30;48;5;117mAn \x1b[0m\x1b[30;48;5;222mowl\x1b[0m\x1b[4;30;48;5;117m sees\x1b[0m"
    )
    hostile = pieces_of(view_records(made("a\x1b[31m"), [(0, 6)])[0])
    assert "\x1b" not in terminal_lines(hostile, 80, False)


def test_lines_of_a_picture_are_full_and_lose_nothing():
    pieces = pieces_of(view_records(made(200 * "ab|c"), [(0, 600)])[0])
    lines = wrapped(pieces, WIDTH)
    assert [len(line) for line in lines[:-1]] == [WIDTH] * (len(lines) - 1)
    assert [piece for line in lines for piece in line] == pieces


UNITS = re.compile(
    r"n_.*|.*(nats|bytes|bytes_median|bytes_largest|share|ratio|per_chunk)|is_.*|stage|sample|place"
)


@pytest.fixture
def records():
    found = []
    cuts = {"runs/a": ("An |owl|| sees", "two| mi|ce"), "runs/b": ("A|n owl", "b c")}
    for run, rows in cuts.items():
        text = "".join(rows).replace("|", "").encode()
        own = measure(made(*rows), [word_reference([text])], [(0, 8)])
        origin = {"name": "cut", "method": "HNet[n=4]", "run": run, "step": 3, "text": "held-out"}
        found += [origin | record for record in own]
    noise = dict(noise="none", bits_per_byte=2.0, added_bits_per_byte=0.0, part="noise")
    return [*found, {**found[0], **noise}, {**found[0], **noise, "noise": "typos, 5 %"}]


def test_keys_of_numbers_have_units(records):
    for record in records[:-2]:
        for key, value in record.items():
            if isinstance(value, int | float) and key != "step":
                assert UNITS.fullmatch(key), key


def test_tables_pictures_and_a_page(records, tmp_path):
    printed = show({"boundaries": records})
    assert "runs/a  " in printed and "runs/b  " in printed, "two runs of one name"
    assert "one byte behind" in printed and "12+" not in printed
    assert "An |owl|| s" in printed
    for path in draw({"boundaries": records}, tmp_path):
        drawn(path)
    assert len([*tmp_path.glob("boundaries_*.png")]) == 4
    cuts, *figures = boundaries_page_figures("b", records)
    assert [name for name, _ in cuts.texts] == ["runs/a, place 1", "runs/b, place 1"]
    assert [figure.id for figure in figures] == [
        "analysis_b_lengths",
        "analysis_b_places",
        "analysis_b_noise",
    ]
    assert boundaries_page_figures("x", [{"part": "probe", "n_thoughts": 2, "run": "a"}]) == []
    assert boundaries_page_figures("x", [{"method": "Bytes", "n": 1}]) == []
