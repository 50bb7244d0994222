"""Kernels, JAX and the reference give one table, whatever the shape of the work."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.exact import matmul, operations
from latent_jax.models import integer_gpt, quantized_gpt
from latent_jax.models.integer_device import IntegerDeviceModel, weight_tree
from latent_jax.tokenizers.byte_model import BEGIN, IDLE
from tests.exact import reference
from tests.exact.models import SHAPE, content, integer_model, params
from tests.launching import environment

TEXT = b"An elephant never forgets, they say; 40 bytes \x00\xff are more than the context."
CONTEXT = 16


@pytest.fixture(scope="module")
def expected():
    model = reference.Model(content(CONTEXT))
    return np.array([model.read(byte) for byte in (BEGIN, *TEXT)])


def ids_of(text):
    return np.array([BEGIN, *text], np.int32)


def test_known_text_gives_what_the_reference_says(expected):
    found = np.concatenate(list(integer_model().tables(TEXT)))
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected, axis=0)) > 60, "tables must differ, else nothing is compared"


@pytest.mark.parametrize("n_lanes", [1, 3, 7, 40])
def test_lanes_that_step_give_the_same_whatever_the_others_do(expected, n_lanes):
    """One row at a time, a few, and several blocks; lanes rest and begin at different times."""
    model, random = integer_model(n_lanes), np.random.default_rng(n_lanes)
    state, at = model.start(), np.zeros(n_lanes, np.int64)
    ids, n_seen = ids_of(TEXT), 0
    while at.min() < len(ids):
        runs = (random.random(n_lanes) < 0.7) & (at < len(ids))
        ids_B = np.where(runs, ids[np.minimum(at, len(ids) - 1)], IDLE).astype(np.int32)
        table, state = model.step(state, ids_B, at.astype(np.int32))
        np.testing.assert_array_equal(table[runs], expected[at[runs]])
        at += runs
        n_seen += runs.sum()
    assert n_seen == n_lanes * len(ids)


@pytest.mark.parametrize(("dtype", "lanes"), [("float32", 1), ("bfloat16", 3)])
def test_a_device_steps_to_the_same_tables(expected, dtype, lanes):
    model = IntegerDeviceModel.from_bytes(content(CONTEXT), lanes=lanes)
    model = IntegerDeviceModel(model.config, model.arrays, lanes, dtype)
    state = model.start()
    for position, one in enumerate(ids_of(TEXT)):
        ids_B = np.random.default_rng(position).integers(0, 256, lanes).astype(np.int32)
        ids_B[-1] = one
        table, state = model.step(state, ids_B, np.full(lanes, position, np.int32))
        np.testing.assert_array_equal(table[-1], expected[position])


@pytest.mark.parametrize(("dtype", "tile"), [("float32", 128), ("bfloat16", 128), ("float32", 5)])
def test_rows_give_the_same_tables_whatever_the_tile(expected, dtype, tile, monkeypatch):
    attend = integer_gpt.attend_rows
    monkeypatch.setattr(
        integer_gpt, "attend_rows", lambda *a, **words: attend(*a, **words, tile=tile)
    )
    weights = weight_tree(integer_model().arrays)
    rows = jnp.asarray(np.stack([ids_of(TEXT), ids_of(TEXT[::-1])]))
    logits = integer_gpt.row_logits(
        operations, weights, weights["attention_powers"], CONTEXT, rows, dtype
    )
    found = integer_gpt.table(logits, weights["output_powers"])
    np.testing.assert_array_equal(found[0], expected)
    assert (np.asarray(found[1]) != expected).any()


def test_what_is_trained_computes_the_integers_of_the_file():
    rows = jnp.asarray(ids_of(TEXT))[None]
    trained = jax.jit(lambda p: quantized_gpt.logits(p, SHAPE, rows, CONTEXT))(params())
    weights = weight_tree(integer_model().arrays)
    logits = integer_gpt.row_logits(operations, weights, weights["attention_powers"], CONTEXT, rows)
    np.testing.assert_array_equal(np.asarray(trained), np.asarray(logits, np.float32))
    other = quantized_gpt.logits(params(1), SHAPE, rows, CONTEXT)
    assert (np.asarray(other) != np.asarray(trained)).any()


def test_gradients_reach_all_that_is_trained_and_point_downhill():
    rows = jnp.asarray(ids_of(TEXT))[None]

    def loss(p):
        logits = quantized_gpt.logits(p, SHAPE, rows[:, :-1], CONTEXT) * (np.log(2) / 64)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), rows[:, 1:, None], 2).mean()

    run = jax.jit(jax.value_and_grad(loss))
    start = params()
    first, gradient = run(start)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        is_constant = jax.tree_util.keystr(path).endswith(("multiplier']", "shift']"))
        assert bool(jnp.any(leaf != 0)) != is_constant, path
    moved = jax.tree.map(lambda p, g: p - 0.01 * jnp.sign(g), start, gradient)
    assert run(moved)[0] < first - 0.1


@pytest.mark.parametrize("shape", [(192, 768), (768, 192), (192, 257), (7, 5)])
def test_products_of_a_row_and_of_a_block_are_exact(shape):
    random = np.random.default_rng(0)
    w_IO = np.where(random.random(shape) < 0.8, 127, -127)
    x_IR = np.where(random.random((shape[0], matmul.ROWS)) < 0.8, 127, -127)
    wide = matmul.padded(w_IO)
    out = np.zeros((len(wide), matmul.ROWS), np.float32)
    matmul.block_product(np.ascontiguousarray(x_IR, np.float32), wide, out)
    np.testing.assert_array_equal(out[: shape[1]], w_IO.T @ x_IR)
    one = np.zeros(shape[1], np.float32)
    narrow = np.ascontiguousarray(w_IO.T, np.int8)
    matmul.row_product(np.ascontiguousarray(x_IR[:, 0], np.float32), narrow, one)
    np.testing.assert_array_equal(one, w_IO.T @ x_IR[:, 0])


IN_PYTHON = """
import sys
import numpy as np
from latent_jax.exact import kernels
from latent_jax.models.integer_byte_model import IntegerByteModel

def block_product(x_IR, w_OI, out_OR):  # the tile is written in LLVM's words
    out_OR[: len(w_OI)] = w_OI @ x_IR

kernels.block_product = block_product
with open(sys.argv[1], "rb") as file:
    model = IntegerByteModel.from_bytes(file.read(), lanes=3)
tables = np.concatenate(list(model.tables(bytes.fromhex(sys.argv[3]))))
ids = np.array([256, -1, 256], np.int32)
step, _ = model.step(model.start(), ids, np.zeros(3, np.int32))
np.savez(sys.argv[2], tables=tables, step=step[[0, 2]])
"""


def test_kernels_stay_within_their_arrays(expected, tmp_path):
    """In Python, where an index that leaves an array is an error: a block and single rows."""
    (tmp_path / "model").write_bytes(content(CONTEXT))
    text, out = TEXT[:18], tmp_path / "out.npz"
    words = [sys.executable, "-c", IN_PYTHON, tmp_path / "model", out, text.hex()]
    ended = subprocess.run(
        words, env={**environment(), "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    with np.load(out) as found:
        np.testing.assert_array_equal(found["tables"], expected[: len(text) + 1])
        np.testing.assert_array_equal(found["step"], expected[[0, 0]])
