"""Tables of the README: made from records, never typed."""

import shutil
from pathlib import Path

import pytest

from latent_jax.reports.results import refresh_tables
from latent_jax.reports.tables import write_json

ROOT = Path(__file__).parents[2]
MARKED = "a\n<!-- table: small; name bits_per_byte -->\nold\n<!-- end of table -->\nz\n"


def test_a_marked_table_is_written_anew_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    write_json([{"name": "Bytes", "bits_per_byte": 2.3456}], tmp_path / "small.json")
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


@pytest.mark.parametrize("name", ["README.md", "BUILD_NOTES.md"])
def test_the_published_tables_are_those_of_the_records(tmp_path, name):
    page = tmp_path / name
    shutil.copy(ROOT / name, page)
    refresh_tables(page, ROOT / "configs" / "results")
    assert page.read_text() == (ROOT / name).read_text()
