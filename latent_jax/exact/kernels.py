"""An integer GPT on a processor, for a few rows at a time: `models.integer_gpt` in Numba.

A row is one position of one lane. Rows of one call may be lanes that decode side by side, or
consecutive positions of one lane whose text is known: the integers are the same, only faster. A
lane keeps keys and values in a ring that is `ROWS` - 1 slots longer than the context, so that the
rows of one call can write theirs before any of them reads.

Integers stand in float32 only as operands and sums of products (`matmul`); what happens between
them is in `row_kernels`.
"""

import numba
import numpy as np

from latent_jax.exact import row_kernels
from latent_jax.exact.bounds import GATE, INT8, INT15
from latent_jax.exact.matmul import ROWS, block_product, row_product
from latent_jax.exact.model_file import NORM_BITS, WIDE_NORM_BITS

SINGLE = 5
"""Up to so many rows are multiplied one by one."""


@numba.njit(cache=True, nogil=True)
def _product(x_RI, n_rows, narrow_OI, wide_OI, scratch, out_RO):
    """Write the sums of each row."""
    n_outputs, n_inputs = narrow_OI.shape
    if n_rows <= SINGLE:
        for r in range(n_rows):
            row_product(x_RI[r, :n_inputs], narrow_OI, out_RO[r])
        return
    columns, outputs = scratch.columns, scratch.outputs
    for r in range(n_rows):
        x_I = x_RI[r]
        for i in range(n_inputs):
            columns[i, r] = x_I[i]
    block_product(columns[:n_inputs], wide_OI, outputs)
    for r in range(n_rows):
        out_O = out_RO[r]
        for o in range(n_outputs):
            out_O[o] = outputs[o, r]


@numba.njit(cache=True, nogil=True)
def advance(w, rings, scratch, lanes_R, ids_R, positions_R, n_rows, out_RV):
    """Read one id in each row, and write the table after it.

    Args:
        w: from `kernel_data.make_weights`.
        rings: from `kernel_data.make_rings`, changed in place.
        scratch: from `kernel_data.make_scratch`.
        lanes_R: int64, the lane of each row.
        ids_R: int32, what it reads.
        positions_R: int32, how many ids the lane has read. Rows of one lane are consecutive.
        n_rows: of them, at most 16.
        out_RV: int32[n, 257], what counts are proportional to.
    """
    x_RD, operands, work = scratch.x, scratch.operands, scratch.numbers[0]
    for r in range(n_rows):
        x_RD[r] = w.stream[ids_R[r]]
    for layer in range(len(w.attention_gain)):
        for r in range(n_rows):
            gain_D = w.attention_gain[layer]
            row_kernels.norm(x_RD[r], gain_D, NORM_BITS, INT8, work, operands[r])
        _attention(w, layer, rings, scratch, lanes_R, positions_R, n_rows)
        for r in range(n_rows):
            gain_D = w.feed_forward_gain[layer]
            row_kernels.norm(x_RD[r], gain_D, NORM_BITS, INT8, work, operands[r])
        _feed_forward(w, layer, n_rows, scratch)
    for r in range(n_rows):
        row_kernels.norm(x_RD[r], w.final_gain, WIDE_NORM_BITS, INT15, work, operands[r])
        row_kernels.halve(operands[r, : x_RD.shape[1]], scratch.low[r])
    narrow, wide, sums = w.head.narrow[0], w.head.wide[0], scratch.sums
    _product(operands, n_rows, narrow, wide, scratch, sums)
    _product(scratch.low, n_rows, narrow, wide, scratch, scratch.low_sums)
    for r in range(n_rows):
        row_kernels.join(sums[r], scratch.low_sums[r])
        multiplier_V, n_bits = w.head.multiplier[0], w.head.shift[0]
        row_kernels.table(sums[r], multiplier_V, n_bits, w.output_powers, out_RV[r])


@numba.njit(cache=True, nogil=True)
def _attention(w, layer, rings, scratch, lanes_R, positions_R, n_rows):
    """Add the attention branch, from the normalised stream in `operands`."""
    operands, sums, low = scratch.operands, scratch.sums, scratch.low
    d_model, n_heads, n_slots = scratch.x.shape[1], rings.keys.shape[2], rings.keys.shape[3]
    size, part = d_model // n_heads, w.query_key_value
    _product(operands, n_rows, part.narrow[layer], part.wide[layer], scratch, sums)
    for r in range(n_rows):
        parts_O = scratch.numbers[0, : 3 * d_model]
        row_kernels.scale(sums[r], part.multiplier[layer], part.shift[layer], -INT8, INT8, parts_O)
        slot = positions_R[r] % n_slots
        for h in range(n_heads):
            first, query_d = 3 * h * size, operands[r, h * size : (h + 1) * size]
            key_d = rings.keys[lanes_R[r], layer, h, slot]
            value_d = rings.values[lanes_R[r], layer, h, slot]
            for d in range(size):
                query_d[d] = np.float32(parts_O[first + d])
                key_d[d] = parts_O[first + size + d]
                value_d[d] = parts_O[first + 2 * size + d]
    work = scratch.scores, scratch.weights
    for r in range(n_rows):
        mixed_D = scratch.numbers[0, :d_model]
        for h in range(n_heads):
            here = slice(h * size, (h + 1) * size)
            row_kernels.attend(
                operands[r, here],
                rings.keys[lanes_R[r], layer, h],
                rings.values[lanes_R[r], layer, h],
                np.int64(positions_R[r]),
                w.context,
                np.int64(w.score_multiplier[layer, h]),
                w.score_shift[layer],
                w.bias[layer, h],
                w.attention_powers,
                work,
                mixed_D[here],
            )
        for d in range(d_model):
            y = np.int64(mixed_D[d]) * w.mixed_multiplier[layer, d]
            y = row_kernels.shifted(y, w.mixed_shift[layer])
            low[r, d] = np.float32(min(max(y, -INT8), INT8))
    part = w.attention_out
    _product(low, n_rows, part.narrow[layer], part.wide[layer], scratch, sums)
    for r in range(n_rows):
        multiplier_D, n_bits = part.multiplier[layer], part.shift[layer]
        work_D = scratch.numbers[0, :d_model]
        row_kernels.add_branch(scratch.x[r], sums[r], multiplier_D, n_bits, work_D)


@numba.njit(cache=True, nogil=True)
def _feed_forward(w, layer, n_rows, scratch):
    """Add the feed-forward branch, from the normalised stream in `operands`."""
    operands, sums, low_sums = scratch.operands, scratch.sums, scratch.low_sums
    _product(operands, n_rows, w.gate.narrow[layer], w.gate.wide[layer], scratch, sums)
    _product(operands, n_rows, w.up.narrow[layer], w.up.wide[layer], scratch, low_sums)
    n_hidden = w.gate.multiplier.shape[1]
    gate_F, up_F = scratch.numbers[0, :n_hidden], scratch.numbers[1, :n_hidden]
    for r in range(n_rows):
        row_kernels.scale(sums[r], w.gate.multiplier[layer], w.gate.shift[layer], 0, GATE, gate_F)
        row_kernels.scale(low_sums[r], w.up.multiplier[layer], w.up.shift[layer], -GATE, GATE, up_F)
        scratch.shifts[r] = row_kernels.gate(gate_F, up_F, operands[r])
    _product(operands, n_rows, w.down.narrow[layer], w.down.wide[layer], scratch, sums)
    for r in range(n_rows):
        n_bits = w.down.shift[layer] - scratch.shifts[r]
        multiplier_D, work_D = w.down.multiplier[layer], scratch.numbers[0, : scratch.x.shape[1]]
        row_kernels.add_branch(scratch.x[r], sums[r], multiplier_D, n_bits, work_D)


@numba.njit(cache=True, nogil=True)
def step(w, rings, scratch, ids_B, positions_B, idle, out_BV):
    """Read one id in every lane that is not idle.

    Args:
        w: from `kernel_data.make_weights`.
        rings: of B lanes.
        scratch: from `kernel_data.make_scratch`.
        ids_B: int32; `idle` where a lane reads nothing.
        positions_B: int32.
        idle: the id of such lanes.
        out_BV: int32[B, 257]; rows of idle lanes are left as they are.
    """
    lanes_R, ids_R = np.zeros(ROWS, np.int64), np.zeros(ROWS, np.int32)
    positions_R = np.zeros(ROWS, np.int32)
    table_RV = np.empty((ROWS, out_BV.shape[1]), np.int32)
    n_rows = 0
    for lane in range(len(ids_B)):
        if ids_B[lane] != idle:
            lanes_R[n_rows], ids_R[n_rows] = lane, ids_B[lane]
            positions_R[n_rows] = positions_B[lane]
            n_rows += 1
        if n_rows == ROWS or (n_rows and lane == len(ids_B) - 1):
            advance(w, rings, scratch, lanes_R, ids_R, positions_R, n_rows, table_RV)
            for r in range(n_rows):
                out_BV[lanes_R[r]] = table_RV[r]
            n_rows = 0
