"""M1's step: the same numbers whatever else is going on."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.methods import artefacts
from latent_jax.models.byte_model import GPTByteModel
from latent_jax.models.gpt import GPT
from latent_jax.tokenizers.byte_model import BEGIN, load_byte_model
from tests.compiled import apply, init
from tests.tokenizers.byte_models import CONFIG, byte_model, params


def read(model, ids_BT):
    """Probabilities float32[T + 1, B, 257] after BEGIN and after each id."""
    state, tables = model.start(), []
    columns = np.concatenate([np.full((model.lanes, 1), BEGIN), ids_BT], axis=1).astype(np.int32)
    for position, ids_B in enumerate(columns.T):
        table, state = model.step(state, ids_B, np.full(model.lanes, position, np.int32))
        tables.append(table)
    return np.stack(tables)


def test_the_step_predicts_what_the_whole_row_does():
    model = byte_model(lanes=4, context=16)
    ids_BT = np.random.default_rng(0).integers(0, 256, (4, 15))
    row = jnp.asarray(np.concatenate([np.full((4, 1), BEGIN), ids_BT], axis=1), jnp.int32)
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.float16).astype(jnp.float32), params())
    whole = jax.nn.softmax(apply(GPT(CONFIG), {"params": rounded}, row), axis=-1)
    chex.assert_shape(whole, (4, 16, 257))
    np.testing.assert_allclose(read(model, ids_BT), np.swapaxes(whole, 0, 1), rtol=1e-4, atol=1e-7)


def test_a_lane_depends_on_no_other_lane_and_on_no_other_call():
    model = byte_model(lanes=8, context=16)
    random = np.random.default_rng(1)
    ids_BT = random.integers(0, 256, (8, 40))
    first = read(model, ids_BT)
    assert np.ptp(first, axis=1).max() > 0.1, "lanes must differ, else nothing is compared"
    for _ in range(3):
        np.testing.assert_array_equal(read(model, ids_BT), first)
    mixed = random.integers(0, 256, (8, 40))
    mixed[5] = ids_BT[2]
    np.testing.assert_array_equal(read(model, mixed)[:, 5], first[:, 2])


def test_begin_forgets():
    model = byte_model(lanes=2, context=16)
    random = np.random.default_rng(2)
    state, tables = model.start(), []
    for _ in range(2):
        for position in range(20):
            ids_B = np.full(2, BEGIN if position == 0 else 40 + position, np.int32)
            table, state = model.step(state, ids_B, np.full(2, position, np.int32))
            tables.append(table)
        for position in range(random.integers(1, 30)):
            _, state = model.step(
                state,
                random.integers(0, 256, 2).astype(np.int32),
                np.full(2, 20 + position, np.int32),
            )
    np.testing.assert_array_equal(tables[:20], tables[20:])


def test_saved_and_loaded_it_gives_the_same_numbers():
    model = byte_model(lanes=4, context=16)
    content = model.to_bytes()
    assert content == model.to_bytes()
    loaded = load_byte_model("gpt", content)
    ids_BT = np.random.default_rng(3).integers(0, 256, (4, 30))
    np.testing.assert_array_equal(read(loaded, ids_BT), read(model, ids_BT))
    assert loaded.to_bytes() == content
    assert byte_model(lanes=4, context=16, seed=1).to_bytes() != content
    other = GPTByteModel.from_bytes(content, lanes=6)
    assert (loaded.lanes, other.lanes, other.context) == (4, 6, 16)
    assert other.start()[1][0].k_BGSd.shape[0] == 6


def test_a_file_of_before_some_fields_stays_what_it_was():
    content = (artefacts.FOLDER / artefacts.M1_FILE).read_bytes()
    assert load_byte_model("gpt", content).to_bytes() == content
    grouped = dataclasses.replace(CONFIG, n_kv_heads=1)
    ids = jnp.zeros((1, 4), jnp.int32)
    drawn = init(GPT(grouped), jax.random.key(0), ids)["params"]
    made = GPTByteModel(grouped, drawn, 16, lanes=2)
    assert load_byte_model("gpt", made.to_bytes()).config.n_kv_heads == 1


def test_models_that_cannot_drive_a_coder_are_refused():
    with pytest.raises(ValueError, match="learned positions end after 64"):
        GPTByteModel(dataclasses.replace(CONFIG, positions="learned"), params(), 16)
    with pytest.raises(ValueError, match="rotary positions lose precision far on: train one with"):
        GPTByteModel(dataclasses.replace(CONFIG, positions="rotary"), params(), 16)
    with pytest.raises(ValueError, match="at least 1 lane; got 0"):
        GPTByteModel(CONFIG, params(), 16, lanes=0)
    with pytest.raises(ValueError, match="257 ids, and this GPT 300"):
        GPTByteModel(dataclasses.replace(CONFIG, vocab_size=300), params(), 16)
    with pytest.raises(ValueError, match=r"'ngram' is needed .* only .*gpt.* can be built"):
        load_byte_model("ngram", b"")


def test_every_worker_gives_the_same_numbers_on_its_own_device():
    model = byte_model(lanes=4, context=16)
    assert model.workers > 1 and len(jax.local_devices()) > 1
    devices, tables = set(), []
    for worker in range(2):
        state = model.start(worker)
        devices |= {leaf.device for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)}
        ids_B = np.array([BEGIN, 65, 66, 67], np.int32)
        for position in range(20):
            table, state = model.step(state, ids_B, np.full(4, position, np.int32))
            tables.append(table)
            ids_B = table[:, :256].argmax(axis=1).astype(np.int32)
    assert len(devices) == 2
    np.testing.assert_array_equal(tables[:20], tables[20:])
