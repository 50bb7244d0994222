"""A damaged checkpoint, whatever is wrong with it: the newest good one serves, it is named and left
alone; asked for by its step it is one line.
"""

import contextlib
import json
import os
import re
import shutil

import jax
import numpy as np
import pytest

from latent_jax.experiments.evaluate import load_run
from latent_jax.experiments.run import run
from latent_jax.json_files import DIGEST, SEALED, write_sealed
from latent_jax.training import CheckpointError, Checkpoints
from latent_jax.training import checkpoint_files as files
from latent_jax.training.good_steps import GoodSteps
from latent_jax.training.identity import DIGEST_RULES, check_identity, digests
from latent_jax.training.init_from import open_weights
from latent_jax.training.mesh import make_mesh
from tests.faults.conftest import tiny


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 4
    path.write_bytes(content)


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reseal(path, key):
    """Take a key away as who wrote the file would, so that its digest holds."""
    value = json.loads(path.read_text())
    write_sealed(path, {k: v for k, v in value.items() if k not in (key, SEALED, DIGEST)})


def misspell(step):
    """Change one letter in what Orbax says of the parameters."""
    for path in (step / "variables").rglob("*"):
        if path.is_file() and b"query_key_value" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"query_key_value", b"puery_key_value"))


def zero(path):
    path.symlink_to("/dev/zero")


def empty_folder(step):
    shutil.rmtree(step)
    step.mkdir()


def swap_items(step):
    """Give the step the parameters of another one, bit for bit."""
    shutil.rmtree(step / "variables")
    shutil.copytree(step.parent / "4" / "variables", step / "variables")


def swap_steps(step):
    shutil.rmtree(step)
    shutil.copytree(step.parent / "4", step)


DAMAGES = {
    "empty metric": (lambda s: (s / "metrics/metrics").write_text(""), "metrics/metrics cannot"),
    "metric of another shape": (
        lambda s: (s / "metrics/metrics").write_text("[[[]]]"),
        r"metrics/metrics holds a list of 1, where an object",
    ),
    "another metric": (lambda s: rewrite(s / "metrics/metrics", metric=1.0), "metrics says 1.0"),
    "no metric": (lambda s: (s / "metrics/metrics").unlink(), "metrics/metrics cannot be read"),
    "empty folder": (empty_folder, r"was not written by latent_jax \(it has no item 'run'\)"),
    "no parameters": (lambda s: shutil.rmtree(s / "variables"), "6/variables is missing"),
    "no metadata": (lambda s: (s / "run/metadata.json").unlink(), "metadata.json cannot be read"),
    "metadata cut": (lambda s: os.truncate(s / "run/metadata.json", 99), "cannot be read as JSON"),
    "metadata null": (lambda s: (s / "run/metadata.json").write_text("null"), "holds null, where"),
    "metadata of brackets": (
        lambda s: (s / "run/metadata.json").write_text("[" * 100_000),
        "metadata.json is nested too deeply",
    ),
    "metadata no text": (
        lambda s: (s / "run/metadata.json").write_bytes(b"\xff\xfe{}"),
        "is not UTF-8 text: invalid start byte at byte 0",
    ),
    "bytes_seen": (lambda s: rewrite(s / "run/metadata.json", bytes_seen=7), "its digest is"),
    "seconds": (lambda s: rewrite(s / "run/metadata.json", seconds=1e9), "its digest is"),
    "data offsets": (lambda s: flip(s / "run/data_0.json", 0.9), "run/data_0.json"),
    "no data offsets": (lambda s: (s / "run/data_0.json").write_text("{}"), "lost its digest"),
    "another step's name": (swap_steps, r"6/run/metadata.json is that of step 4"),
    "another step's parameters": (swap_items, r"the bits of .*6/variables have digest"),
    "no seconds": (lambda s: reseal(s / "run/metadata.json", "seconds"), "has no 'seconds'"),
    "no evaluated_step": (
        lambda s: reseal(s / "run/metadata.json", "evaluated_step"),
        "has no 'evaluated_step'",
    ),
    "no state of the data": (lambda s: reseal(s / "run/data_0.json", "state"), "has no 'state'"),
    "a flipped name": (misspell, "6 is truncated or damaged: .*puery_key_value"),
    "a flipped parameter": (lambda s: flip(largest(s / "variables")), "6/variables|step/6 is"),
    "a flipped moment": (lambda s: flip(largest(s / "optimizer")), "6/optimizer"),
    "a pipe": (
        lambda s: os.mkfifo(s / "variables" / "_CHECKPOINT"),
        "variables/_CHECKPOINT is no file, but a pipe",
    ),
    "metadata is a pipe": (
        lambda s: ((s / "run/metadata.json").unlink(), os.mkfifo(s / "run/metadata.json")),
        "run/metadata.json is no file, but a pipe",
    ),
    "an endless file": (
        lambda s: ((s / "variables/_METADATA").unlink(), zero(s / "variables/_METADATA")),
        "variables/_METADATA is no file, but a pipe, a device",
    ),
    "parameters cut": (lambda s: os.truncate(largest(s / "variables"), 50), "truncated or damaged"),
}

ONLY_WHEN_TRAINING_GOES_ON = ("a flipped moment",)
"""Who reads the parameters alone reads no moments."""


@pytest.mark.parametrize("name", DAMAGES)
def test_the_newest_good_one_serves_and_the_damaged_one_is_left_alone(workdir, name, caplog):
    damage, reason = DAMAGES[name]
    good = load_run(workdir, "4").variables
    damage(workdir / "checkpoints" / "6")
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    if name not in ONLY_WHEN_TRAINING_GOES_ON:
        for asked in ("latest", "best"):
            caplog.clear()
            found = load_run(workdir, asked)
            assert found.metadata["step"] == 4
            jax.tree.map(np.testing.assert_array_equal, found.variables, good)
            (said,) = [r.message for r in caplog.records if "step 6" in r.message]
            assert said.startswith("the checkpoint of step 6 is damaged and left as it is: ")
            assert "that of step 4 is used" in said
            assert re.search(reason, said)
        with pytest.raises(CheckpointError, match=r"step 6 is damaged: .*4") as caught:
            load_run(workdir, "6")
        assert "\n" not in str(caught.value)
        step, _ = Checkpoints(workdir / "checkpoints", is_reader=True).variable_shapes()
        assert step in (4, 6)  # shapes are whole where numbers are not
    assert load_run(workdir, "4").metadata["step"] == 4
    assert {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "name", ["empty metric", "empty folder", "data offsets", "a flipped moment"]
)
def test_training_goes_on_to_the_same_bits(workdir, finished, text, name, caplog):
    expected = load_run(finished, "latest").variables
    damage, _ = DAMAGES[name]
    damage(workdir / "checkpoints" / "6")
    left = {p.name: p.read_bytes() for p in (workdir / "checkpoints/6").rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match="step 6 is damaged"):
        run(tiny(text, restore_step=6), workdir, pictures=False)
    final = run(tiny(text), workdir, pictures=False)
    assert final["step"] == 6
    assert "that of step 4 is used" in caplog.text
    assert "the damaged checkpoint of step 6 is moved to" in caplog.text
    moved = {p.name: p.read_bytes() for p in (workdir / "damaged/6").rglob("*") if p.is_file()}
    assert moved == left, "what was damaged is kept as it was"
    jax.tree.map(np.testing.assert_array_equal, load_run(workdir, "latest").variables, expected)
    assert sorted(os.listdir(workdir / "checkpoints")) == ["2", "4", "6"]


def test_a_damaged_one_counts_for_nothing_in_what_is_kept(workdir, text):
    DAMAGES["empty metric"][0](workdir / "checkpoints" / "4")
    config = tiny(text, keep_latest=1, keep_best=0)
    config.budget.extend = "steps:2"
    run(config, workdir, pictures=False)
    assert sorted(os.listdir(workdir / "checkpoints")) == ["4", "8"]
    assert (workdir / "checkpoints/4/metrics/metrics").read_text() == ""


def test_where_none_is_good_each_is_named(workdir, text):
    for step in (2, 4, 6):
        DAMAGES["bytes_seen"][0](workdir / "checkpoints" / str(step))
    for act in (lambda: load_run(workdir), lambda: run(tiny(text), workdir, pictures=False)):
        with pytest.raises(
            CheckpointError, match=r"no checkpoint in .* is good: step 6 is .*step 2"
        ):
            act()
    assert sorted(os.listdir(workdir / "checkpoints")) == ["2", "4", "6"]


def test_weights_come_from_a_good_checkpoint(workdir, caplog):
    DAMAGES["parameters cut"][0](workdir / "checkpoints" / "6")
    weights = open_weights(str(workdir), make_mesh("pmap"))
    assert weights.read(list(weights.shapes)[:1]) and "that of step 4 is used" in caplog.text


def test_what_is_deleted_leaves_nothing_that_looks_whole(workdir, monkeypatch):
    def stop(path):
        if path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "_remove", stop)
    with pytest.raises(KeyboardInterrupt):
        files.delete(workdir / "checkpoints" / "2")
    monkeypatch.undo()
    assert sorted(os.listdir(workdir / "checkpoints")) == [".deleted-2", "4", "6"]
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        assert checkpoints.steps == [4, 6]
    assert sorted(os.listdir(workdir / "checkpoints")) == ["4", "6"]


def test_older_checkpoints_open_with_a_line(workdir, caplog):
    step = workdir / "checkpoints" / "6"
    metadata = json.loads((step / "run/metadata.json").read_text())
    state = json.loads((step / "run/data_0.json").read_text())["state"]
    run_ = load_run(workdir, "6")
    for key in ("sealed", "digest", "digest_rule", "n_records"):
        del metadata[key]
    metadata["digests"]["variables"] = digests({"variables": run_.variables}, 1)["variables"]
    (step / "run/metadata.json").write_text(json.dumps(metadata))
    (step / "run/data_0.json").write_text(json.dumps(state))
    caplog.clear()
    assert load_run(workdir, "6").metadata["bytes_seen"] == run_.metadata["bytes_seen"]
    assert "carries no digest (an earlier version wrote it)" in caplog.text


def test_a_digest_finds_what_changed_places():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    trees = [{"a": x, "b": x + 1}, {"a": x + 1, "b": x}, {"a": x[::-1], "b": x + 1}]
    by_rule = {rule: {digests({"t": tree}, rule)["t"] for tree in trees} for rule in DIGEST_RULES}
    assert len(by_rule[1]) == 1 and len(by_rule[2]) == len(by_rule[3]) == 3


def _with_flipped(x, bit, places):
    words = x.view(np.uint32).copy()
    words.reshape(-1)[list(places)] ^= np.uint32(1 << bit)
    return words.view(np.float32)


def test_a_digest_finds_bits_that_flip_in_two_places():
    x = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    changed = [-x, *(_with_flipped(x, bit, (3, 77)) for bit in range(32))]
    for rule, n_missed in ((2, 2), (3, 0)):  # two signs, and all of them
        own = digests({"t": x}, rule)
        assert sum(digests({"t": other}, rule) == own for other in changed) == n_missed


def _every_key(metadata):
    """Yield metadata of which one key is missing, or holds something else."""
    for key in metadata.keys() - {SEALED, DIGEST}:
        for value in (None, [1], "odd", {"a": [1]}):
            yield key, {**metadata, key: value}
        yield key, {name: kept for name, kept in metadata.items() if name != key}


def test_metadata_with_any_key_missing_or_odd_blocks_no_good_checkpoint(workdir):
    path = workdir / "checkpoints" / "6" / "run" / "metadata.json"
    metadata = json.loads(path.read_text())
    for key, damaged in _every_key(metadata):
        write_sealed(path, {k: v for k, v in damaged.items() if k not in (SEALED, DIGEST)})
        good = GoodSteps(workdir / "checkpoints")
        assert {2, 4} <= set(good.steps), key
        for step in good.steps:
            identity = files.read_metadata(workdir / "checkpoints" / str(step))["identity"]
            with contextlib.suppress(CheckpointError):
                check_identity(identity, metadata["identity"], path)
