"""`launch/analyze.py`: tables, records and pictures from real text, and mistakes."""

import dataclasses
import json
import pydoc_data.topics

import pytest

from latent_jax.analysis.entropy import EntropyOptions
from latent_jax.analysis.options import TextOptions
from latent_jax.analysis.stability.measure import StabilityOptions
from latent_jax.analysis.tokens.measure import TokensOptions
from latent_jax.analysis.uniformity import UniformityOptions
from latent_jax.commands.analyze import analyze
from latent_jax.commands.opening import open_texts

TEXTS = [topic.encode() for _, topic in sorted(pydoc_data.topics.topics.items())]

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
        data=(str(folder),),
        max_bytes=20_000,
        cut_bytes=1000,
        sentence="a code for words",
        json=str(tmp_path / "records.json"),
        out=str(tmp_path / "out"),
    )


def by_method(records):
    return {record["method"]: record for record in records}


def test_tokens_are_looked_at_on_the_same_text(words, tmp_path, capsys):
    options = TokensOptions(tokenizer=METHODS, **words, samples=20)
    records = analyze("tokens", options)["tokens"]
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
    words |= dict(prefixes=20, changes=10, pieces="BPE[v=300]", seed=1)
    options = StabilityOptions(tokenizer=METHODS, **words)
    records = analyze("stability", options)["stability"]
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
    again = analyze("stability", dataclasses.replace(options, tokenizer=METHODS[:2]))
    assert again["stability"] == records[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of real text."""
    folder = tmp_path_factory.mktemp("text")
    lines = [json.dumps({"text": text.decode()}) for text in TEXTS]
    (folder / "topics.jsonl").write_text("\n".join(lines))
    return folder


def test_entropy_prints_a_table_and_writes_records_and_a_picture(folder, tmp_path, capsys):
    options = EntropyOptions(
        tokenizer=("Bytes", "GZip[v=256]"),
        text=(f"some={folder}", f"the same={folder}"),
        train_bytes=60_000,
        max_bytes=20_000,
        n=4,
        json=str(tmp_path / "all.json"),
        summary=str(tmp_path / "four.json"),
        out=str(tmp_path),
    )
    records = analyze("entropy", options)["entropy"]
    assert len(records) == 2 * 2 * 4
    assert json.loads((tmp_path / "all.json").read_text()) == records
    summary = json.loads((tmp_path / "four.json").read_text())
    assert [row["text"] for row in summary] == ["some"] * 2 + ["the same"] * 2 + ["OpenWebText"] * 2
    assert summary[0]["held_out_bits_per_byte"] == summary[2]["held_out_bits_per_byte"]
    printed = capsys.readouterr().out
    assert "4-grams" in printed
    assert (tmp_path / "entropy.png").stat().st_size > 10_000


def test_compressed_bits_are_nearer_to_random_than_text_and_random_ones_nearest(folder, tmp_path):
    methods = ("Bytes", "GZip[v=256]")
    options = UniformityOptions(tokenizer=methods, data=(str(folder),), out=str(tmp_path))
    records = analyze("uniformity", options)["uniformity"]
    assert (tmp_path / "uniformity.png").stat().st_size > 10_000
    for n in (4, 8):
        of_n = [record for record in records if record["n"] == n]
        for values in ("n-grams", "tokens of n bits"):
            text, packed = (record for record in of_n if record["values"] == values)
            assert text["kl_bits"] > 10 * packed["kl_bits"] > packed["random_kl_bits"] > 0
    # The first bit of every byte of ASCII is 0, so 8 bits hold 7 at most.
    eight = next(r for r in records if r["n"] == 8 and r["values"] != "n-grams")
    assert eight["method"] == "Bytes" and eight["kl_bits"] > 1


@pytest.mark.parametrize(
    ("files", "named", "message"),
    [
        ((), (), "say which text"),
        (("a.txt",), ("b=c.txt",), "give one of them"),
        ((), ("c.txt",), r"written NAME=FILES; got 'c.txt'"),
        ((), ("=c.txt",), r"written NAME=FILES; got 'c.txt'"),
        ((), ("a={0}", "a={0}"), "the same name"),
    ],
)
def test_texts_that_are_named_wrongly_are_refused(folder, files, named, message):
    with pytest.raises(ValueError, match=message):
        open_texts(TextOptions(data=files, text=tuple(name.format(folder) for name in named)))


def test_codes_without_groups_of_bits_are_refused(folder):
    with pytest.raises(ValueError, match=r"BPE\[v=300\] has 299 ids"):
        options = UniformityOptions(tokenizer=("Bytes", "BPE[v=300]"), data=(str(folder),))
        analyze("uniformity", options)
