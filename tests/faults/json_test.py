"""JSON of any shape where a file of ours is read: one line that names the file and what was
expected, or the value; nothing else.
"""

import json
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax import json_files
from latent_jax.experiments.evaluate import evaluate, load_run
from latent_jax.experiments.sweep.jobs import read_result
from latent_jax.json_files import (
    Kind,
    parse,
    read_json,
    read_lines,
    read_sealed,
    sealed,
    with_digest,
    write_sealed,
)
from latent_jax.reports import tables
from latent_jax.reports.command import comparison_table
from latent_jax.reports.records import read_run
from latent_jax.reports.scores import read_cells
from latent_jax.tokenizers import load
from latent_jax.training.metrics import read_records

SHAPES = {
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "an empty object": b"{}",
    "brackets": b"[" * 100_000,
    "objects": b'{"a":' * 100_000,
    "a deep list": b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}",
    "no text": b"\xff\xfe{\x00}\x00",
    "half": b'{"method": "By',
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": 1e999}',
    "a long number": b'{"a": ' + b"9" * 5000 + b"}",
    "a number beyond all arrays": b'{"a": 1' + b"0" * 40 + b"}",
    "text after it": b"{} {}",
    "zeros": b"\0" * 64,
}

READERS = {
    "config.json": lambda run: evaluate(run, max_bytes=100),
    "config.json of a report": lambda run: read_run(run),
    "metrics.jsonl": lambda run: read_run(run),
    "metrics.jsonl of a resume": lambda run: read_records(run / "metrics.jsonl"),
    "environment.json": lambda run: evaluate(run, max_bytes=100),
    "tokenizer/tokenizer.json": lambda run: load(run / "tokenizer"),
    "cells/a/cell.json": lambda run: read_cells(run),
    "cells/a/cell.json of a sweep": lambda run: read_result(run, "a"),
    "records.json": lambda run: tables.read_table(run / "records.json"),
}

FINE = {("environment.json", "an empty object"), ("records.json", "a list")}
FINE |= {(name, "empty") for name in ("metrics.jsonl", "metrics.jsonl of a resume")}
"""What older versions left, or what holds nothing yet."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", READERS)
def test_each_reader_names_its_file(workdir, name, shape):
    path = workdir / name.partition(" of ")[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = SHAPES[shape]
    path.write_bytes(content + b"\n" if path.suffix == ".jsonl" and content else content)
    if (name, shape) in FINE:
        READERS[name](workdir)
        return
    with pytest.raises(ValueError, match=re.escape(path.name)) as caught:
        READERS[name](workdir)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, r"config.json has null as its 'model', where an object was expected"),
        ({"method": 5}, r"config.json has 5 as its 'method', where text was expected"),
        ({"row_length": True}, r"has true as its 'row_length', where a whole number was expected"),
        ({"data": {}}, r"data in .*config.json has no 'cache_dir', where text was expected"),
        ({"model": {}}, r"config.json is no configuration of a run that can be read here"),
        ({"training": {"strategy": []}}, r"config.json is no configuration of a run|strategy"),
    ],
)
def test_a_configuration_of_others_is_one_line(workdir, changes, message):
    (workdir / "environment.json").unlink()  # as in a folder that somebody has written
    config = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ValueError, match=message) as caught:
        load_run(workdir)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"batch_size": 8', '"batch_size": 16', "config.json was damaged or changed since"),
        ('"evaluation_bytes": 500', '"evaluation_bytes": 501', "config.json was damaged"),
    ],
)
def test_a_changed_configuration_is_not_evaluated(workdir, old, new, message):
    text = (workdir / "config.json").read_text()
    assert old in text
    (workdir / "config.json").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        evaluate(workdir, max_bytes=100)
    (workdir / "environment.json").unlink()  # the way out
    assert evaluate(workdir, checkpoint="latest", max_bytes=100)["step"] == 6


@pytest.mark.parametrize("line", [1, 3, 5])
def test_a_flip_in_a_line_of_metrics_is_named(workdir, line):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().split("\n")
    lines[line - 1] = lines[line - 1].replace('"step": ', '"step": 1')
    path.write_text("\n".join(lines))
    for read in (read_run, lambda run: read_records(run / "metrics.jsonl")):
        with pytest.raises(ValueError, match=rf"metrics.jsonl, line {line} was damaged or changed"):
            read(workdir)


def test_a_line_that_lost_its_digest_is_named(workdir):
    path = workdir / "metrics.jsonl"
    path.write_text(path.read_text().replace('"digest"', '"digust"', 1))
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 has lost its digest, or gained"):
        read_run(workdir)


CELL = {"name": "a", "method": "Bytes", "size": "nano", "budget": "bytes:1", "bits_per_byte": 2.0}
CELL |= dict.fromkeys(
    ("bytes_per_token", "bytes_seen", "n_parameters", "n_embedding_parameters"), 1
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": None}, "has null as its 'budget', where text was expected"),
        ({"budget": ...}, "has no 'budget', where text was expected"),
        (
            {"bits_per_byte": "2.0"},
            "has \"2.0\" as its 'bits_per_byte', where a number was expected",
        ),
        ({"n_parameters": []}, "has an empty list as its 'n_parameters', where a number"),
        (
            {"uniform_bits_per_byte": "x"},
            "has \"x\" as its 'uniform_bits_per_byte', where a number",
        ),
        ({"anything": {"a": 1}}, "has an object of 1 as its 'anything', where a number"),
        ({"group": 5}, "has 5 as its 'group', where text was expected"),
    ],
)
def test_a_cell_of_others_is_one_line(tmp_path, changes, message):
    (tmp_path / "cells" / "a").mkdir(parents=True)
    path = tmp_path / "cells" / "a" / "cell.json"
    path.write_text(json.dumps(CELL))
    assert read_cells(tmp_path) == [CELL]
    changed = {key: value for key, value in {**CELL, **changes}.items() if value is not ...}
    path.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=message) as caught:
        read_cells(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ([], "training in .*config.json holds an empty list|has an empty list as its 'training'"),
        ({"best_metric": 5}, "training in .*config.json has 5 as its 'best_metric'"),
    ],
)
def test_a_report_says_what_is_wrong_with_a_configuration(tmp_path, training, message):
    config = {"method": "Bytes", "training": training}
    (tmp_path / "config.json").write_text(json.dumps(config))
    line = {"step": 1, "split": "validation", "bytes_seen": 1, "evaluations_without_improvement": 0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path)
    for metric in ("bits_per_byte", "nope"):
        config = {"method": "Bytes", "training": {"best_metric": metric}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=rf"metrics.jsonl has validation .*without '{metric}'"):
            comparison_table([tmp_path])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**39), 10**39)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.data())
def test_a_seal_holds_every_value_and_finds_every_flip(tmp_path_factory, value, data):
    value = {k: v for k, v in value.items() if k not in ("sealed", "digest")}
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    write_sealed(path, value)
    assert read_sealed(path) == (value, True)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        assert read_json(path) == value, "a flip in white space is none"
    except ValueError as error:
        assert str(path) in str(error)


@given(st.binary(max_size=200) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_a_value_or_one_line(content):
    try:
        assert isinstance(parse(content, "a file", Kind(keys={"a": int}))["a"], int)
    except ValueError as error:
        assert str(error).startswith("a file ") and "\n" not in str(error)


def test_a_sign_is_no_digit():
    most = 10**json_files.MOST_DIGITS - 1
    assert parse(f'{{"a": {-most}}}', "a file") == {"a": -most}
    with pytest.raises(ValueError, match="more than 40 digits"):
        parse(f'{{"a": {-most - 1}}}', "a file")


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "MOST_BYTES", 100)
    path = tmp_path / "huge.json"
    path.write_text(json.dumps(["x" * 200]))
    with pytest.raises(ValueError, match=r"huge.json has more than 100 bytes"):
        read_json(path)


def test_lines_have_digests_all_or_none(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(with_digest({"a": i})) + "\n" for i in range(3)) + '{"a": ')
    assert list(read_lines(path)) == [{"a": 0}, {"a": 1}, {"a": 2}]
    path.write_text(json.dumps(with_digest({"a": 0})) + "\n" + json.dumps({"a": 1}) + "\n")
    with pytest.raises(ValueError, match=r"lines.jsonl, line 2 has lost its digest"):
        list(read_lines(path))
    assert sealed({"a": 1})["sealed"] == 1
    shutil.rmtree(tmp_path)
    with pytest.raises(ValueError, match=r"lines.jsonl cannot be read: No such file"):
        list(read_lines(path))
