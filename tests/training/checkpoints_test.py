"""Checkpoints: which are kept, what is refused, and that damage is never read as if it were
whole."""

import json
import logging
import os
import shutil
import subprocess
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from latent_jax.training import CheckpointError, Checkpoints, TrainState
from latent_jax.training import checkpoints as module
from latent_jax.training.identity import describe_shapes
from tests.training.byte_task import ByteTask, run, saved_state, start_process

ONE = jax.devices()[:1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on eight devices under fsdp, saved at steps 4, 8 and 12, all kept."""
    workdir = tmp_path_factory.mktemp("trained")
    run(workdir, strategy="fsdp", save_every=4, eval_every=4, keep_latest=3)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    """A copy that a test may damage; it stands at step 8, so that a resume has something to do."""
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    shutil.rmtree(copy / "checkpoints" / "12")
    return copy


def resume(workdir, **changes):
    return run(workdir, **{"strategy": "fsdp", "save_every": 4, "eval_every": 4, **changes})


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_eight_devices_restore_on_four_and_train_on(trained, workdir):
    eight, _ = saved_state(workdir, devices=jax.devices())
    four, _ = saved_state(workdir, devices=jax.devices()[:4])
    table = four.params["feed_forward"]["up"]["kernel"]
    assert len(table.sharding.device_set) == 4
    chex.assert_trees_all_equal(jax.device_get(eight), jax.device_get(four))
    final = resume(workdir, devices=jax.devices()[:4], strategy="pmap")
    expected = saved_state(trained)[1]["metric"]
    np.testing.assert_allclose(final["bits_per_byte"], expected, rtol=1e-5)


@pytest.mark.parametrize("slice_bytes", [module.SLICE_BYTES, 1])
def test_small_arrays_are_written_by_one_device_and_nothing_is_said(
    tmp_path, monkeypatch, caplog, slice_bytes
):
    cut = jax.lax.slice_in_dim
    sliced = []
    monkeypatch.setattr(module, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(jax.lax, "slice_in_dim", lambda *a, **k: sliced.append(a) or cut(*a, **k))
    with caplog.at_level(logging.WARNING):
        run(tmp_path, total_steps=3, save_every=3, eval_every=3)
    assert bool(sliced) == (slice_bytes == 1)
    assert not [record for record in caplog.records if "orbax" in record.pathname]


METADATA = {"identity": {}, "seconds": 0.0, "evaluated_step": 0}


def test_the_latest_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_latest=2, keep_best=1)
    run_state = small_state()
    for step, metric in [(1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 2.5)]:
        checkpoints.save(run_state.replace(step=jnp.int32(step)), {}, METADATA, metric)
    checkpoints.wait()
    assert checkpoints.steps == [2, 4, 5]
    checkpoints.close()
    assert sorted(os.listdir(tmp_path)) == ["2", "4", "5"]


def small_state():
    return TrainState(
        step=jnp.int32(0),
        params={"kernel": jnp.arange(6.0)},
        state={},
        opt_state=(),
        key=jax.random.key(0),
    )


def test_a_reader_leaves_what_a_run_is_writing(tmp_path):
    unfinished = tmp_path / "7.orbax-checkpoint-tmp"
    unfinished.mkdir()
    with Checkpoints(tmp_path, is_reader=True) as checkpoints:
        assert checkpoints.steps == []
    assert unfinished.exists()
    filters = logging.getLogger("absl").filters
    with Checkpoints(tmp_path):
        before = list(filters)
        Checkpoints(tmp_path, is_reader=True).close()
        assert filters == before  # what one folder keeps quiet stays so when another is closed
        deadline = time.monotonic() + 60
        while unfinished.exists():  # a thread of Orbax removes it
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    state = small_state()
    state = state.replace(params={"kernel": jnp.arange(2.0**20)})
    identity = {"parameters": describe_shapes(state.params)}
    checkpoints.save(state, {}, {**METADATA, "identity": identity}, None)
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 1, tree), donate_argnums=0)
    overwritten = overwrite(state.params)
    checkpoints.wait()
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        {"params": overwritten},
    )
    variables, _ = checkpoints.restore_variables(abstract)
    np.testing.assert_array_equal(variables["params"]["kernel"], np.arange(2.0**20))
    checkpoints.close()


def test_variables_alone_load_for_evaluation(trained):
    state, _ = saved_state(trained)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state.variables
    )
    checkpoints = Checkpoints(trained / "checkpoints")
    variables, metadata = checkpoints.restore_variables(abstract, "best")
    assert metadata["step"] == 12
    chex.assert_trees_all_equal(jax.device_get(variables), jax.device_get(state.variables))
    earlier, metadata = checkpoints.restore_variables(abstract, 4)
    assert metadata["step"] == 4
    assert not np.array_equal(
        earlier["params"]["token_embedding"]["embedding"],
        variables["params"]["token_embedding"]["embedding"],
    )
    assert checkpoints.steps == [4, 8, 12]
    checkpoints.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 32}, r"batch_size is 16, here it is 32; set the batch size back"),
        ({"fingerprint": "v2"}, r"tokenizer_fingerprint is 'bytes-v1', here it is 'v2'"),
        ({"workers": 1}, r"data_workers is 0, here it is 1; set the number of workers back"),
        ({"task": ByteTask(name="other")}, r"task is 'bytes_two_back', here it is 'other'"),
        (
            {"task": ByteTask(d_model=64)},
            r"parameters \(first of 6 .*down/bias\) is 'float32\[32\]', here it is 'float32\[64\]'",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_both_values(workdir, changes, message):
    before = (workdir / "metrics.jsonl").read_text()
    with pytest.raises(CheckpointError, match=message):
        resume(workdir, **changes)
    assert (workdir / "metrics.jsonl").read_text() == before
    assert sorted(os.listdir(workdir / "checkpoints")) == ["4", "8"]


def test_state_of_another_version_is_no_damage(tmp_path):
    """Thresholds of before `held` was kept, as `restore` and `restore_variables` meet them."""
    kept = {name: jnp.float32(1) for name in ("threshold", "n_steps")}
    old = small_state().replace(state={"rate": {"stage": {**kept, "past": jnp.zeros(8)}}})
    identity = {"parameters": describe_shapes(old.params)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(old, {}, {**METADATA, "identity": identity}, 1.0)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), old
    )

    def refused(rate, said):
        now = abstract.replace(state={"rate": {"stage": rate}})
        with Checkpoints(tmp_path) as checkpoints:
            for restore in (
                lambda: checkpoints.restore(now, identity),
                lambda: checkpoints.restore_variables(now.variables, "best"),
            ):
                with pytest.raises(CheckpointError, match=said):
                    restore()
            assert checkpoints.steps == [0]  # it is left among those that are whole

    whole = abstract.state["rate"]["stage"]
    scalar = whole["n_steps"]
    refused(
        {**whole, "held": scalar},
        r"0 was made by another version of latent_jax, .* its state 'rate' \(first of 1 that "
        r"differ: stage/held\) is 'absent', here it is 'float32\[\]'; resume and read it with "
        "the version that made it",
    )
    longer = jax.ShapeDtypeStruct((9,), jnp.float32, sharding=scalar.sharding)
    refused(
        {**whole, "past": longer},
        r"does not fit this run: .*stage/past\) is 'float32\[8\]', here it is 'float32\[9\]'; use "
        "the configuration of the checkpoint",
    )
    with Checkpoints(tmp_path) as checkpoints:
        found = checkpoints.restore(abstract, identity).state.state
    chex.assert_trees_all_equal(found, old.state)


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    with ocp.training.Checkpointer(tmp_path / "checkpoints") as other:
        other.save(5, {"w": np.ones(3)})
    (tmp_path / "config.json").write_text('{"task": "bytes"}')
    with pytest.raises(CheckpointError, match=r"checkpoints/5 was not written by latent_jax"):
        run(tmp_path, devices=ONE)


def cut_in_half(folder):
    path = largest_file(folder / "variables")
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(folder):
    path = largest_file(folder / "optimizer")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_the_metadata(folder):
    os.truncate(folder / "run" / "metadata.json", 20)


@pytest.mark.parametrize("damage", [cut_in_half, flip_a_bit, cut_the_metadata])
def test_a_damaged_checkpoint_is_refused_and_a_good_one_offered(workdir, damage):
    damage(workdir / "checkpoints" / "8")
    with pytest.raises(CheckpointError, match=r"step 8 is .*damaged.*restore_step") as caught:
        resume(workdir, restore_step=8)
    assert "4" in str(caught.value).split("restore_step")[1]
    assert sorted(os.listdir(workdir / "checkpoints")) == ["4", "8"]


def test_where_none_is_asked_for_the_newest_good_one_is_taken(workdir, trained):
    flip_a_bit(workdir / "checkpoints" / "8")
    resume(workdir, keep_latest=3)
    assert sorted(os.listdir(workdir / "checkpoints"), key=int) == ["4", "8", "12"]
    assert os.listdir(workdir / "damaged") == ["8"]
    chex.assert_trees_all_equal(
        *(jax.device_get(saved_state(folder)[0]) for folder in (workdir, trained))
    )


def test_the_offered_checkpoint_is_one_that_loads(workdir, trained):
    for step in (4, 8):
        cut_in_half(workdir / "checkpoints" / str(step))
    with pytest.raises(CheckpointError, match=r"no earlier checkpoint is good"):
        resume(workdir)


def test_restore_step_goes_on_from_the_earlier_one_and_ends_the_same(workdir, trained):
    cut_in_half(workdir / "checkpoints" / "8")
    resume(workdir, restore_step=4, keep_latest=3)
    assert sorted(os.listdir(workdir / "checkpoints"), key=int) == ["4", "8", "12"]
    chex.assert_trees_all_equal(
        *(jax.device_get(saved_state(folder)[0]) for folder in (workdir, trained))
    )
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 7 .*\[4, 8, 12\]"):
        resume(workdir, restore_step=7)


def test_a_full_disk_is_named_and_the_previous_checkpoint_stays_whole(tmp_path):
    # A file system of its own where that is permitted, else a limit on the size of a file.
    process = start_process(f"""
        import pathlib, resource, subprocess, time
        from latent_jax.training import CheckpointError
        workdir = pathlib.Path({str(tmp_path / "run")!r})
        open_run_folder(workdir, {{"task": "bytes"}})
        checkpoints = workdir / "checkpoints"
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(checkpoints)]
        is_own = subprocess.run(mount, capture_output=True).returncode == 0
        print("tmpfs" if is_own else "rlimit")
        filler = checkpoints / "filler"

        def fill(step, variables, record):
            if step == 6:
                return
            while not (checkpoints / "6").exists():
                time.sleep(0.05)
            if is_own:
                with filler.open("wb", buffering=0) as file:
                    try:
                        while True:
                            file.write(bytes(4096))
                    except OSError:
                        pass
            else:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))

        try:
            run(workdir, keep_latest=1, keep_best=0, on_evaluation=fill)
        except CheckpointError as error:
            print("ERROR", error)
        else:
            raise SystemExit("the full disk was not noticed")
        filler.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("LEFT", sorted(os.listdir(checkpoints)))
        print("SAVED", saved_state(workdir)[1]["step"])
        print("FINAL", run(workdir, keep_latest=1, keep_best=0)["step"], os.listdir(checkpoints))
        """)
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        subprocess.run(["umount", tmp_path / "run" / "checkpoints"], capture_output=True)
    assert process.returncode == 0, errors
    assert "ERROR:absl" not in errors
    assert "ERROR writing the checkpoint of step 12" in output
    assert "the checkpoint of step 6 is intact" in output
    assert "No space left" in output or "File too large" in output or "RESOURCE" in output
    assert "LEFT ['6']" in output and "SAVED 6" in output
    assert "FINAL 12 ['12']" in output


def test_metadata_says_what_a_run_has_seen(trained):
    metadata = json.loads((trained / "checkpoints" / "8" / "run" / "metadata.json").read_text())
    assert metadata["step"] == metadata["evaluated_step"] == 8
    assert metadata["bytes_seen"] > 8 * 16 * 20 and metadata["seconds"] > 0
    assert metadata["identity"]["row_length"] == 32
    assert metadata["identity"]["process_count"] == 1
