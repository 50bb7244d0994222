"""Tables of the README: made from records, never typed."""

import re
import shutil
from pathlib import Path

import pytest

from latent_jax.reports.results import refresh_tables
from latent_jax.reports.tables import write_table

ROOT = Path(__file__).parents[2]
MARKED = "a\n<!-- table: small; name bits_per_byte -->\nold\n<!-- end of table -->\nz\n"


def test_a_marked_table_is_written_anew_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    write_table([{"name": "Bytes", "bits_per_byte": 2.3456}], tmp_path / "small.json")
    assert refresh_tables(page, tmp_path) == ["small"]
    text = page.read_text()
    assert text.startswith("a\n") and text.endswith("z\n")
    assert "old" not in text and "2.346" in text
    once = text
    refresh_tables(page, tmp_path)
    assert page.read_text() == once


def test_a_table_without_records_names_the_way_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    with pytest.raises(ValueError, match=r"small\.json: make it with launch/report\.py"):
        refresh_tables(page, tmp_path)
    assert page.read_text() == MARKED


PAGES = [ROOT / "README.md", ROOT / "BUILD_NOTES.md", *ROOT.glob("configs/results/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_published_tables_are_those_of_the_records(tmp_path, page):
    copy = tmp_path / page.name
    shutil.copy(page, copy)
    refresh_tables(copy, ROOT / "configs" / "results")
    assert copy.read_text() == page.read_text()


@pytest.mark.parametrize(("page", "most"), [("README.md", 200), ("BUILD_NOTES.md", 250)])
def test_the_readme_and_the_notes_can_be_read(page, most):
    assert len((ROOT / page).read_text().splitlines()) <= most


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short_and_links_lead_somewhere(page):
    text = page.read_text()
    long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long
    for link in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
