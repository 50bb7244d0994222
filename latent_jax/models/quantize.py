"""From a trained float GPT to the first parameters of an integer one, by its ranges on text.

Post-training quantization (Jacob et al. 2018; Nagel et al. 2021, "A White Paper on Neural Network
Quantization", section 3): weights get a scale for each output, activations one for each array,
chosen to make the squared error small. What this costs, training with the integers in the loop
(`quantized_gpt`) wins back.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.exact import bounds
from latent_jax.exact.model_file import NORM_BITS, WIDE_NORM_BITS
from latent_jax.layers.attention import attend
from latent_jax.layers.block import Block, by_layer
from latent_jax.layers.norms import RMSNorm
from latent_jax.layers.relative import PositionBias
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.quantized_gpt import SCALES

BITS_PER_NAT = 1 / math.log(2)
ROOM = 1 << 30
"""Largest product of a sum and its multiplier; weights may grow by a half until it overflows."""
STREAM_ROOM = 1 << 16
"""The largest number of the stream on the text; eight times as much does not overflow."""


def quantize(params: Mapping[str, Any], config: GPTConfig, ids_BT: np.ndarray) -> dict[str, Any]:
    """Return parameters for `quantized_gpt`, float32.

    Args:
        params: of the float `GPT`.
        config: its shape.
        ids_BT: int32, some rows of text, each with the separator before it.
    """
    seen = _activations(params, config, ids_BT)
    blocks = [
        _block(layer, kept, seen["unit"], config)
        for layer, kept in zip(by_layer(params["stack"]["blocks"]), seen["blocks"], strict=True)
    ]
    table_VD = np.asarray(params["token_embedding"]["embedding"], np.float64)
    step_V = _steps(table_VD.T)
    final_step = 1.2 * np.abs(seen["final"]).max() / bounds.INT15
    unit = seen["unit"]
    embed, embed_shift = _multiplier(step_V / unit, bounds.INT8)
    to_logit = step_V * final_step * BITS_PER_NAT * 2.0 ** (bounds.OCTAVE + bounds.WIDE)
    sums = _sums(table_VD.T, step_V) * bounds.INT15 / 2**bounds.WIDE
    head, head_shift = _multiplier(to_logit, sums)
    found = {
        "embedding": table_VD / step_V[:, None] / SCALES["embedding"][0],
        "embedding_multiplier": embed,
        "embedding_shift": embed_shift,
        "head_multiplier": head,
        "head_shift": head_shift,
        "final_gain": _gain(params["stack"]["final_norm"], final_step, WIDE_NORM_BITS),
        "blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *blocks),
    }
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), found)


def _block(layer, seen, unit, config) -> dict[str, Any]:
    """Return the parameters of a block."""
    attention, forward, d = layer["attention"], layer["feed_forward"], config.d_model
    head_size = config.head_size
    kernels = {
        "query_key_value": attention["query_key_value"]["kernel"],
        "attention_out": attention["out"]["kernel"],
        "gate": forward["gate"]["kernel"],
        "up": forward["up"]["kernel"],
        "down": forward["down"]["kernel"],
    }
    inputs = {"attention_out": d, "down": config.hidden_size}
    kernels = {
        name: np.asarray(kernel, np.float64).reshape(inputs.get(name, d), -1)
        for name, kernel in kernels.items()
    }
    steps = {name: _steps(kernel) for name, kernel in kernels.items()}
    found = {name: w / steps[name] / SCALES[name][0] for name, w in kernels.items()}
    # Queries and keys have a step for each head, values one for each feature.
    parts_BTH3d = seen["query_key_value"]
    q_H1, k_H1 = (
        np.array([[_step(parts_BTH3d[:, :, h, part])] for h in range(config.n_heads)])
        for part in (0, 1)
    )
    v_HD = _steps(parts_BTH3d[:, :, :, 2].reshape(-1, d)).reshape(config.n_heads, head_size)
    part_H3d = np.stack([np.broadcast_to(x, v_HD.shape) for x in (q_H1, k_H1, v_HD)], axis=1)
    to_scores = q_H1[:, 0] * k_H1[:, 0] * head_size**-0.5 * BITS_PER_NAT * 2**bounds.OCTAVE
    mixed_step = _step(seen["mixed"])
    gate_step, up_step = (1.2 * np.abs(seen[n]).max() / bounds.GATE for n in ("gate", "up"))
    norm_steps = {n: _step(seen[n]) for n in ("attention_norm", "feed_forward_norm")}
    out_steps = {
        "query_key_value": part_H3d.reshape(-1),
        "attention_out": unit,
        "gate": gate_step,
        "up": up_step,
        "down": unit,
    }
    in_steps = {
        "query_key_value": norm_steps["attention_norm"],
        "attention_out": mixed_step,
        "gate": norm_steps["feed_forward_norm"],
        "up": norm_steps["feed_forward_norm"],
        "down": gate_step * up_step,
    }
    for name, kernel in kernels.items():
        factor = steps[name] * in_steps[name] / out_steps[name]
        multiplier = _multiplier(factor, _sums(kernel, steps[name]) * bounds.INT8)
        found[f"{name}_multiplier"], found[f"{name}_shift"] = multiplier
    scores = _multiplier(to_scores, head_size * bounds.INT8**2)
    found["score_multiplier"], found["score_shift"] = scores
    mixed = _multiplier(v_HD / mixed_step / 2**bounds.MEAN, bounds.INT8 << bounds.MEAN)
    found["mixed_multiplier"], found["mixed_shift"] = mixed
    table = np.asarray(attention["position_bias"]["table"], np.float64)
    found["position_bias"] = table * BITS_PER_NAT
    for name in ("attention", "feed_forward"):
        norm = layer[f"{name}_norm"]
        found[f"{name}_gain"] = _gain(norm, norm_steps[f"{name}_norm"], NORM_BITS)
    return found


def _gain(norm, step: float, n_bits: int) -> np.ndarray:
    """Return what a direction is multiplied by, as a parameter."""
    scale_D = np.asarray(norm["scale"], np.float64)
    gain = scale_D * len(scale_D) ** 0.5 / step * 2.0 ** (n_bits - bounds.DIRECTION)
    return gain / SCALES["final_gain"][0]


def _multiplier(factor: np.ndarray, largest: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return integers m and n with m / 2^n near `factor`, as precise as int32 allows."""
    n_bits = math.floor(math.log2(ROOM / np.max(factor * largest)))
    n_bits = min(max(n_bits, 0), 30, math.floor(math.log2((1 << 23) / np.max(factor))))
    return np.round(factor * 2.0**n_bits), np.asarray(float(n_bits))


def _sums(weights_IO: np.ndarray, step_O: np.ndarray) -> np.ndarray:
    """Return the sum of the absolute integers of each output."""
    return np.abs(np.round(weights_IO / step_O)).sum(axis=0)


def _steps(values_NO: np.ndarray) -> np.ndarray:
    """Return the step of each column's integers, up to 127, that makes the squared error small."""
    values_NO = values_NO[:: max(1, len(values_NO) // 4096)]
    largest_O = np.maximum(np.abs(values_NO).max(axis=0), 1e-6)
    best_O, least_O = largest_O / bounds.INT8, np.full(len(largest_O), np.inf)
    for ratio in np.linspace(0.3, 1.0, 29):
        step_O = ratio * largest_O / bounds.INT8
        rounded = np.clip(np.round(values_NO / step_O), -bounds.INT8, bounds.INT8) * step_O
        error_O = np.square(rounded - values_NO).sum(axis=0)
        best_O = np.where(error_O < least_O, step_O, best_O)
        least_O = np.minimum(error_O, least_O)
    return best_O


def _step(values: np.ndarray) -> float:
    """Return the one step of an array; see `_steps`."""
    values = np.asarray(values, np.float64).reshape(-1)
    values = values[:: max(1, len(values) // 200_000)]
    order = np.argsort(-np.abs(values))[: max(1, len(values) // 4096)]  # the largest stay in
    return float(_steps(np.concatenate([values[order], values])[:, None])[0])


def _activations(params, config: GPTConfig, ids_BT: np.ndarray) -> dict[str, Any]:
    """Return what the float network computes on some rows, float64 arrays by name."""
    x_BTD = jnp.asarray(params["token_embedding"]["embedding"])[ids_BT]
    largest, blocks = jnp.abs(x_BTD).max(), []
    for layer in by_layer(params["stack"]["blocks"]):
        run = jax.jit(
            functools.partial(
                Block(config, causal=True).apply,
                mutable="intermediates",
                capture_intermediates=True,
            )
        )
        (x_BTD, _), kept = run({"params": layer}, x_BTD)
        kept = kept["intermediates"]
        parts = kept["attention"]["query_key_value"]["__call__"][0]
        if isinstance(parts, tuple):
            parts = jnp.stack(parts, axis=3)
        forward = kept["feed_forward"]
        found = {
            "query_key_value": parts,
            "mixed": _mixed(config, layer, parts),
            "attention_norm": kept["attention_norm"]["__call__"][0],
            "feed_forward_norm": kept["feed_forward_norm"]["__call__"][0],
            "gate": jax.nn.relu(forward["gate"]["__call__"][0]),
            "up": forward["up"]["__call__"][0],
        }
        blocks.append({name: np.asarray(value, np.float64) for name, value in found.items()})
        largest = jnp.maximum(largest, jnp.abs(x_BTD).max())
    final = RMSNorm().apply({"params": params["stack"]["final_norm"]}, x_BTD)
    return {
        "blocks": blocks,
        "final": np.asarray(final, np.float64),
        "unit": float(largest) / STREAM_ROOM,
    }


def _mixed(config: GPTConfig, layer, parts_BTH3d) -> jax.Array:
    """Return what attention makes of queries, keys and values."""
    bias = PositionBias(config, causal=True).apply(
        {"params": layer["attention"]["position_bias"]}, parts_BTH3d.shape[1]
    )
    q, k, v = (parts_BTH3d[:, :, :, part] for part in range(3))
    return attend(q, k, v, bias_HTS=bias, causal=True)
