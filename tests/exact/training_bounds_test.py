"""Weights that grow while they are trained: no integer wraps, and the file has the same ones."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.exact import gradients, model_file, operations
from latent_jax.models import integer_gpt, quantized_gpt
from latent_jax.tasks.integer_language_modeling import IntegerLanguageModeling
from tests.exact import reference
from tests.exact.models import SHAPE

WIDE = dataclasses.replace(SHAPE, n_layers=1, d_ff=1024)
CONTEXT, IDS = 4, [256, *b"abc"]


@functools.cache
def grown():
    """Parameters whose weights have all come to their ends, with the constants of the beginning."""
    params = quantized_gpt.initial(jax.random.key(0), WIDE)
    blocks = {
        name: jnp.sign(x) if name in model_file.PRODUCTS else x
        for name, x in params["blocks"].items()
    }
    # All of a kind, so that what is relu'd in front of it adds up.
    blocks |= {name: jnp.ones_like(blocks[name]) for name in ("gate", "up", "down")}
    return {**params, "blocks": blocks}


@functools.cache
def exported():
    return quantized_gpt.export(grown(), WIDE)


def arrays_of(weights):
    """Return the arrays of a file, whether or not they keep their bounds."""
    blocks = {f"{model_file.BLOCKS}{name}": x for name, x in weights["blocks"].items()}
    flat = {**{k: x for k, x in weights.items() if k != "blocks"}, **blocks}
    powers = {k: x for k, x in exported().items() if "powers" in k}
    return {k: np.asarray(x).astype(model_file.dtype_of(k)) for k, x in flat.items()} | powers


def test_grown_weights_would_wrap_and_are_bounded(monkeypatch):
    shape = quantized_gpt.integer_config(WIDE, CONTEXT)
    model_file.check(shape, exported())
    monkeypatch.setattr(quantized_gpt, "bounded", lambda weights, config: weights)
    with pytest.raises(ValueError, match=r"down: up to .* which int32 does not hold"):
        model_file.check(shape, arrays_of(quantized_gpt.integers(grown(), WIDE)))


def test_training_and_the_file_give_the_same_numbers_at_the_ends_of_weights():
    shape = quantized_gpt.integer_config(WIDE, CONTEXT)
    model = reference.Model(model_file.to_bytes(shape, exported()))
    expected = np.array([model.read(byte) for byte in IDS])  # in int64, which holds everything
    trained = quantized_gpt.logits(grown(), WIDE, jnp.asarray([IDS]), CONTEXT)
    powers = jnp.asarray(exported()["output_powers"])
    table = integer_gpt.table(trained.astype(jnp.int32), powers)[0]
    np.testing.assert_array_equal(table, expected)


def test_a_sum_that_would_wrap_is_pinned_by_its_bound():
    x, m, n = 1024 * 127 * 127, 256, 22
    wrapped = operations.requantize(jnp.int32(x), jnp.int32(m), jnp.int32(n), -(1 << 19), 1 << 19)
    assert wrapped != (x * m + (1 << 21)) >> 22, "this is what is kept from happening"
    weights = {"down_multiplier": jnp.full((1, 1), float(m)), "down_shift": jnp.full((1,), 22.0)}
    found = quantized_gpt._multipliers(weights, {"down": jnp.full((1, 1), x)})
    less = int(found["down_multiplier"][0, 0])
    assert x * less + (1 << 21) < 1 << 31 <= x * (less + 1) + (1 << 21)
    pinned = gradients.requantize(
        jnp.full((1, 1, 1), float(x)),
        jnp.full((1, 1, 1), float(less)),
        jnp.float32(22),
        -(1 << 19),
        1 << 19,
    )
    assert int(pinned[0, 0, 0]) == (x * less + (1 << 21)) >> 22


def test_multipliers_of_weights_that_keep_the_bound_stay():
    params = quantized_gpt.initial(jax.random.key(1), WIDE)
    blocks = quantized_gpt.integers(params, WIDE)["blocks"]
    constants = {name: x for name, x in blocks.items() if name.endswith("_multiplier")}
    chex.assert_trees_all_equal(constants, {name: params["blocks"][name] for name in constants})
    assert len(constants) == 7


def test_a_width_that_float32_does_not_sum_is_refused_for_training():
    def task(d_ff):
        config = dataclasses.replace(WIDE, d_ff=d_ff)
        return IntegerLanguageModeling(config, 256, 16, 1.0)

    task(1040)
    with pytest.raises(ValueError, match=r"model.d_ff=1041: .* give at most 1040"):
        task(1041)


@pytest.mark.parametrize("x", [1 << 22, (1 << 22) - 1, -(1 << 22), 12_345])
def test_scores_that_float32_holds_are_those_of_the_file(x):
    limits = -(1 << 28), 1 << 28
    multiplier, shift = jnp.full((1,), 8.0), jnp.full((1,), 1.0)
    found = gradients.requantize(jnp.full((1, 1), float(x)), multiplier, shift, *limits)
    assert int(found[0, 0]) == int(operations.requantize(jnp.int32(x), 8, 1, *limits)) == 4 * x


def test_larger_ones_would_not_be():
    large = (1 << 24) + 1
    assert int(jnp.int32(large).astype(jnp.float32)) != large


def test_scores_biases_and_logits_are_kept_where_float32_holds_them():
    """Whatever the constants of a run and its parameters are."""
    params = quantized_gpt.initial(jax.random.key(0), WIDE)
    blocks = {**params["blocks"], "position_bias": params["blocks"]["position_bias"] + 1e9}
    for name in ("score", "head"):
        of = blocks if name == "score" else params
        of |= {f"{name}_multiplier": jnp.full_like(of[f"{name}_multiplier"], 1 << 23)}
        of |= {f"{name}_shift": jnp.zeros_like(of[f"{name}_shift"])}
    found = quantized_gpt.integers({**params, "blocks": blocks}, WIDE)
    assert float(found["blocks"]["position_bias"].max()) == gradients.LOGARITHM
    largest = WIDE.head_size * 127**2
    scores = largest * found["blocks"]["score_multiplier"].astype(jnp.int32)
    assert 0 < int(scores.max()) <= gradients.LOGARITHM
    sums = quantized_gpt._sums(found["embedding"].swapaxes(0, 1)) * 16_319 >> 8
    logits = (sums + 1) * found["head_multiplier"].astype(jnp.int32)
    assert 0 <= int(logits.max()) <= gradients.LOGARITHM
