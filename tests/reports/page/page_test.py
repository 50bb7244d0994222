"""Pages as text: what is in them, that nothing is fetched, and what cannot be shown."""

import json
import re

import pytest

from latent_jax.reports.page import BrowserCode, Cut, Segmentation, render, study_page, write_page
from latent_jax.reports.page.analyses import MOST_RECORDS, analysis_sections
from latent_jax.reports.page.parts import Figure, Table
from latent_jax.reports.page.samples import sample_section
from latent_jax.reports.page.study import named
from latent_jax.reports.records import read_run
from tests.reports.sweep_report_test import cell, paper_cells, write

SENTENCE = "né </script><b>"
SEGMENTATION = Segmentation(
    SENTENCE,
    [Cut("Bytes", [1] * 16, list(range(16))), Cut("Latent, c=4", [4] * 4)],
    [BrowserCode("EqualInfoAC[b=16,v=65536]", "tree", "AAAA")],
)


def data_of(html):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', html, re.DOTALL)[1])


def page_of(folders, **words):
    return study_page([*map(str, folders)], segmentation=SEGMENTATION, **words)


def parts_of(page, kind):
    return {p.id: p for s in page.sections for p in s.parts if isinstance(p, kind)}


@pytest.fixture(scope="module")
def sweep_html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "mine"
    return render(page_of([write(folder, paper_cells())]))


def test_a_page_is_one_file_that_names_no_other(sweep_html):
    html = re.sub(r"<script>.*?</script>", "", sweep_html, flags=re.DOTALL)
    assert "https://" not in html and "http://" not in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert sweep_html.count("</script>") == 3 and "$" not in html.split("<script", 1)[0]
    assert 0.5e6 < len(sweep_html.encode()) < 5e6


def test_a_sweep_has_verdicts_figures_tables_and_cuts(sweep_html, tmp_path):
    page = page_of([write(tmp_path / "mine", paper_cells())])
    assert [section.id for section in page.sections] == [
        "verdicts",
        "figures",
        "results",
        "segmentation",
    ]
    assert page.sections[0].title == "Claims: 11 supported, 0 refuted, 0 undecided"
    assert "SentencePiece[v=32000] (1.120 at 25m, 1.010 at 113m)" in page.summary
    data = data_of(sweep_html)
    figures = {"bits_by_parameters", "bits_by_flops", "bits_by_bytes_per_step", "bits_by_window"}
    assert set(data["figures"]) == figures
    assert len(data["tables"]["cells"]["records"]) == len(paper_cells())
    assert data["segmentation"]["sentence"] == SENTENCE
    assert data["segmentation"]["cuts"][1] == {
        "name": "Latent, c=4",
        "lengths": [4] * 4,
        "ids": None,
    }
    assert page.sections[-1].title.startswith("From 1.00 to 4.00 bytes per token")


def test_every_figure_comes_wide_and_narrow_over_the_records_of_its_csv(sweep_html):
    for figure in data_of(sweep_html)["figures"].values():
        for spec in (figure["wide"], figure["narrow"]):
            assert '"data": {"name": "records"}' in json.dumps(spec)
            assert spec["width"] == "container" and "records" not in spec.get("datasets", {})
        assert len(figure["narrow"]["layer"]) == len(figure["wide"]["layer"]) - 1  # its names
        assert figure["records"]


def test_a_table_shows_rounded_numbers_and_sorts_by_whole_ones(tmp_path):
    records = [cell("Bytes", "25m", 1.23456), cell("GZip[v=256]", "25m", 2.0)]
    html = render(page_of([write(tmp_path / "mine", records)]))
    assert '<td class="number best" data-value="1.23456">1.235</td>' in html
    assert '<td class="number" data-value="2.0">2.000</td>' in html
    assert "GZip[<wbr>v=256]" in html


def test_groups_of_ablations_are_bars(tmp_path):
    names = ("EqualInfoAC[b=16,v=256]", "EqualInfoAC[b=16,v=256,reset=never]")
    records = [cell(name, "25m", 1.0 + i, group="reset") for i, name in enumerate(names)]
    page = page_of([write(tmp_path / "mine", records)])
    (figure,) = parts_of(page, Figure).values()
    assert [row["cell"] for row in figure.records] == [f"reset: {name}" for name in names]
    assert "size" in dict(page.facts).values() or ("25m", "size") in page.facts


def test_runs_have_curves_bars_and_their_records(make_run, latent_metrics, tmp_path):
    folders = [make_run("study/a", "Bytes"), make_run("study/b", "Bytes")]
    folders.append(make_run("study/c", "Latent[ssm,c=2,k=64]", metrics=latent_metrics))
    page = page_of([tmp_path / "study"])
    figures = parts_of(page, Figure)
    assert set(figures) == {"curves", "final_bits", "restored"}
    lines = {row["run"] for row in figures["curves"].records}
    assert lines == {"Bytes (a)", "Bytes (b)", "Latent[ssm,c=2,k=64]"}
    stacked = [r for r in figures["final_bits"].records if r["run"].startswith("Latent")]
    assert [row["bits_per_byte"] for row in stacked] == [2.5, 0.5]
    (table,) = parts_of(page, Table).values()
    assert len(table.records) == 3 and table.columns[0] == "method"
    assert render(page).count('aria-label="Download') == 2 * 3 + 1


def test_samples_of_one_text_stand_together(make_run):
    runs = {}
    for name, line in (("a", "abd"), ("b", "abc")):
        folder = make_run(name, "Latent[ssm,c=2,k=64]", name=name)
        (folder / "samples").mkdir()
        for step in ("0000001", "0000020"):
            made = line if step == "0000020" else "old"
            (folder / "samples" / f"step_{step}.txt").write_text(
                f"          text: abc\nreconstruction: {made}\n   lm_choice: zzz\n\n"
                f"          text: {name} alone\nreconstruction: x\n"
            )
        runs[name] = read_run(folder)
    ((section,),) = [sample_section(named(list(runs.values())))]
    first = section.parts[0]
    assert first.text == "abc"
    assert first.made == [
        ("a", "abd"),
        ("a, lm choice", "zzz"),
        ("b", "abc"),
        ("b, lm choice", "zzz"),
    ]
    assert {sample.text for sample in section.parts} == {"abc", "a alone", "b alone"}


def test_the_first_drawer_that_knows_the_records_draws_them(tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps([{"x": 1}]))
    figures = [Figure(name, name, "", {}, {}, []) for name in "ab"]
    drawers = [lambda *_: [], lambda stem, rows: figures[:1], lambda stem, rows: figures[1:]]
    (section,) = analysis_sections([path], drawers)
    assert section.parts[0] == figures[0] and len(section.parts) == 2
    (section,) = analysis_sections([path], drawers[:1])
    (table,) = section.parts
    assert table.records == [{"x": 1}]


def test_analyses_that_no_page_can_show_are_named(tmp_path):
    path = tmp_path / "measured.json"
    for content, message in (
        ("{half", "cannot be read"),
        ("{}", "holds no list"),
        ('[{"a": [1]}]', "no flat record"),
        (json.dumps([{"a": 1}] * (MOST_RECORDS + 1)), "holds 2,001 records"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            analysis_sections([path])
    path.write_text('[{"a": 1}]')
    with pytest.raises(ValueError, match="two files 'measured'"):
        analysis_sections([path, path])
    with pytest.raises(ValueError, match="cannot be read"):
        analysis_sections([tmp_path / "absent.json"])


def test_a_number_that_is_none_is_refused_and_the_old_page_stays(make_run, tmp_path):
    page = page_of([make_run("study/a")])
    path = write_page(page, tmp_path / "out" / "index.html")
    before = path.read_bytes()
    (table,) = parts_of(page, Table).values()
    table.records[0]["bits_per_byte"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_page(page, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
