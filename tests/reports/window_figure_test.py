"""The marks in a picture of windows, and what it says of them."""

import pytest

from latent_jax.reports import window_figure
from latent_jax.reports.window_figure import CUT, UNPRINTED, glyphs, write_windows
from tests.analysis.pictures import drawn

WHOLE = [[(b"two words", "01")], [("naïve".encode(), "11")]]
CUTS = [[(b"na\xc3", "01")], [(b"\xafve", "11")]]
CONTROL = [[(b"a\x07b", "01")]]
CUT_SAID, CONTROL_SAID = "· is a byte of a character that is cut", f"{UNPRINTED} is a control"


def test_what_stands_in_the_slots_of_bytes():
    assert glyphs("aï".encode()) == ["a", "ï", ""]
    assert glyphs(b"a\xc3") == ["a", CUT] and glyphs(b"\x07") == [UNPRINTED]


@pytest.mark.parametrize(
    ("windows", "bits", "said"),
    [
        (WHOLE, None, []),
        (WHOLE, [[1.5] * 9, [0.25] * 6], ["Bars: what a byte tells by M1, the tallest 1.5 bits"]),
        (CUTS, None, [CUT_SAID]),
        (CUTS, [[1.0] * 3, [2.0] * 3], ["the tallest 2.0 bits", CUT_SAID]),
        (CONTROL, None, [CONTROL_SAID]),
        (CUTS + CONTROL, None, [CUT_SAID, CONTROL_SAID]),
        ([[("a · b, \N{REPLACEMENT CHARACTER}".encode(), "01")]], None, []),  # the characters
    ],
)
def test_a_picture_says_what_its_marks_mean_and_no_more(windows, bits, said, tmp_path, monkeypatch):
    figures = []
    save = window_figure.save
    monkeypatch.setattr(window_figure, "save", lambda f, path: figures.append(f) or save(f, path))
    drawn(write_windows("a method", windows, bits, tmp_path / "windows.png"))
    texts = [text.get_text() for axes in figures[0].axes for text in axes.texts]
    legend = "; ".join(text for text in texts if "Bars: " in text or " is a " in text)
    assert all(part in legend for part in said)
    marks = ("Bars: ", CUT_SAID, CONTROL_SAID)
    assert sum(mark in legend for mark in marks) == len(said)
