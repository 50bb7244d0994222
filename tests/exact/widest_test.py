"""The widest model that a file may hold, with all numbers of its stream at their peak."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.exact import gradients, operations, row_kernels
from latent_jax.exact.bounds import INT8, INT15, STREAM
from latent_jax.exact.model_file import (
    NORM_BITS,
    WIDE_NORM_BITS,
    IntegerConfig,
    IntegerFileError,
    to_bytes,
)
from latent_jax.models import integer_gpt, quantized_gpt
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.models.integer_device import IntegerDeviceModel, weight_tree
from latent_jax.tokenizers.byte_model import BEGIN
from tests.exact import reference
from tests.exact.models import SHAPE

WIDEST = 511
TEXT = b"ACB"


def test_one_more_is_refused():
    shape = dict(n_layers=1, n_heads=1, d_ff=4, n_ages=2, context=4)
    IntegerConfig(**shape, d_model=WIDEST)
    with pytest.raises(IntegerFileError, match="d_model=512: its squares need over 31 bits"):
        IntegerConfig(**shape, d_model=WIDEST + 1)


@pytest.mark.parametrize(("n_bits", "limit"), [(NORM_BITS, INT8), (WIDE_NORM_BITS, INT15)])
@pytest.mark.parametrize("peak", [STREAM, (1 << 18) + 5, 2047, 1])
@pytest.mark.parametrize("width", [255, 256, 257, 300, 384, WIDEST])
def test_norms_are_the_same_at_the_peak(width, peak, n_bits, limit):
    x_D = np.full(width, peak, np.int32)
    x_D[::3] *= -1
    gain_D = np.linspace(1, 65535, width).astype(np.int32)
    expected = reference.norm(x_D.astype(np.int64), gain_D.astype(np.int64), n_bits, limit)
    x_11D = jnp.asarray(x_D)[None, None]
    found = operations.norm(x_11D, jnp.asarray(gain_D), n_bits, limit)
    np.testing.assert_array_equal(found[0, 0], expected)
    trained = gradients.norm(
        x_11D.astype(jnp.float32), jnp.asarray(gain_D, jnp.float32), n_bits, limit
    )
    np.testing.assert_array_equal(trained[0, 0], expected)
    out_D = np.zeros(width, np.float32)
    row_kernels.norm(x_D, gain_D, n_bits, limit, np.zeros(width, np.int32), out_D)
    np.testing.assert_array_equal(out_D, expected)
    assert len(np.unique(np.abs(expected))) > 1


@functools.cache
def widest():
    """A model whose stream begins at its peak after BEGIN, A and C."""
    shape = dataclasses.replace(SHAPE, n_layers=1, d_model=WIDEST, n_heads=7)
    arrays = quantized_gpt.export(quantized_gpt.initial(jax.random.key(0), shape), shape)
    arrays = {name: array.copy() for name, array in arrays.items()}
    for byte in (BEGIN, *b"AC"):
        signs = np.random.default_rng(byte).choice([-1, 1], WIDEST)
        arrays["embedding"][byte] = 127 * signs
        arrays["embedding_multiplier"][byte] = 1 << 23
    arrays["embedding_shift"][...] = 0
    arrays["head_multiplier"] //= 16  # else one id has all
    return to_bytes(quantized_gpt.integer_config(shape, 4), arrays)


def test_tables_are_the_same_by_kernels_steps_rows_and_the_reference():
    ids = [BEGIN, *TEXT]
    model = reference.Model(widest())
    expected = np.array([model.read(byte) for byte in ids])
    np.testing.assert_array_equal(
        np.concatenate(list(IntegerByteModel.from_bytes(widest()).tables(TEXT))), expected
    )
    device = IntegerDeviceModel.from_bytes(widest(), lanes=1)
    state = device.start()
    for position, one in enumerate(ids):
        table, state = device.step(state, np.array([one], np.int32), np.array([position], np.int32))
        np.testing.assert_array_equal(table[0], expected[position])
    weights = weight_tree(device.arrays)
    logits = integer_gpt.row_logits(
        operations, weights, weights["attention_powers"], 4, jnp.asarray([ids])
    )
    np.testing.assert_array_equal(integer_gpt.table(logits, weights["output_powers"])[0], expected)
    assert len(np.unique(expected, axis=0)) == len(ids)
