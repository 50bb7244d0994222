"""Published records: what was planned never stands under the name of what was measured."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "configs" / "results"
COUNTED = ("step", "tokens_seen", "bytes_seen")


def records():
    for path in sorted(RESULTS.glob("*.json")):
        rows = json.loads(path.read_text())
        yield from ((path.name, row) for row in (rows if isinstance(rows, list) else [rows]))


@pytest.mark.parametrize("key", COUNTED)
def test_what_a_loop_counted_is_a_whole_number(key):
    found = [(name, row[key]) for name, row in records() if row.get(key) is not None]
    assert len(found) > 50
    assert [(name, value) for name, value in found if type(value) is not int] == []


def test_training_flops_are_those_of_the_bytes_that_were_read():
    rows = [row for _, row in records() if {"train_flops", "train_flops_per_byte"} <= row.keys()]
    assert len(rows) > 100
    for row in rows:
        # Where M1 drives the code, FLOPs per byte were planned with the ratio of a sample.
        expected = row["train_flops_per_byte"] * row["bytes_seen"]
        assert row["train_flops"] == pytest.approx(expected, rel=0.06), row["name"]


def test_a_plan_says_that_it_is_one():
    planned = [(name, key) for name, row in records() for key in row if key.startswith("planned_")]
    assert not planned, "published records are measured"


def test_every_program_of_the_table_was_compiled_and_costs_what_the_ledger_says():
    rows = json.loads((RESULTS / "ahead_of_time.json").read_text())
    cells = {(row["name"], row["topology"], row["strategy"]) for row in rows}
    assert len(rows) == len(cells) == 4 * 3 * 3
    for row in rows:
        assert row["xla_flops"] == pytest.approx(row["ledger_flops"], rel=0.02), row["name"]


@pytest.mark.parametrize("name", ["documents_fifty", "documents_lester"])
def test_every_number_beside_a_statement_is_that_of_its_record(name):
    statements = json.loads((RESULTS / f"{name}.json").read_text())
    n_numbers = 0
    for row in statements:
        assert row["verdict"] in ("same", "differs", "not tested here")
        assert row["because"] or row["verdict"] == "same", row["statement"]
        for place in row["found_in"].split("; "):
            assert place == "-" or (RESULTS.parents[1] / place).exists(), place
        for source in row.get("sources", ()):
            records = json.loads((RESULTS / f"{source['file']}.json").read_text())
            wanted = source["where"].items()
            (record,) = [r for r in records if all(r.get(k) == v for k, v in wanted)]
            value = record[source["key"]]
            if not isinstance(value, str):
                value = format(value * source["scale"], source["format"])
            assert value in row["ours"], (row["statement"], value)
            n_numbers += 1
    assert n_numbers > 15
