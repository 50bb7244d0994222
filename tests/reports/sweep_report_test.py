"""Tables, tests and verdicts of sweeps whose answers are known, and the pages made of them."""

import json

import numpy as np
import pytest
from scipy import stats

from latent_jax.reports.command import report
from latent_jax.reports.latent_figures import bar_parts
from latent_jax.reports.paired import Effect
from latent_jax.reports.records import RunFolderError
from latent_jax.reports.scores import Sample, Scores, read_cells
from latent_jax.reports.sweep_report import report_sweep, sweep_tables
from latent_jax.reports.tables import markdown_table
from latent_jax.reports.trial import REFUTED, SUPPORTED, UNDECIDED, UNTRIED
from latent_jax.reports.verdicts import verdict_table

PAPER = {
    # bits per byte at 25m and 113m, uniform, bytes per token: Lester et al. 2024, tables 12 and 15
    "Bytes": (1.29, 1.16, 8.0, 1.0),
    "SentencePiece[v=32000]": (1.12, 1.01, 3.47, 4.28),
    "AC[v=256]": (1.46, 1.46, 1.46, 5.49),
    "AC[v=65536]": (1.46, 1.46, 1.46, 10.98),
    "StaticAC[v=256]": (4.61, 4.61, 4.62, 1.73),
    "StaticAC[v=65536]": (4.60, 4.60, 4.62, 3.46),
    "EqualInfoAC[b=16,v=256]": (1.47, 1.23, 3.01, 2.66),
    "EqualInfoAC[b=16,v=65536]": (1.25, 1.12, 3.01, 5.31),
    "EqualInfoAC[b=32,v=256]": (2.05, 1.94, 2.29, 3.49),
    "EqualInfoAC[b=32,v=65536]": (1.95, 1.85, 2.29, 6.97),
    "EqualInfoAC[b=64,v=256]": (1.85, 1.82, 1.92, 4.16),
    "EqualInfoAC[b=64,v=65536]": (1.82, 1.80, 1.92, 8.33),
    "EqualInfoAC[b=128,v=256]": (1.71, 1.71, 1.735, 4.61),
    "EqualInfoAC[b=128,v=65536]": (1.70, 1.69, 1.735, 9.22),
    "GZip[v=256]": (2.34, 1.93, 3.59, 2.23),
    "GZip[v=65536]": (2.92, 2.69, 3.59, 4.47),
}


def cell(method, size, bits, seed=0, **words):
    millions = {"25m": 25, "113m": 113}[size]
    ratio, uniform = words.pop("ratio", 1.0), words.pop("uniform", 8.0)
    return {
        "name": f"{words.get('group', '')}{method}-{size}-{seed}",
        "group": "",
        "method": method,
        "size": size,
        "seed": seed,
        "budget": "tokens:100",
        "row_length": 512,
        "vocab_size": 257,
        "evaluation_bytes": 100_000,
        "n_parameters": millions * 10**6 + 500,
        "n_embedding_parameters": 500,
        "bytes_per_token": ratio,
        "bytes_seen": 100 * ratio,
        "uniform_bits_per_byte": uniform,
        "unigram_bits_per_byte": uniform - 0.001,
        "inference_flops_per_byte": 2e6 * millions / ratio,
        "bits_per_byte": bits,
        "paper_bits_per_byte": bits + 0.01,
        **words,
    }


def paper_cells(n_seeds=2):
    """Return the paper's numbers; it has one seed, and those after the first differ a little."""
    return [
        cell(method, size, bits + 1e-4 * seed, seed, uniform=uniform, ratio=ratio)
        for method, (small, large, uniform, ratio) in PAPER.items()
        for size, bits in (("113m", large), ("25m", small))
        for seed in range(n_seeds)
    ]


def write(folder, records):
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text("{}")
    for record in records:
        path = folder / "cells" / record["name"]
        path.mkdir(parents=True)
        (path / "cell.json").write_text(json.dumps(record))
    return folder


def verdicts(records):
    return {row["claim"]: row for row in verdict_table(records)}


def test_the_papers_own_numbers_give_the_papers_own_verdicts():
    rows = verdicts(paper_cells())
    ablation = "Resetting M1 in every window is better than in every other one, and that than never"
    assert rows.pop(ablation)["verdict"] == UNTRIED
    for claim, row in rows.items():
        assert row["verdict"] == SUPPORTED, (claim, row["numbers"])
        assert row["n_tried"] == row["n_supporting"] > 0 == row["n_refuting"]


def test_one_seed_decides_nothing_but_what_has_no_seeds():
    rows = verdicts(paper_cells(n_seeds=1))
    decided = {claim for claim, row in rows.items() if row["verdict"] == SUPPORTED}
    assert decided == {
        "EqualInfoAC[b=16,v=65k] is ahead of SentencePiece in bytes per step",
        "A unigram model gains nothing on the output of AC",
    }
    others = [row for claim, row in rows.items() if claim not in decided and row["n_tried"]]
    assert {row["verdict"] for row in others} == {UNDECIDED}
    assert all("(1 seed)" in row["numbers"] and row["smallest_effect"] is None for row in others)


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("SentencePiece has the fewest bits per byte", {"Bytes": 0.9}),
        ("AC is not learned beyond M1: the uniform model is as good", {"AC[v=65536]": 1.4}),
        ("StaticAC is not learned either", {"StaticAC[v=256]": 4.0}),
        ("EqualInfoAC is learned", {"EqualInfoAC[b=64,v=256]": 1.92}),
        ("Windows of 16 bits are better than longer ones", {"EqualInfoAC[b=16,v=65536]": 1.99}),
        ("Tokens of 16 bits are better than tokens of 8", {"EqualInfoAC[b=32,v=256]": 1.5}),
        ("EqualInfoAC[b=16,v=65k] is better than Bytes", {"Bytes": 1.0}),
        ("GZip is learned, and more so with size", {"GZip[v=256]": 2.5}),
        ("GZip is better with tokens of 8 bits", {"GZip[v=256]": 2.7}),
    ],
)
def test_a_claim_falls_with_one_cell(claim, change):
    records = paper_cells()
    ((method, bits),) = change.items()
    for record in records:
        if (record["method"], record["size"]) == (method, "113m"):
            record["bits_per_byte"] = bits + 1e-4 * record["seed"]
    row = verdicts(records)[claim]
    assert row["verdict"] == REFUTED and row["n_supporting"] < row["n_tried"]
    assert "113m" in row["numbers"] and f"{bits:.3f}" in row["numbers"]


def test_an_ablation_is_an_order_within_its_group():
    names = [f"EqualInfoAC[b=16,v=256{r}]" for r in ("", ",reset=every_other", ",reset=never")]
    rising = [
        cell(name, "25m", bits + 0.2 * seed, seed, group="reset")
        for name, bits in zip(names, (1.1, 1.7, 1.8), strict=True)
        for seed in range(2)
    ]
    claim = "Resetting M1 in every window is better than in every other one, and that than never"
    assert verdicts(rising)[claim]["verdict"] == SUPPORTED, "seeds are paired"
    for seed in range(2):
        rising[4 + seed]["bits_per_byte"] = 1.5 + 0.2 * seed
    assert verdicts(rising)[claim]["verdict"] == REFUTED
    table = sweep_tables(rising)["ablations"]
    above = {row["method"]: row["bits_above_best"] for row in table}
    assert above == pytest.approx(dict(zip(names, (0.0, 0.6, 0.4), strict=True)))


def test_the_interval_is_that_of_the_paired_t_test():
    one, other = Sample({0: 1.0, 1: 1.1, 2: 1.2}), Sample({1: 1.5, 2: 1.4, 0: 1.3, 7: 9.0})
    effect = Effect.of(one.by_seed, other.by_seed)
    a, b = np.array([1.0, 1.1, 1.2]), np.array([1.3, 1.5, 1.4])
    expected = stats.ttest_rel(b, a)
    low, high = expected.confidence_interval(0.95)
    assert effect.mean == pytest.approx(0.3)
    assert effect.half_width() == pytest.approx((high - low) / 2)
    assert effect.is_positive() is (True if expected.pvalue < 0.05 else None)
    for level in (0.5, 1 - expected.pvalue + 1e-6, 1 - expected.pvalue - 1e-6):
        assert effect.is_positive(level) is (True if expected.pvalue < 1 - level else None)
    assert Effect.of(other.by_seed, one.by_seed).is_positive(0.5) is False
    assert Effect.of(one.by_seed, {0: 2.0}).half_width() is None
    assert Effect.of(one.by_seed, {5: 2.0}).mean is None
    assert one.deviation == pytest.approx(0.1) and Sample({0: 1.0}).deviation is None


def test_seeds_on_both_sides_of_zero_leave_a_claim_undecided():
    claim = "EqualInfoAC[b=16,v=65k] is better than Bytes"
    windows = [cell("EqualInfoAC[b=16,v=65536]", "25m", 2.0, seed) for seed in range(3)]
    gains = (0.3, -0.1, 0.2)
    records = [cell("Bytes", "25m", 2.0 + gain, seed) for seed, gain in enumerate(gains)]
    row = verdicts(windows + records)[claim]
    assert row["verdict"] == UNDECIDED and row["n_refuting"] == row["n_supporting"] == 0
    width = Effect(gains).half_width()
    assert row["smallest_effect"] == pytest.approx(width) and f"± {width:.3f}" in row["numbers"]
    refuted = [cell("Bytes", "25m", 1.0 + gain, seed) for seed, gain in enumerate(gains)]
    assert verdicts(windows + refuted)[claim]["verdict"] == REFUTED


def test_seeds_give_means_spread_and_a_test_against_the_best():
    records = [cell("Bytes", "25m", 2.0 + 0.1 * seed, seed) for seed in range(3)]
    records += [cell("GZip[v=256]", "25m", 3.0 + 0.11 * seed, seed) for seed in range(3)]
    records += [cell("AC[v=256]", "25m", 1.0)]
    best, other = sweep_tables(records)["seeds"]
    assert (best["method"], other["method"]) == ("Bytes", "GZip[v=256]")
    assert best["bits_per_byte"] == pytest.approx(2.1) and best["n_seeds"] == 3
    assert "bits_above_best" not in best and other["bits_above_best"] == pytest.approx(1.01)
    assert 0 < other["bits_above_best_half_width"] < 0.1
    row = verdicts(records)["AC is not learned beyond M1: the uniform model is as good"]
    assert row["verdict"] == UNDECIDED, "one seed"


def test_the_main_table_has_a_column_for_each_size_and_the_paper_s_order():
    table = sweep_tables(paper_cells(n_seeds=1))["main"]
    assert [row["method"] for row in table] == list(PAPER)
    assert table[0]["bits_per_byte@25m"] == 1.29 and table[0]["bits_per_byte@113m"] == 1.16
    page = markdown_table(table, ["method", "bits_per_byte@25m", "bits_per_byte@113m"])
    assert "| method | 25m bits/byte | 113m bits/byte |" in page
    assert Scores(paper_cells()).sizes == ["25m", "113m"]


def test_a_unigram_is_left_out_where_the_text_is_too_short_for_it():
    records = [cell("Bytes", "25m", 2.0), cell("AC[v=65536]", "25m", 1.0, vocab_size=65537)]
    rows = sweep_tables(records)["baselines"]
    assert [("unigram_bits_per_byte" in row) for row in rows] == [True, False]


def test_everything_is_written_from_the_folder_alone(tmp_path, capsys):
    records = paper_cells(n_seeds=1)
    records[0]["planned_steps"] = 5
    folder = write(tmp_path / "mine", records)
    assert read_cells(folder) == sorted(records, key=lambda record: record["name"])
    report([str(folder)], results=str(tmp_path / "results" / "mine.json"))
    assert "Claims, tried" in capsys.readouterr().out
    made = {path.name for path in (folder / "report").iterdir()}
    assert {"report.md", "main.csv", "verdicts.csv", "bits_by_window.png"} <= made
    for path in (folder / "report").glob("*.png"):
        assert path.stat().st_size > 20_000
    kept = {path.name for path in (tmp_path / "results").iterdir()}
    assert kept == {f"mine{name}.json" for name in ("", "_main", "_baselines", "_verdicts")}
    published = json.loads((tmp_path / "results" / "mine.json").read_text())
    assert len(published) == len(records)
    assert not any(key.startswith("planned_") for record in published for key in record)
    page = (folder / "report" / "report.md").read_text()
    assert "budget of each: tokens:100" in page and "| Bytes |" in page
    before = page
    report_sweep([folder])
    assert (folder / "report" / "report.md").read_text() == before


def test_a_damaged_cell_and_an_empty_sweep_are_named(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RunFolderError, match="holds no finished cell"):
        report([str(tmp_path)])
    folder = write(tmp_path / "other", [cell("Bytes", "25m", 1.0)])
    (path,) = folder.glob("cells/*/cell.json")
    path.write_text("{half")
    with pytest.raises(RunFolderError, match=r"cell\.json is damaged"):
        report([str(folder)])
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="name only folders of sweeps"):
        report([str(folder), str(tmp_path / "run")])


def test_ablations_join_a_sweep_and_other_budgets_are_refused(tmp_path):
    sweep = write(tmp_path / "sweep", paper_cells())
    method = "EqualInfoAC[b=16,v=256"
    resets = {"": 1.0, ",reset=every_other": 1.1, ",reset=never": 1.2}
    cells = [
        cell(f"{method}{reset}]", "25m", bits + 0.1 * seed, seed, group="reset")
        for reset, bits in resets.items()
        for seed in range(2)
    ]
    ablations = write(tmp_path / "ablations", cells)
    report([str(sweep), str(ablations)])
    page = (sweep / "report" / "report.md").read_text()
    assert f"reset | {method},reset=never]" in page
    claim = "Resetting M1 in every window is better than in every other one, and that than never"
    assert verdicts(paper_cells())[claim]["verdict"] == UNTRIED
    assert verdicts(paper_cells() + cells)[claim]["verdict"] == SUPPORTED
    other = write(tmp_path / "other", [{**cell("Bytes", "25m", 1.0), "budget": "tokens:7"}])
    with pytest.raises(ValueError, match=r"25m have the budgets tokens:100, tokens:7"):
        report([str(sweep), str(other)])


EQUAL_BYTES = dict(budget="bytes:100")


def latent(gradient, beta, bits, seed=0, codes=0.0, perplexity=1000.0, **words):
    setting = dict(beta=beta, lm_gradient=gradient)
    name = f"beta={beta}, lm_gradient={gradient}"
    words = EQUAL_BYTES | setting | dict(setting=name) | words
    record = cell("Latent[conv1d,c=2,k=2048]", "25m", bits, seed, **words)
    record["name"] += name
    record |= {"language_model_bits_per_byte": codes or bits - 0.1, "unigram_bits_per_byte": 5.0}
    reconstruction = {"reconstruction_bits_per_byte": 0.1, "reconstruction_accuracy": 0.99}
    share = {"codebook_perplexity_share": perplexity / 2048, "codebook_perplexity": perplexity}
    choice = {"quantization_error": 0.1, "language_model_choice_nats_per_byte": 5.0}
    return record | reconstruction | share | choice


def latent_cells():
    seeds = [
        latent("input", 0.1, 3.2 + 0.1 * seed, seed, perplexity=1000.0 + seed) for seed in range(3)
    ]
    others = [latent("none", 0.1, 3.5)]
    others += [
        latent("input", 1.0, 3.1, seed, codes=2.8 + 0.1 * seed, perplexity=900.0 - seed)
        for seed in range(2)
    ]
    baselines = [cell("Bytes", "25m", 3.4 + 0.1 * seed, seed, **EQUAL_BYTES) for seed in range(3)]
    baselines += [
        cell("BPE[v=2048]", "25m", 2.8 + 0.1 * seed, seed, **EQUAL_BYTES) for seed in range(3)
    ]
    flops = dict(group="equal FLOPs", budget="flops:1e12")
    again = [latent("input", 0.1, 3.2, **flops), cell("Bytes", "25m", 3.0, **flops)]
    return seeds + others + baselines + again


def test_settings_of_one_method_are_not_its_seeds():
    tables = sweep_tables(latent_cells())
    means = {row["method"]: row["bits_per_byte@25m"] for row in tables["main"]}
    name = "Latent[conv1d,c=2,k=2048], beta={}, lm_gradient={}"
    assert means[name.format(0.1, "input")] == pytest.approx(3.3)
    assert means[name.format(0.1, "none")] == 3.5 and means[name.format(1.0, "input")] == 3.1
    seeds = {row["method"]: row for row in tables["seeds"]}
    assert len(seeds) == 4 and seeds[name.format(0.1, "input")]["n_seeds"] == 3
    (more, *_), (row,) = (
        [r for r in tables["latents"] if r["n_seeds"] == n and not r.get("group")] for n in (1, 3)
    )
    assert row["standard_deviation"] == pytest.approx(0.1) and row["beta"] == 0.1
    assert more["standard_deviation"] is None and row["lm_gradient"] == "input"
    assert [r["bits_per_byte"] for r in tables["latents"] if r.get("group")] == [3.2]


def test_what_is_asked_of_latent_languages_is_tried_on_settings_that_differ_in_one_word():
    found = verdicts(latent_cells())
    assert all(row["source"] == "Fifty 2025" for row in found.values())
    whole = "The LM's gradient through its input shortens the whole code"
    assert found[whole]["verdict"] == UNDECIDED and found[whole]["n_tried"] == 1, "one seed"
    targets = "The LM's gradient through input and targets shortens the whole code"
    assert found[targets]["verdict"] == UNTRIED
    assert found["A greater beta makes codes cheaper to predict"]["verdict"] == SUPPORTED
    collapse = "A great beta collapses the code: the perplexity of codes falls"
    assert found[collapse]["verdict"] == SUPPORTED
    on = "A latent language needs fewer bits than {} on equal bytes"
    at = "A latent language needs fewer bits than {} at equal training FLOPs"
    assert found[on.format("Bytes")]["verdict"] == SUPPORTED
    assert (
        "3.300 against Bytes 3.500 (+0.200 ± 0.000, 3 seeds)"
        in (found[on.format("Bytes")]["numbers"])
    )
    assert found[on.format("BPE")]["verdict"] == REFUTED
    assert found[at.format("Bytes")]["verdict"] == UNDECIDED
    assert found[at.format("BPE")]["verdict"] == UNTRIED
    both = verdicts(latent_cells() + paper_cells())
    assert {row["source"].split(",")[0] for row in both.values()} == {
        "Fifty 2025",
        "Lester et al. 2024",
    }


def test_bars_of_latent_languages_have_two_parts(tmp_path):
    parts = bar_parts(latent_cells())
    assert [part["name"] for part in parts if part["part"] != "codes"] == [
        "BPE[v=2048]",
        "conv1d C=2, beta 1.0, input",
        "conv1d C=2, beta 0.1, input",
        "Bytes",
        "conv1d C=2, beta 0.1, none",
    ]
    bar = {part["part"]: part["bits_per_byte"] for part in parts if "1.0" in part["name"]}
    assert bar == {"codes": pytest.approx(2.85), "reconstruction": pytest.approx(0.25)}
    drawn = report_sweep([write(tmp_path / "sweep", latent_cells())])
    assert tmp_path / "sweep" / "report" / "latents.png" in drawn
    leading = Scores(latent_cells()).leading
    assert leading == [
        "Bytes",
        "BPE[v=2048]",
        "Latent[conv1d,c=2,k=2048], beta=0.1, lm_gradient=input",
    ]
