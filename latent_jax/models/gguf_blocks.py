"""Weights of few bits in blocks, as GGUF files hold them: bytes to float32.

The structs and rules are those of ggml, https://github.com/ggml-org/ggml/blob/master/src/
ggml-common.h and ggml-quants.c (`block_q4_0` to `block_q6_K`, `dequantize_row_*`). d, m and dmin
are float16, and products and sums are float32, in ggml's order, so that the numbers are ggml's.
Shapes: N blocks, S parts of a block with a scale of their own, W weights.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Block:
    """A type of a tensor.

    Attributes:
        name: ggml's.
        n_weights: of a block.
        n_bytes: of a block.
        weights: function from uint8[N, n_bytes] to float32[N, n_weights].
    """

    name: str
    n_weights: int
    n_bytes: int
    weights: Callable[[np.ndarray], np.ndarray]


def dequantize(content: bytes, kind: int) -> np.ndarray:
    """Return the weights of whole blocks, float32[n].

    Args:
        content: a multiple of the bytes of a block.
        kind: a key of `BLOCKS`.
    """
    block = BLOCKS[kind]
    return block.weights(np.frombuffer(content, np.uint8).reshape(-1, block.n_bytes)).reshape(-1)


def _f32(bytes_NB: np.ndarray) -> np.ndarray:
    return bytes_NB.view("<f4").astype(np.float32)


def _f16(bytes_NB: np.ndarray) -> np.ndarray:
    """Return float16 of the given bytes as float32, [N, B / 2]."""
    return np.ascontiguousarray(bytes_NB).view("<f2").astype(np.float32)


def _bf16(bytes_NB: np.ndarray) -> np.ndarray:
    """Return the upper halves of float32 as float32."""
    return (bytes_NB.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _nibbles(bytes_NB: np.ndarray) -> np.ndarray:
    """Return [N, 2 B] numbers of 4 bits: the low ones of all bytes, then the high ones."""
    return np.concatenate([bytes_NB & 15, bytes_NB >> 4], axis=1)


def _q4_0(bytes_NB: np.ndarray) -> np.ndarray:
    """Return d (q - 8)."""
    q_NW = _nibbles(bytes_NB[:, 2:]).astype(np.int8) - np.int8(8)
    return _f16(bytes_NB[:, :2]) * q_NW.astype(np.float32)


def _q4_1(bytes_NB: np.ndarray) -> np.ndarray:
    """Return d q + m."""
    q_NW = _nibbles(bytes_NB[:, 4:]).astype(np.float32)
    return _f16(bytes_NB[:, :2]) * q_NW + _f16(bytes_NB[:, 2:4])


def _q8_0(bytes_NB: np.ndarray) -> np.ndarray:
    """Return d q."""
    q_NW = np.ascontiguousarray(bytes_NB[:, 2:]).view(np.int8).astype(np.float32)
    return _f16(bytes_NB[:, :2]) * q_NW


def _q4_k(bytes_NB: np.ndarray) -> np.ndarray:
    """Return d scale q - dmin least, with 6 bits of scale and least for each of 8 parts of 32."""
    d_N1, dmin_N1 = _f16(bytes_NB[:, :2]), _f16(bytes_NB[:, 2:4])
    packed_N12 = bytes_NB[:, 4:16]
    first_N4, second_N4, third_N4 = packed_N12[:, :4], packed_N12[:, 4:8], packed_N12[:, 8:]
    # The upper bits of the last four of both are the upper two bits of the bytes before.
    scale_N8 = np.concatenate(
        [first_N4 & 63, (third_N4 & 15) | ((first_N4 >> 6) << 4)], axis=1
    ).astype(np.float32)
    least_N8 = np.concatenate(
        [second_N4 & 63, (third_N4 >> 4) | ((second_N4 >> 6) << 4)], axis=1
    ).astype(np.float32)
    q_N4B = bytes_NB[:, 16:].reshape(-1, 4, 32)
    q_N8W = np.stack([q_N4B & 15, q_N4B >> 4], axis=2).reshape(-1, 8, 32).astype(np.float32)
    return ((d_N1 * scale_N8)[..., None] * q_N8W - (dmin_N1 * least_N8)[..., None]).reshape(-1, 256)


def _q6_k(bytes_NB: np.ndarray) -> np.ndarray:
    """Return d scale (q - 32), with an int8 scale for each of 16 parts of 16."""
    low_N2B, high_N2B = (
        bytes_NB[:, :128].reshape(-1, 2, 64),
        bytes_NB[:, 128:192].reshape(-1, 2, 32),
    )
    scale_NS = np.ascontiguousarray(bytes_NB[:, 192:208]).view(np.int8).astype(np.float32)
    # Each half has four runs of 32: low bits of two runs of bytes, then their high bits.
    low_N2RW = np.stack(
        [
            low_N2B[..., :32] & 15,
            low_N2B[..., 32:] & 15,
            low_N2B[..., :32] >> 4,
            low_N2B[..., 32:] >> 4,
        ],
        axis=2,
    )
    shift_R1 = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high_N2RW = ((high_N2B[:, :, None] >> shift_R1) & 3) << 4
    q_NSW = ((low_N2RW | high_N2RW).astype(np.int8) - np.int8(32)).reshape(-1, 16, 16)
    return ((_f16(bytes_NB[:, 208:]) * scale_NS)[..., None] * q_NSW.astype(np.float32)).reshape(
        -1, 256
    )


BLOCKS = {
    0: Block("F32", 1, 4, _f32),
    1: Block("F16", 1, 2, _f16),
    2: Block("Q4_0", 32, 18, _q4_0),
    3: Block("Q4_1", 32, 20, _q4_1),
    8: Block("Q8_0", 32, 34, _q8_0),
    12: Block("Q4_K", 256, 144, _q4_k),
    14: Block("Q6_K", 256, 210, _q6_k),
    30: Block("BF16", 1, 2, _bf16),
}
"""ggml's number of a type -> how its blocks are read."""

NAMES = {
    6: "Q5_0",
    7: "Q5_1",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    13: "Q5_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    20: "IQ4_NL",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
}
"""Types that other files have and that are not read, for messages."""
