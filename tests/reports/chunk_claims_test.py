"""Verdicts on chunks, from cells whose answers are known."""

import json

import pytest

from configs.sweeps.chunking_laptop import ARMS, MAIN, get_sweep
from latent_jax.methods.cells import name_of, setting_of
from latent_jax.reports.chunk_claims import CHUNK_CLAIMS, RATE, chunk_table, chunk_verdicts
from latent_jax.reports.page.parts import Figure, Table
from latent_jax.reports.page.sweep_sections import sweep_sections
from latent_jax.reports.scores import CELL_FILE, Scores, read_cells
from latent_jax.reports.sweep_report import sweep_tables
from latent_jax.reports.trial import REFUTED, SUPPORTED, UNDECIDED, UNTRIED

AS_CLAIMED = {
    "hnet2": 1.0,
    "blt": 1.11,
    "hnet": 1.1,
    "concept": 1.2,
    "synergy": 1.2,
    "placed": 1.25,
    "space": 1.3,
    "free": 1.3,
    "stride4": 1.35,
    "bpe": 1.4,
    "bytes": 1.5,
}
"""Bits per byte of arms where all claims hold."""


def cells(bits, rates, seeds=(0, 1, 2)):
    """Return a record for each arm and seed; `bits` and `rates` map arm -> value."""
    return [
        {
            "method": ARMS[arm],
            "size": "1m",
            "seed": seed,
            "budget": "bytes:1000",
            "bits_per_byte": value + 0.001 * seed,
            "n_parameters": 100,
            "n_embedding_parameters": 10,
            "inference_flops_per_byte": 1e6,
            **({RATE: rates[arm] + 0.001 * seed} if arm in rates else {}),
        }
        for arm, value in bits.items()
        for seed in seeds
    ]


def verdicts(records):
    return [row["verdict"] for row in chunk_verdicts(records)]


def test_what_is_claimed_is_supported_and_its_opposite_refuted():
    rates = {"hnet": 4.01, "free": 4.8}
    assert verdicts(cells(AS_CLAIMED, rates)) == [SUPPORTED] * len(CHUNK_CLAIMS)
    opposite = {arm: -bits for arm, bits in AS_CLAIMED.items()} | {"blt": -2.0}
    rates = {"hnet": 4.2, "free": 4.0}
    assert verdicts(cells(opposite, rates)) == [REFUTED] * len(CHUNK_CLAIMS)


def test_the_order_of_one_stage_and_spaces_is_no_claim_of_the_paper():
    """In table 2 of H-Net they are level, 0.755 and 0.755, then 0.728 and 0.726."""
    as_published = {"hnet2": 0.715, "space": 0.726, "hnet": 0.728, "bpe": 0.74}
    rows = chunk_verdicts(cells(as_published, {}))
    of_table = [row for row in rows if row["source"].endswith("table 2")]
    assert [row["verdict"] for row in of_table] == [SUPPORTED, REFUTED]
    assert of_table[0]["n_tried"] == 4 and "this laboratory" in of_table[1]["source"]


def test_one_seed_decides_nothing_and_no_arm_tries_nothing():
    rates = {"hnet": 4.01, "free": 4.8}
    assert set(verdicts(cells(AS_CLAIMED, rates, (0,)))) == {UNDECIDED}
    assert set(verdicts(cells({"stride2": 1.0}, {}))) == {UNTRIED}


def test_the_cells_of_the_study_are_read_and_try_every_claim(tmp_path):
    known = cells({arm: AS_CLAIMED[arm] for arm in MAIN}, {"hnet": 4.0, "free": 4.0})
    known = {(record["method"], record["seed"]): record for record in known}
    # As a sweep writes them, with the folder that BLT reads.
    for cell in get_sweep(f"entropy=runs/blt/entropy,arms={'+'.join(MAIN)}").cells:
        found = known[cell["method"], cell["seed"]] | {"name": name_of(cell), **setting_of(cell)}
        folder = tmp_path / "cells" / found["name"]
        folder.mkdir(parents=True)
        found |= {"bytes_per_token": 1.0, "bytes_seen": 1000.0}
        (folder / CELL_FILE).write_text(json.dumps(found))
    records = read_cells(tmp_path)
    assert len(records) == 3 * len(MAIN) and UNTRIED not in verdicts(records)
    assert "BLT[n=4]" in [row["method"] for row in sweep_tables(records)["chunks"]]


def test_the_table_is_in_the_order_of_bits_and_has_rates_only_of_chunks():
    records = cells({"bytes": 1.5, "hnet": 1.1, "free": 1.3}, {"hnet": 4.0, "free": 4.8})
    rows = chunk_table(records)
    assert [row["method"] for row in rows] == ["HNet[n=4]", "HNet[n=4,control=0]", "Bytes"]
    assert rows[0][RATE] == pytest.approx(4.001) and RATE not in rows[2]
    assert rows[0]["n_seeds"] == 3 and rows[0]["standard_deviation"] == pytest.approx(0.001)
    assert sweep_tables(records)["chunks"] == rows
    assert chunk_table(cells({"bytes": 1.5}, {})) == []


def with_stages():
    """Return cells of three arms, one of which has two stages."""
    rates = {"hnet": 4.0, "hnet2": 2.1}
    records = cells({"hnet": 1.3, "hnet2": 1.2, "bytes": 1.5}, rates, seeds=(0, 2))
    second = {ARMS["hnet2"]: {"bytes_per_chunk_2": 4.2}}
    return [{**r, "bytes_per_token": 1.0, **second.get(r["method"], {})} for r in records]


def test_a_step_of_a_model_with_chunks_reads_a_chunk_of_its_last_stage():
    scores = Scores(with_stages())
    assert scores.bytes_per_step(ARMS["hnet2"], "1m") == pytest.approx(4.2)
    assert scores.bytes_per_step(ARMS["hnet"], "1m") == pytest.approx(4.001)
    assert scores.bytes_per_step(ARMS["bytes"], "1m") == 1.0
    assert scores.bytes_per_step(ARMS["bpe"], "1m") is None


def test_a_page_has_the_table_of_chunks_and_their_figure():
    parts = {
        part.id: part
        for section in sweep_sections(with_stages(), [])
        for part in section.parts
        if isinstance(part, Figure | Table)
    }
    assert parts["chunks"].records[0]["bytes_per_chunk_2"] == pytest.approx(4.2)
    steps = {r["method"]: r["bytes_per_step"] for r in parts["bits_by_bytes_per_step"].records}
    assert steps[ARMS["bytes"]] == 1.0 and steps[ARMS["hnet2"]] == pytest.approx(4.2)
    assert "bytes_per_chunk_1" in parts["cells"].columns
    # All cost the same, and have 90 parameters, whatever their size is called.
    x = parts["bits_by_flops"].wide["layer"][0]["encoding"]["x"]["scale"]
    assert x["type"] == "linear" and x["domain"] == pytest.approx([0.8e6, 1.2e6])
    assert parts["bits_by_parameters"].title == "Over 90 parameters"
