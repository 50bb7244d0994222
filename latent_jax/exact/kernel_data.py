"""What the kernels of an integer GPT read and write (`exact.kernels`), as arrays of Numba."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from latent_jax.exact.bounds import STREAM
from latent_jax.exact.matmul import OUTPUTS, ROWS, padded
from latent_jax.exact.model_file import N_SYMBOLS, PRODUCTS, IntegerConfig, of_blocks


class Product(NamedTuple):
    """A product of each of L layers, and how its sums are scaled.

    Attributes:
        narrow: int8[L, O, I].
        wide: float32[L, O', I], O filled up to a multiple of 6.
        multiplier: int32[L, O].
        shift: int64[L].
    """

    narrow: np.ndarray
    wide: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


class Weights(NamedTuple):
    """The arrays of a file as the kernels read them: L layers, D wide, H heads.

    Attributes:
        stream: int32[V, D], where each id begins.
        attention_gain: int32[L, D].
        query_key_value: see `Product`.
        score_multiplier: int32[L, H].
        score_shift: int64[L].
        bias: int32[L, H, A].
        mixed_multiplier: int32[L, D].
        mixed_shift: int64[L].
        attention_out: see `Product`.
        feed_forward_gain: int32[L, D].
        gate: see `Product`.
        up: see `Product`.
        down: see `Product`.
        final_gain: int32[D].
        head: a `Product` of one layer.
        attention_powers: int32[64].
        output_powers: int32[64].
        context: S.
    """

    stream: np.ndarray
    attention_gain: np.ndarray
    query_key_value: Product
    score_multiplier: np.ndarray
    score_shift: np.ndarray
    bias: np.ndarray
    mixed_multiplier: np.ndarray
    mixed_shift: np.ndarray
    attention_out: Product
    feed_forward_gain: np.ndarray
    gate: Product
    up: Product
    down: Product
    final_gain: np.ndarray
    head: Product
    attention_powers: np.ndarray
    output_powers: np.ndarray
    context: int


def make_weights(config: IntegerConfig, arrays: Mapping[str, np.ndarray]) -> Weights:
    """Return the weights of a checked file."""
    blocks = of_blocks(arrays)

    def product(kernel_LIO, multiplier_LO, shift_L):
        narrow = np.ascontiguousarray(kernel_LIO.swapaxes(1, 2))
        wide = np.stack([padded(kernel_IO) for kernel_IO in kernel_LIO])
        return Product(narrow, wide, np.ascontiguousarray(multiplier_LO), shift_L.astype(np.int64))

    products = {
        name: product(blocks[name], blocks[f"{name}_multiplier"], blocks[f"{name}_shift"])
        for name in PRODUCTS
    }
    shift = int(arrays["embedding_shift"])
    stream_VD = arrays["embedding"].astype(np.int64) * arrays["embedding_multiplier"][:, None]
    stream_VD = (stream_VD + ((1 << shift) >> 1)) >> shift
    return Weights(
        stream=np.clip(stream_VD, -STREAM, STREAM).astype(np.int32),
        attention_gain=blocks["attention_gain"],
        score_multiplier=blocks["score_multiplier"],
        score_shift=blocks["score_shift"].astype(np.int64),
        bias=blocks["position_bias"],
        mixed_multiplier=blocks["mixed_multiplier"].reshape(config.n_layers, config.d_model),
        mixed_shift=blocks["mixed_shift"].astype(np.int64),
        feed_forward_gain=blocks["feed_forward_gain"],
        final_gain=arrays["final_gain"],
        head=product(
            arrays["embedding"].T[None],
            arrays["head_multiplier"][None],
            arrays["head_shift"].reshape(1),
        ),
        attention_powers=arrays["attention_powers"],
        output_powers=arrays["output_powers"],
        context=config.context,
        **products,
    )


class Rings(NamedTuple):
    """Keys and values of the lanes, int8[lanes, L, H, slots, d]."""

    keys: np.ndarray
    values: np.ndarray


def make_rings(config: IntegerConfig, n_lanes: int) -> Rings:
    """Return rings in which nothing will be read before it is written.

    They are 15 slots longer than the context, so that 16 positions can be written before any reads.
    """
    n_slots = config.context + ROWS - 1
    shape = (n_lanes, config.n_layers, config.n_heads, n_slots, config.head_size)
    return Rings(np.zeros(shape, np.int8), np.zeros(shape, np.int8))


class Scratch(NamedTuple):
    """Room for one call; one for each thread."""

    x: np.ndarray
    operands: np.ndarray
    low: np.ndarray
    sums: np.ndarray
    low_sums: np.ndarray
    columns: np.ndarray
    outputs: np.ndarray
    numbers: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    shifts: np.ndarray


def make_scratch(config: IntegerConfig) -> Scratch:
    """Return room for one thread."""
    d, f, n_slots = config.d_model, config.d_ff, config.context + ROWS - 1
    widest = max(3 * d, f, N_SYMBOLS) + OUTPUTS
    return Scratch(
        x=np.zeros((ROWS, d), np.int32),
        operands=np.zeros((ROWS, max(d, f)), np.float32),
        low=np.zeros((ROWS, max(d, f)), np.float32),
        sums=np.zeros((ROWS, widest), np.float32),
        low_sums=np.zeros((ROWS, widest), np.float32),
        columns=np.zeros((max(d, f), ROWS), np.float32),
        outputs=np.zeros((widest, ROWS), np.float32),
        numbers=np.zeros((2, widest), np.int32),
        scores=np.zeros(n_slots, np.float32),
        weights=np.zeros(n_slots, np.int32),
        shifts=np.zeros(ROWS, np.int64),
    )
