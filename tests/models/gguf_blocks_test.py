"""Blocks of few bits: each type against a scalar reference written from ggml's structs."""

import struct

import numpy as np
import pytest

from latent_jax.models.gguf_blocks import BLOCKS, dequantize

N = 7
"""Blocks of each type."""


def f16(content):
    return np.float32(struct.unpack("<e", content)[0])


def signed(byte):
    return byte - 256 if byte > 127 else byte


def q4_0(block):
    """{half d; uint8 qs[16]}: w[j] = d (low - 8), w[j + 16] = d (high - 8)."""
    d, qs = f16(block[:2]), block[2:]
    low = [d * np.float32((q & 15) - 8) for q in qs]
    return low + [d * np.float32((q >> 4) - 8) for q in qs]


def q4_1(block):
    """{half d; half m; uint8 qs[16]}."""
    d, m, qs = f16(block[:2]), f16(block[2:4]), block[4:]
    return [d * np.float32(q & 15) + m for q in qs] + [d * np.float32(q >> 4) + m for q in qs]


def q8_0(block):
    """{half d; int8 qs[32]}."""
    return [f16(block[:2]) * np.float32(signed(q)) for q in block[2:]]


def scale_and_min(j, packed):
    """ggml's get_scale_min_k4."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    scale = (packed[j + 4] & 0xF) | ((packed[j - 4] >> 6) << 4)
    return scale, (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4)


def q4_k(block):
    """{half d; half dmin; uint8 scales[12]; uint8 qs[128]}."""
    d, dmin, packed, qs = f16(block[:2]), f16(block[2:4]), block[4:16], block[16:]
    found = []
    for pair in range(4):  # 64 weights share 32 bytes: low nibbles first
        for half in range(2):
            scale, least = scale_and_min(2 * pair + half, packed)
            for q in qs[32 * pair : 32 * pair + 32]:
                nibble = q >> 4 if half else q & 15
                found.append(d * np.float32(scale) * np.float32(nibble) - dmin * np.float32(least))
    return found


def q6_k(block):
    """{uint8 ql[128]; uint8 qh[64]; int8 scales[16]; half d}."""
    ql, qh, scales, d = block[:128], block[128:192], block[192:208], f16(block[208:])
    found = [None] * 256
    for half in range(2):
        for i in range(32):
            lows = [
                ql[64 * half + i] & 15,
                ql[64 * half + i + 32] & 15,
                ql[64 * half + i] >> 4,
                ql[64 * half + i + 32] >> 4,
            ]
            for run, low in enumerate(lows):
                high = (qh[32 * half + i] >> (2 * run)) & 3
                scale = signed(scales[8 * half + i // 16 + 2 * run])
                q = (low | (high << 4)) - 32
                found[128 * half + 32 * run + i] = d * np.float32(scale) * np.float32(q)
    return found


def f32(block):
    return [np.float32(struct.unpack("<f", block)[0])]


def bf16(block):
    return [np.float32(struct.unpack("<f", b"\0\0" + block)[0])]


SLOW = {0: f32, 1: lambda b: [f16(b)], 2: q4_0, 3: q4_1, 8: q8_0, 12: q4_k, 14: q6_k, 30: bf16}
FLOATS = {0: (), 1: (0,), 2: (0,), 3: (0, 2), 8: (0,), 12: (0, 2), 14: (208,), 30: ()}
"""Type -> where a block has float16."""


def random_blocks(kind):
    """Return blocks of random bits, in which every float16 is finite, as [n, bytes]."""
    random = np.random.default_rng(kind)
    blocks = random.integers(0, 256, (N, BLOCKS[kind].n_bytes), np.uint8)
    for at in FLOATS[kind]:
        value = (0.1 * random.standard_normal((N, 1))).astype("<f2")
        blocks[:, at : at + 2] = value.view(np.uint8)
    if kind in (0, 30):
        value = random.standard_normal((N, 1)).astype("<f4").view(np.uint8)
        blocks[:] = value[:, -BLOCKS[kind].n_bytes :]
    return blocks


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: BLOCKS[kind].name)
def test_weights_equal_those_of_a_scalar_reference_bit_for_bit(kind):
    blocks = random_blocks(kind)
    found = dequantize(blocks.tobytes(), kind)
    expected = np.array([w for block in blocks for w in SLOW[kind](block.tobytes())], np.float32)
    assert found.dtype == np.float32 and found.shape == (N * BLOCKS[kind].n_weights,)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) >= min(N, 7)


def test_every_type_has_a_reference():
    assert SLOW.keys() == BLOCKS.keys() == FLOATS.keys()


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: BLOCKS[kind].name)
def test_weights_equal_those_of_the_library(kind):
    gguf = pytest.importorskip("gguf", reason="pip install gguf")
    blocks = random_blocks(kind)
    expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(kind)).reshape(-1)
    np.testing.assert_array_equal(dequantize(blocks.tobytes(), kind), expected.astype(np.float32))


def test_no_block_is_an_empty_array():
    assert dequantize(b"", 3).shape == (0,)
