"""`launch/analyze.py tokens` and `stability`: tables, records and pictures from real text."""

import json
import pydoc_data.topics

import pytest

from latent_jax.experiments.analyze.stability import stability_and_print
from latent_jax.experiments.analyze.tokens import tokens_and_print

METHODS = ("Bytes", "BPE[v=300]", "GZip[v=256]", "StaticAC[v=256]", "EqualInfoAC[b=16,v=65k]")


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Return what both are told: the manual's topics, and a cache of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "text"
    folder.mkdir()
    for number, topic in enumerate(pydoc_data.topics.topics.values()):
        (folder / f"{number}.txt").write_text(topic)
    return dict(
        files=[str(folder)],
        max_bytes=20_000,
        cut_bytes=1000,
        sentence="a code for words",
        json_path=str(tmp_path / "records.json"),
        out=str(tmp_path / "out"),
    )


def by_method(records):
    return {record["method"]: record for record in records}


def test_tokens_are_looked_at_on_the_same_text(words, tmp_path, capsys):
    records = tokens_and_print(METHODS, **words, n_samples=20)
    printed = capsys.readouterr().out
    assert "a| |c|o|d|e" in printed and "longest texts" in printed
    assert json.loads((tmp_path / "records.json").read_text()) == records
    found = by_method(records)
    assert len({record["n_bytes"] for record in records}) == 1
    for method in ("Bytes", "BPE[v=300]", "EqualInfoAC[b=16,v=65536]"):
        assert found[method]["same_text_probability"] == 1
        assert found[method]["decoding_error_share@16"] == 0
    for method in ("GZip[v=256]", "StaticAC[v=256]"):
        assert found[method]["same_text_probability"] < 0.5
        assert found[method]["decoding_error_share@16"] > 0.7
    out = tmp_path / "out"
    full = json.loads((out / "map-BPE_v_300.json").read_text())
    assert sum(record["count"] for record in full) == found["BPE[v=300]"]["n_tokens"]
    assert {path.name for path in out.glob("*.png")} == {
        "ambiguity.png",
        "decoding.png",
        "vocabulary.png",
    }
    lengths = json.loads((out / "vocabulary.json").read_text())
    assert {record["method"] for record in lengths} == {"BPE[v=300]", "EqualInfoAC[b=16,v=65536]"}


def test_stability_is_measured_on_the_same_text(words, tmp_path, capsys):
    options = dict(n_prefixes=20, n_changes=10, pieces="BPE[v=300]", seed=1)
    records = stability_and_print(METHODS, **words, **options)
    assert "spaces" in capsys.readouterr().out
    found = by_method(records)
    assert found["BPE[v=300]"]["piece_recall_share"] == 1
    assert found["BPE[v=300]"]["sentence_distance_tokens"] == 0
    assert found["Bytes"]["changed_tokens"] == 1 and found["Bytes"]["stays_share"] == 1
    assert found["GZip[v=256]"]["reaches_end_share"] == 1
    steady = found["EqualInfoAC[b=16,v=65536]"]
    assert steady["sentence_distance_share"] < 0.9
    assert steady["travel_bytes_median"] < 0.2 * found["StaticAC[v=256]"]["travel_bytes_median"]
    assert 0 < steady["stays_share"] < 1
    histograms = json.loads((tmp_path / "out" / "histograms.json").read_text())
    for method in found:
        for quantity in ("prefix_distance_tokens", "travel_bytes"):
            bins = [b for b in histograms if (b["method"], b["quantity"]) == (method, quantity)]
            assert sum(b["share"] for b in bins) == pytest.approx(1)
    assert stability_and_print(METHODS[:2], **words, **options) == records[:2]


def test_one_prefix_has_no_distance(words):
    with pytest.raises(ValueError, match="distances need two prefixes"):
        stability_and_print(["Bytes"], **words, n_prefixes=1)
