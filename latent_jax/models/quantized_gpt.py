"""An integer GPT while it is trained: float32 parameters that stand for the integers of a file.

A parameter p of the kinds in `SCALES` stands for the integer round(p scale), clipped; scales are
powers of two, so that the integer does not depend on how a compiler multiplies. Multipliers and
shifts are integers that `quantize` chose once, from the ranges that a float model shows on text;
they stay as they are. The gradient passes the rounding straight through (`exact.gradients`).

Weights grow while they are trained. The proof of `exact.model_file`, that no sum times its
multiplier leaves int32, holds for the weights of a file. So `integers` gives a multiplier that is
too large for the weights of a step as the largest for which the proof holds. Training, drawing and
the file see the same one; nothing wraps, and what has been trained can always be exported.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.exact import bounds, gradients
from latent_jax.exact.model_file import (
    ATTENTION_BITS,
    BLOCKS,
    NORM_BITS,
    OUTPUT_BITS,
    PRODUCTS,
    IntegerConfig,
    dtype_of,
)
from latent_jax.layers.norms import EPSILON
from latent_jax.layers.relative import buckets
from latent_jax.models import integer_gpt
from latent_jax.models.gpt import GPTConfig

SCALES = {
    "embedding": (512.0, bounds.INT8),
    "query_key_value": (512.0, bounds.INT8),
    "attention_out": (512.0, bounds.INT8),
    "gate": (512.0, bounds.INT8),
    "up": (512.0, bounds.INT8),
    "down": (512.0, bounds.INT8),
    "final_gain": (8192.0, bounds.GAIN),
    "attention_gain": (8192.0, bounds.GAIN),
    "feed_forward_gain": (8192.0, bounds.GAIN),
    "position_bias": (64.0, gradients.LOGARITHM),
}
"""Last part of a name -> scale and largest integer of what is trained."""

MATRICES = ("embedding", *PRODUCTS)
"""Of them those that mix features; weight decay reaches no gain, bias or constant."""

FROZEN = (r"params/(.*/)?\w+_(multiplier|shift)",)
"""Paths of the constants, see `Task.frozen`."""


def integer_config(config: GPTConfig, context: int) -> IntegerConfig:
    """Return the shape of the file of a GPT.

    Raises:
        ValueError: it is not of the shape that integers are written for.
    """
    wrong = [
        f"{name}={getattr(config, name)} (not {wanted})"
        for name, wanted in WANTED.items()
        if getattr(config, name) != wanted
    ]
    if wrong or config.key_value_heads != config.n_heads:
        raise ValueError(
            f"no integer model has {', '.join(wrong) or 'grouped heads'}: "
            "take the shapes of configs/m1.py"
        )
    return IntegerConfig(
        n_layers=config.n_layers,
        d_model=config.d_model,
        n_heads=config.n_heads,
        d_ff=config.hidden_size,
        n_ages=config.relative_distance + 1,
        context=context,
    )


WANTED = dict(
    vocab_size=257,
    positions="relative",
    norm="rms",
    gated=True,
    norm_epsilon=EPSILON,
    use_bias=False,
    qkv_bias=False,
    activation="relu",
    dropout=0.0,
)


def initial(key: jax.Array, config: GPTConfig) -> dict[str, Any]:
    """Return drawn parameters: integers of deviation 30, and constants that keep them in range.

    A branch begins with half of the deviation of the embedding, as in `layers.dense`.
    """
    n, d, f, h = config.n_layers, config.d_model, config.hidden_size, config.n_heads
    size, wide = 30.0, 30.0 * 2**bounds.HALF
    drawn = {
        "embedding": (config.vocab_size, d),
        "query_key_value": (n, d, 3 * d),
        "attention_out": (n, d, d),
        "gate": (n, d, f),
        "up": (n, d, f),
        "down": (n, f, d),
    }
    keys = jax.random.split(key, len(drawn))
    weights = {
        name: jax.random.normal(one, shape) * (size / SCALES[name][0])
        for one, (name, shape) in zip(keys, drawn.items(), strict=True)
    }
    gain = size * d**0.5 * 2.0 ** (NORM_BITS - bounds.DIRECTION)
    gain = gain / SCALES["final_gain"][0]
    sums, stream, hidden = d**0.5 * size**2, 4096.0, 300.0
    into_down = f**0.5 * size * hidden**2
    constants = {
        "query_key_value": ((n, 3 * d), 40.0 / sums),
        "score": ((n, h), 20.0 / (config.head_size**0.5 * 40.0**2)),
        "mixed": ((n, h, d // h), 2.0**-bounds.MEAN),
        "attention_out": ((n, d), stream / 2 / sums),
        "gate": ((n, f), hidden / sums),
        "up": ((n, f), hidden / sums),
        "down": ((n, d), stream / 2 / into_down),
    }
    blocks = {
        "attention_gain": jnp.full((n, d), gain),
        "feed_forward_gain": jnp.full((n, d), gain),
        "position_bias": jnp.zeros((n, h, config.relative_buckets)),
        **{name: value for name, value in weights.items() if name != "embedding"},
    }
    for name, (shape, factor) in constants.items():
        blocks |= _constant(name, shape, factor, shape[:1])
    head = 32.0 / (d**0.5 * wide * size * 2.0**-bounds.WIDE)
    return {
        "embedding": weights["embedding"],
        "final_gain": jnp.full((d,), gain),
        **_constant("embedding", (config.vocab_size,), stream / size, ()),
        **_constant("head", (config.vocab_size,), head, ()),
        "blocks": blocks,
    }


def decays(config: GPTConfig) -> dict[str, bool]:
    """Return whether weight decay reaches each parameter, by its path; see `training.decay`."""
    params = jax.eval_shape(lambda key: initial(key, config), jax.random.key(0))
    names = {*params, *(f"{BLOCKS}{name}" for name in params["blocks"])} - {"blocks"}
    return {name: name.removeprefix(BLOCKS) in MATRICES for name in sorted(names)}


def _constant(name: str, shape: tuple, factor: float, shift_shape: tuple) -> dict[str, jax.Array]:
    """Return a multiplier of 8 bits and its shift."""
    n_bits = min(max(0, 8 - math.ceil(math.log2(factor))), 30)
    return {
        f"{name}_multiplier": jnp.full(shape, float(round(factor * 2**n_bits))),
        f"{name}_shift": jnp.full(shift_shape, float(n_bits)),
    }


def integers(params: Mapping[str, Any], config: GPTConfig) -> dict[str, Any]:
    """Return the integers that parameters stand for, float32, as `integer_gpt` takes them.

    The bias is trained by bucket and stands by age. Multipliers are those of the parameters, or
    what `bounded` leaves of them.
    """

    def whole(name, value):
        return gradients.whole(value, *SCALES[name]) if name in SCALES else value

    found = {name: whole(name, value) for name, value in params.items() if name != "blocks"}
    blocks = {name: whole(name, value) for name, value in params["blocks"].items()}
    ages = np.arange(config.relative_distance + 1)
    bucket_A = buckets(
        ages, causal=True, n_buckets=config.relative_buckets, last=config.relative_distance
    )
    is_bucket_RA = (np.arange(config.relative_buckets)[:, None] == bucket_A).astype(np.float32)
    blocks["position_bias"] = jnp.matmul(blocks["position_bias"], is_bucket_RA, precision="highest")
    return bounded({**found, "blocks": blocks}, config)


def bounded(weights: Mapping[str, Any], config: GPTConfig) -> dict[str, Any]:
    """Return weights whose multipliers keep every product in int32, as `model_file.check` asks.

    A multiplier m of a sum of at most S becomes the nearest one of |m| S < 2^31 - 2^(n-1). Those of
    a file keep it already. Scores and logits, |m| S / 2^n, stay within `gradients.LOGARITHM` too,
    which float32 holds. It is a constant for the gradient.

    Args:
        weights: integers in float32, as `integers` makes them.
        config: their shape.
    """
    sums = {
        "embedding": bounds.INT8,
        "head": ((_sums(weights["embedding"].swapaxes(0, 1)) * bounds.INT15) >> bounds.WIDE) + 1,
    }
    blocks = weights["blocks"]
    sums_of_blocks = {
        **{name: _sums(blocks[name]) * bounds.INT8 for name in PRODUCTS},
        "score": config.head_size * bounds.INT8**2,
        "mixed": bounds.INT8 * ((1 << bounds.MEAN) + 1),
    }
    return {
        **weights,
        **_multipliers(weights, sums),
        "blocks": {**blocks, **_multipliers(blocks, sums_of_blocks)},
    }


def _sums(weights_IO: jax.Array) -> jax.Array:
    """Return the largest sum of each output for inputs of 1, int32[..., O]."""
    return jnp.sum(jnp.abs(weights_IO).astype(jnp.int32), axis=-2, dtype=jnp.int32)


def _multipliers(weights: Mapping[str, Any], sums: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return the multipliers by name; see `bounded`. They are below 2^23, so float32 holds them."""
    found = {}
    for name, largest in sums.items():
        m, n_bits = (
            jax.lax.stop_gradient(weights[f"{name}_{part}"]).astype(jnp.int32)
            for part in ("multiplier", "shift")
        )
        half = (1 << n_bits) >> 1
        room = (1 << 31) - 1 - half
        if name in ("score", "head"):  # LOGARITHM 2^n leaves int32 from n = 8 on
            least = (gradients.LOGARITHM << jnp.minimum(n_bits, 7)) - half
            room = jnp.where(n_bits < 8, least, room)
        room = room.reshape(half.shape + (1,) * (m.ndim - half.ndim))
        most = room // jnp.maximum(jax.lax.stop_gradient(largest), 1)
        found[f"{name}_multiplier"] = jnp.clip(m, -most, most).astype(jnp.float32)
    return found


def check_trainable(config: GPTConfig) -> None:
    """Refuse a width of which weights may grow until a sum of int8 products leaves float32.

    Raises:
        ValueError: `d_ff` is above 1,040; the other sums have at most 511 inputs.
    """
    widest = (bounds.EXACT - 1) // bounds.INT8**2
    if config.hidden_size > widest:
        raise ValueError(
            f"model.d_ff={config.hidden_size}: while weights are trained, sums over more than "
            f"{widest} of 127^2 each may leave the integers of float32: give at most {widest}"
        )


def logits(
    params: Mapping[str, Any], config: GPTConfig, ids_BT: jax.Array, context: int
) -> jax.Array:
    """Return `integer_gpt.logits` of whole rows, float32[B, T, V] of integers, differentiable."""
    weights = integers(params, config)
    powers = jnp.asarray(bounds.powers(ATTENTION_BITS), jnp.float32)
    return integer_gpt.row_logits(gradients, weights, powers, context, ids_BT)


def export(params: Mapping[str, Any], config: GPTConfig) -> dict[str, np.ndarray]:
    """Return the arrays of the file; see `model_file.to_bytes`."""
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), dict(params))
    found = integers(params, config)
    blocks = found.pop("blocks")
    arrays = {**found, **{f"{BLOCKS}{name}": value for name, value in blocks.items()}}
    arrays = {name: np.asarray(value).astype(dtype_of(name)) for name, value in arrays.items()}
    for name, n_bits in (("attention_powers", ATTENTION_BITS), ("output_powers", OUTPUT_BITS)):
        arrays[name] = np.asarray(bounds.powers(n_bits), np.int32)
    return arrays
