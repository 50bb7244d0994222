"""A run that begins with weights from elsewhere."""

import json
import shutil
import struct
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.training import OptimizerConfig, RunFolder, make_mesh
from latent_jax.training.init_from import (
    choose_names,
    open_weights,
    take_weights,
    with_copies,
    without_copies,
)
from latent_jax.training.sharding import replicated
from tests.training.byte_task import ByteTask, run, saved_state, train_batches

ONE = jax.devices()[:1]
STILL = OptimizerConfig(learning_rate=1e-30, warmup_steps=1)  # moves no float32
WORDS = dict(devices=ONE, eval_every=0, save_every=0)
UP = "params/feed_forward/up/kernel"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return the folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("source")
    run(folder, total_steps=3, **WORDS)
    return folder


def flat(state):
    paths = jax.tree_util.tree_leaves_with_path(state.variables)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in paths}


def test_a_run_begins_with_what_the_patterns_choose_and_a_resume_needs_it_no_more(
    source, tmp_path, capfd
):
    folder = tmp_path / "source"
    shutil.copytree(source, folder)
    words = dict(
        WORDS,
        optimizer=STILL,
        seed=1,
        init_from=str(folder),
        init_patterns=("params/feed_forward/.*", ".*/byte_counts"),
    )
    run(tmp_path / "new", total_steps=2, **words)
    theirs, ours = flat(saved_state(folder)[0]), flat(saved_state(tmp_path / "new")[0])
    taken = {name for name in ours if np.array_equal(ours[name], theirs[name])}
    start = RunFolder(tmp_path / "new").environment["starts"][0]
    parts = {f"params/feed_forward/{p}/{k}" for p in ("up", "down") for k in ("kernel", "bias")}
    assert taken == parts  # the counts went on from there
    assert set(start["taken"]) == parts | {"statistics/byte_counts"}
    assert start["init_from"].endswith("source/checkpoints/3")
    assert f"5 arrays taken from {folder}/checkpoints/3" in capfd.readouterr().err
    counted = sum(theirs["statistics/byte_counts"])
    assert sum(ours["statistics/byte_counts"]) > counted
    shutil.rmtree(folder)
    run(tmp_path / "new", total_steps=4, **words)
    again = RunFolder(tmp_path / "new").environment["starts"]
    assert [("taken" in start) for start in again] == [True, False]
    later = flat(saved_state(tmp_path / "new")[0])
    np.testing.assert_array_equal(later[UP], theirs[UP])
    assert sum(later["statistics/byte_counts"]) > sum(ours["statistics/byte_counts"])


def variables(d_model=32):
    batch = next(train_batches(2))
    return jax.eval_shape(ByteTask(d_model=d_model).init, jax.random.key(0), batch)


def test_what_does_not_fit_is_named_with_both_shapes(source, caplog):
    weights = open_weights(str(source), make_mesh("pmap", devices=ONE))
    assert not caplog.records  # Orbax does not warn about what is no array
    assert choose_names(weights, variables(), [".*kernel"]) == [
        "params/feed_forward/down/kernel",
        UP,
    ]
    with pytest.raises(
        ValueError, match=rf"{UP} is float32\[32,128\] in .*/3 and float32\[64,128\] in this model"
    ):
        choose_names(weights, variables(64), [UP])
    with pytest.raises(ValueError, match=r"'params/up' matches no array of the model; there are "):
        choose_names(weights, variables(), ["params/up"])
    with pytest.raises(ValueError, match="init_patterns is empty"):
        choose_names(weights, variables(), [])
    model = {"params": {"feed_forward": {"upp": {"kernel": jnp.ones(2)}}}}
    with pytest.raises(ValueError, match=rf"has no params/feed_forward/upp/kernel.*mean '{UP}'"):
        choose_names(weights, model, [".*"])


def test_a_copy_is_made_of_what_was_taken_and_takes_nothing_itself():
    mesh = make_mesh("pmap", devices=ONE)
    task = types.SimpleNamespace(copies={"reference": "params"})
    zeros = jax.device_put({"a": jnp.zeros(3)}, replicated(mesh))
    model = {"params": zeros, "reference": jax.tree.map(jnp.copy, zeros), "statistics": zeros}
    assert [*without_copies(task, model)] == ["params", "statistics"]
    taken = {**model, "params": {"a": zeros["a"] + 2.0}}
    copied = with_copies(task, taken)
    np.testing.assert_array_equal(copied["reference"]["a"], np.full(3, 2.0))
    # A step consumes both: they share no memory.
    one, other = (copied[name]["a"].unsafe_buffer_pointer() for name in ("params", "reference"))
    assert one != other
    assert with_copies(types.SimpleNamespace(), model) == model


def write_safetensors(path, arrays):
    """Write the format by hand, after its specification."""
    kinds, header, body = {"float32": "F32", "bfloat16": "BF16"}, {"__metadata__": {"a": "b"}}, b""
    for name, array in arrays.items():
        end = len(body) + array.nbytes
        header[name] = {
            "dtype": kinds[array.dtype.name],
            "shape": array.shape,
            "data_offsets": [len(body), end],
        }
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_of_weights(tmp_path, suffix):
    mesh = make_mesh("fsdp")
    arrays = {"params/a": np.arange(6, dtype=np.float32).reshape(2, 3)}
    file = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(file, **arrays)
    else:
        arrays["params/b"] = np.ones(2, jnp.bfloat16)
        write_safetensors(file, arrays)
    weights = open_weights(str(file), mesh)
    model = {"params": {"a": jnp.zeros((2, 3)), "b": jnp.zeros(2)}}
    names = choose_names(weights, model, ["params/a"])
    taken = take_weights(model, weights, names)
    np.testing.assert_array_equal(taken["params"]["a"], arrays["params/a"])
    np.testing.assert_array_equal(taken["params"]["b"], np.zeros(2))
    if suffix == ".safetensors":  # another width of float is made the model's
        taken = take_weights(model, weights, choose_names(weights, model, [".*"]))
        assert taken["params"]["b"].dtype == jnp.float32 and taken["params"]["b"][0] == 1


def test_a_place_without_weights_is_named(tmp_path):
    mesh = make_mesh("pmap", devices=ONE)
    with pytest.raises(ValueError, match=r"init_from=.*nowhere does not exist"):
        open_weights(str(tmp_path / "nowhere"), mesh)
    with pytest.raises(ValueError, match=r"is no run folder .*RUN/checkpoints/STEP"):
        open_weights(str(tmp_path), mesh)
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"ends in none of \.npz, \.safetensors"):
        open_weights(str(tmp_path / "a.bin"), mesh)
    (tmp_path / "a.npz").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        open_weights(str(tmp_path / "a.npz"), mesh)
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read: a header of .* cut off"):
        open_weights(str(tmp_path / "a.safetensors"), mesh)
    write_safetensors(tmp_path / "a.safetensors", {"params/a": np.ones((2, 3), np.float32)})
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read: params/a ends at byte"):
        open_weights(str(tmp_path / "a.safetensors"), mesh)
