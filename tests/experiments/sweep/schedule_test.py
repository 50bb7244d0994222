"""What may begin, what is tried again, and what the manifest says."""

import json

import pytest

from latent_jax.experiments.sweep.jobs import RESULT, cell_folder
from latent_jax.experiments.sweep.schedule import MANIFEST, Schedule
from latent_jax.methods.cells import Sweep, name_of, product

SWEEP = Sweep(
    cells=product(
        method=("Bytes", "GZip[v=65k]", "AC[v=256]", "AC[v=65k]"),
        size=("100k",),
        budget=("tokens:50000",),
    )
)
METHODS = ("Bytes", "GZip[v=65536]", "AC[v=256]", "AC[v=65536]")
BYTES, GZIP, AC, AC65 = map(name_of, SWEEP.cells)


def records():
    return [
        {
            "name": name_of(cell),
            "method": method,
            "config": f"configs/m2.py:method={cell['method']}",
            "budget": "tokens:50000",
            "row_length": 512,
            "vocab_size": 257,
            "planned_train_flops": flops,
        }
        for cell, method, flops in zip(SWEEP.cells, METHODS, (1.0, 5.0, 2.0, 9.0), strict=True)
    ]


@pytest.fixture
def schedule(tmp_path):
    return Schedule("words", SWEEP, tmp_path, records(), retries=1)


def finish(tmp_path, name, **changes):
    record = next(record for record in records() if record["name"] == name)
    folder = cell_folder(tmp_path, name)
    folder.mkdir(parents=True)
    (folder / RESULT).write_text(json.dumps({**record, "bits_per_byte": 2.0, **changes}))


def states(tmp_path):
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    return {cell["name"]: cell["state"] for cell in manifest["cells"]}


def test_rows_come_first_then_the_most_expensive_that_can_begin(schedule, tmp_path):
    jobs = [schedule.next() for _ in range(4)]
    assert [job and job["name"] for job in jobs] == ["rows of AC", GZIP, BYTES, None]
    # One pass of M1 makes the rows of both widths.
    assert [r["method"] for r in jobs[0]["records"]] == ["AC[v=256]", "AC[v=65536]"]
    assert states(tmp_path) == {BYTES: "running", GZIP: "running", AC: "waiting", AC65: "waiting"}
    assert schedule.ended(jobs[0], None)
    assert [schedule.next()["name"] for _ in range(2)] == [AC65, AC]
    assert schedule.next() is None


def test_what_failed_is_tried_again_and_then_given_up(schedule, tmp_path):
    rows = schedule.next()
    assert not schedule.ended(rows, "no space")
    assert schedule.next()["name"] == "rows of AC"
    assert schedule.ended(rows, "no space still")
    assert schedule.failed == {"rows of AC": "no space still"}
    gzip = schedule.next()
    assert not schedule.ended(gzip, "killed")
    assert schedule.next()["name"] == GZIP
    finish(tmp_path, GZIP)
    assert schedule.ended(gzip, None)
    assert GZIP not in schedule.failed and states(tmp_path)[GZIP] == "finished"
    assert set(schedule.unfinished) == {BYTES, AC, AC65}
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["rows to encode"] == {"AC": ["no space", "no space still"]}


def test_finished_cells_are_skipped(tmp_path):
    finish(tmp_path, AC65)
    finish(tmp_path, GZIP)
    schedule = Schedule("words", SWEEP, tmp_path, records(), retries=1)
    assert schedule.next()["records"][0]["method"] == "AC[v=256]"
    assert schedule.next()["name"] == BYTES
    assert schedule.next() is None and set(schedule.unfinished) == {BYTES, AC}


def test_a_cell_of_another_sweep_is_refused(tmp_path):
    finish(tmp_path, GZIP, budget="tokens:70000")
    with pytest.raises(ValueError, match="budget: tokens:70000 then, tokens:50000 now"):
        Schedule("words", SWEEP, tmp_path, records(), retries=1)
