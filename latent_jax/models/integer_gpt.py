"""A causal byte GPT in integers: the network of a model file whose tables are exact.

The shape is that of `models.gpt` as `configs/m1.py` has it: pre-norm blocks, RMS norms, attention
with a bias by distance, a gated feed-forward part with ReLU, no biases, a head tied to the
embedding. Every number is an integer, and `exact.operations` says why every operation has one
result. The network takes its operations as a module: `exact.operations`, or `exact.gradients`,
which carries the same integers in floats and can be trained.

Weights are a tree of arrays, those of the blocks with a leading axis of depth; `exact.model_file`
names them and checks their bounds. In `stream` units a position is D integers within +-2^19.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.exact import bounds, operations
from latent_jax.exact.model_file import NORM_BITS, WIDE_NORM_BITS
from latent_jax.layers.block import by_layer
from latent_jax.layers.cache import Cache, ages

Weights = Mapping[str, Any]


def block(
    ops: ModuleType, w: Weights, x_BTD: jax.Array, attend: Callable, dtype: str = "float32"
) -> jax.Array:
    """Return the stream after one layer, [B, T, D].

    Args:
        ops: the operations.
        w: the layer's weights.
        x_BTD: the stream.
        attend: takes queries, keys and values of these positions, [B, T, H, d], and returns the
            mixed values, of the same shape.
        dtype: of the operands of products.
    """
    limit, stream = bounds.INT8, bounds.STREAM
    n_heads, head_size = w["position_bias"].shape[0], x_BTD.shape[2] // w["position_bias"].shape[0]
    h_BTD = ops.norm(x_BTD, w["attention_gain"], NORM_BITS, limit)
    sums = ops.product(h_BTD, w["query_key_value"], dtype)
    parts = ops.requantize(
        sums, w["query_key_value_multiplier"], w["query_key_value_shift"], -limit, limit
    ).reshape(*x_BTD.shape[:2], n_heads, 3, head_size)
    mixed = attend(parts[..., 0, :], parts[..., 1, :], parts[..., 2, :])
    mixed = ops.requantize(mixed, w["mixed_multiplier"], w["mixed_shift"], -limit, limit)
    sums = ops.product(mixed.reshape(x_BTD.shape), w["attention_out"], dtype)
    x_BTD = ops.add(
        x_BTD,
        ops.requantize(
            sums, w["attention_out_multiplier"], w["attention_out_shift"], -stream, stream
        ),
    )
    h_BTD = ops.norm(x_BTD, w["feed_forward_gain"], NORM_BITS, limit)
    gate = ops.requantize(
        ops.product(h_BTD, w["gate"], dtype), w["gate_multiplier"], w["gate_shift"], 0, bounds.GATE
    )
    up = ops.requantize(
        ops.product(h_BTD, w["up"], dtype),
        w["up_multiplier"],
        w["up_shift"],
        -bounds.GATE,
        bounds.GATE,
    )
    shift_BT1 = ops.gate_shift(gate, up)
    sums = ops.product(ops.gated(gate, up, shift_BT1), w["down"], dtype)
    n_bits_BT1 = w["down_shift"] - shift_BT1
    return ops.add(x_BTD, ops.requantize(sums, w["down_multiplier"], n_bits_BT1, -stream, stream))


def embed(ops: ModuleType, w: Weights, ids_BT: jax.Array) -> jax.Array:
    """Return the stream of ids, [B, T, D]."""
    return ops.requantize(
        w["embedding"][ids_BT].astype(w["embedding_multiplier"].dtype),
        w["embedding_multiplier"][ids_BT][..., None],
        w["embedding_shift"],
        -bounds.STREAM,
        bounds.STREAM,
    )


def logits(ops: ModuleType, w: Weights, x_BTD: jax.Array, dtype: str = "float32") -> jax.Array:
    """Return log2 p in units of 2^-6, up to a constant for each position, [B, T, V]."""
    h_BTD = ops.norm(x_BTD, w["final_gain"], WIDE_NORM_BITS, bounds.INT15)
    sums = ops.wide_product(h_BTD, w["embedding"].T, dtype)
    return ops.requantize(sums, w["head_multiplier"], w["head_shift"], -bounds.SCORE, bounds.SCORE)


def row_logits(
    ops: ModuleType,
    w: Weights,
    powers: jax.Array,
    context: int,
    ids_BT: jax.Array,
    dtype: str = "float32",
) -> jax.Array:
    """Return the logits after every position of whole rows, [B, T, V].

    Args:
        ops: the operations.
        w: the weights.
        powers: the table of attention weights.
        context: positions that one attends to, itself included.
        ids_BT: int32.
        dtype: of the operands of products.
    """
    x_BTD = embed(ops, w, ids_BT)
    for layer in by_layer(w["blocks"]):
        attend = functools.partial(attend_rows, ops, layer, powers, context, dtype=dtype)
        x_BTD = block(ops, layer, x_BTD, attend, dtype)
    return logits(ops, w, x_BTD, dtype)


def table(logits_BTV: jax.Array, powers: jax.Array) -> jax.Array:
    """Return what counts are proportional to, int32[B, T, V] from 0 to 2^20 - 1."""
    below = jnp.max(logits_BTV, axis=-1, keepdims=True) - logits_BTV
    return operations.power_of_two(below, powers)


def attend_rows(
    ops: ModuleType,
    w: Weights,
    powers: jax.Array,
    context: int,
    q_BTHd: jax.Array,
    k_BTHd: jax.Array,
    v_BTHd: jax.Array,
    dtype: str = "float32",
    tile: int = 128,
) -> jax.Array:
    """Return what each position makes of itself and the `context` - 1 before it, [B, T, H, d].

    Queries are taken a tile at a time, each with the keys that it may read; the integers are the
    same whatever the tile.
    """
    q_BHTd, k_BHTd, v_BHTd = (x.swapaxes(1, 2) for x in (q_BTHd, k_BTHd, v_BTHd))
    length, tiles = q_BHTd.shape[2], []
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        first = max(0, start - context + 1)
        age_QS = jnp.arange(start, stop)[:, None] - jnp.arange(first, stop)[None]
        bias_HQS = _bias_of_rows(w["position_bias"], start, stop, first)
        sums = ops.product(q_BHTd[:, :, start:stop], k_BHTd[:, :, first:stop].swapaxes(2, 3), dtype)
        scores = bias_HQS[None] + ops.requantize(
            sums,
            w["score_multiplier"][:, None, None],
            w["score_shift"],
            -bounds.SCORE,
            bounds.SCORE,
        )
        is_read = ((age_QS >= 0) & (age_QS < context))[None, None]
        tiles.append(ops.mix(scores, is_read, powers, v_BHTd[:, :, first:stop], dtype))
    return jnp.concatenate(tiles, axis=2).swapaxes(1, 2)


def step_logits(
    w: Weights,
    powers: jax.Array,
    rings: Sequence[Cache],
    ids_B: jax.Array,
    position_B: jax.Array,
    dtype: str = "float32",
) -> tuple[jax.Array, list[Cache]]:
    """Return the logits after one more id of each lane, int32[B, V], and the rings with it.

    Args:
        w: the weights.
        powers: the table of attention weights.
        rings: of each layer, int8[B, H, S, d]; S is the context.
        ids_B: int32.
        position_B: int32, how many ids the lane has read.
        dtype: of the operands of products.
    """
    x_B1D, written = embed(operations, w, ids_B[:, None]), []
    for layer, ring in zip(by_layer(w["blocks"]), rings, strict=True):

        def attend(q_B1Hd, k_B1Hd, v_B1Hd, layer=layer, ring=ring):
            mixed_BHd, ring = attend_step(
                layer, powers, ring, q_B1Hd[:, 0], k_B1Hd[:, 0], v_B1Hd[:, 0], position_B, dtype
            )
            written.append(ring)
            return mixed_BHd[:, None]

        x_B1D = block(operations, layer, x_B1D, attend, dtype)
    return logits(operations, w, x_B1D, dtype)[:, 0], written


def attend_step(
    w: Weights,
    powers: jax.Array,
    ring: Cache,
    q_BHd: jax.Array,
    k_BHd: jax.Array,
    v_BHd: jax.Array,
    position_B: jax.Array,
    dtype: str = "float32",
) -> tuple[jax.Array, Cache]:
    """Write one position of each lane, and return what it makes of itself and those before it."""
    n_slots, n_ages = ring.k_BGSd.shape[2], w["position_bias"].shape[1]
    lanes_B, slot_B = jnp.arange(len(q_BHd)), position_B % n_slots
    ring = Cache(
        *(
            old.at[lanes_B, :, slot_B].set(new.astype(old.dtype), unique_indices=True)
            for old, new in zip(ring, (k_BHd, v_BHd), strict=True)
        )
    )
    sums_BH1S = operations.product(q_BHd[:, :, None], ring.k_BGSd.swapaxes(2, 3), dtype)
    age_BS = ages(position_B, n_slots)
    bias_BHS = jnp.take(w["position_bias"], jnp.minimum(age_BS, n_ages - 1), axis=1).swapaxes(0, 1)
    scores = bias_BHS[:, :, None] + operations.requantize(
        sums_BH1S,
        w["score_multiplier"][:, None, None],
        w["score_shift"],
        -bounds.SCORE,
        bounds.SCORE,
    )
    is_read = (age_BS <= position_B[:, None])[:, None, None]
    return operations.mix(scores, is_read, powers, ring.v_BGSd, dtype)[:, :, 0], ring


def _bias_of_rows(bias_HA: jax.Array, start: int, stop: int, first: int) -> jax.Array:
    """Return the bias of queries [start, stop) and keys [first, stop), [H, Q, S].

    From age A - 1 on all ages share the last bias; keys ahead are masked and get the first. Rows of
    one number less than the period of what they are filled with begin one further to the left each,
    as in `layers.relative`: the gradient is a sum of rows, where a look-up's is a scatter.
    """
    n_heads, n_ages = bias_HA.shape
    n_queries, oldest = stop - start, stop - 1 - first
    by_age = [jnp.repeat(bias_HA[:, -1:], max(oldest + 1 - n_ages, 0), axis=1)]
    by_age += [bias_HA[:, : oldest + 1][:, ::-1], jnp.repeat(bias_HA[:, :1], n_queries - 1, axis=1)]
    line_HN = jnp.concatenate(by_age, axis=1)  # from the oldest on
    n_line = line_HN.shape[1]
    period_HQP = jnp.pad(line_HN, ((0, 0), (0, 1)))[:, None]
    filled = jnp.broadcast_to(period_HQP, (n_heads, n_queries, n_line + 1))
    filled = filled.reshape(n_heads, -1)[:, : n_queries * n_line]
    return filled.reshape(n_heads, n_queries, n_line)[:, :, n_queries - 1 :]
