"""Equal-information windows: the decoder's work between two steps of M1; see `windows.py`."""

import numba

from latent_jax.tokenizers import arithmetic, cells, dyadic, limbs, windows
from latent_jax.tokenizers.counts import cumulative_counts, find_symbol


@numba.njit(cache=True, nogil=True)
def decode_step(probabilities_BV, lanes, rule, codes, bounds, lengths, out, work):
    """Decode one byte of every lane with M1's probabilities.

    Args:
        probabilities_BV: float32, M1's prediction of the next byte of each lane.
        lanes: changed in place.
        rule: the rule of windows.
        codes: uint8[n, W], the windows of all chains.
        bounds: int64, the bounds of the chains in `codes`.
        lengths: int64[n], written: the number of bytes of each finished window.
        out: int64[>= B, 3], written, for each byte that was read: its window, its value, and the
            number of bits of the window after which its information is complete. Under the paper's
            rule more bytes are read than the window holds.
        work: scratch from `windows.make_work`.

    Returns:
        The number of bytes read, and how many lanes still hold a chain.
    """
    cumulative_C, work_KL, shares_V = work
    n_out, n_active = 0, 0
    for lane in range(len(lanes.item)):
        if lanes.item[lane] < 0:
            continue
        cumulative_counts(probabilities_BV[lane, : windows.N_BYTES], rule.precision, cumulative_C)
        at = lanes.at[lane]
        symbol = _read(lanes, lane, rule, codes[at], cumulative_C, work_KL, shares_V)
        if symbol >= 0:
            out[n_out, 0], out[n_out, 1] = at, symbol
            out[n_out, 2] = windows.end_bit(lanes, lane, rule, work_KL[0])
            n_out += 1
            lanes.ids[lane] = symbol
            lanes.positions[lane] += 1
        if _is_over(lanes, lane, rule, codes[at], symbol, work_KL[0]):
            lengths[at] = lanes.depth[lane] if rule.exact else lanes.matched[lane]
            lanes.at[lane] += 1
            if lanes.at[lane] == lanes.stop[lane]:
                windows.next_item(lanes, lane, rule, bounds)
            else:
                windows.open_window(lanes, lane, rule)
        n_active += lanes.item[lane] >= 0
    return n_out, n_active


@numba.njit(cache=True, nogil=True)
def _read(lanes, lane, rule, code_W, cumulative_C, work_KL, shares_V):
    """Add the next byte of a window; return it, or -1 where none fits."""
    if rule.exact:
        code_L, scratch_L = work_KL[2], work_KL[3]
        limbs.from_bits(code_W, code_L)
        limbs.subtract(code_L, lanes.low[lane], code_L)
        at_root = lanes.depth[lane] == 0
        if not at_root:
            limbs.add_small(code_L, -1, code_L)
        symbol = cells.find_child(
            lanes.free[lane], cumulative_C, rule.precision, at_root, code_L, scratch_L, shares_V
        )
        windows.enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V)
        return symbol
    if lanes.depth[lane] == 0:
        lanes.register[lane] = arithmetic.start_decoding(code_W, 0)
        lanes.matched[lane] = 0
    before = lanes.coder[lane].copy()
    count = arithmetic.target(before, lanes.register[lane], rule.precision)
    symbol = find_symbol(cumulative_C, count)
    if not windows.enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V):
        return -1
    lanes.register[lane] = arithmetic.decode_symbol(
        before,
        lanes.register[lane],
        code_W,
        0,
        cumulative_C[symbol],
        cumulative_C[symbol + 1],
        rule.precision,
    )
    if dyadic.is_code(lanes.coder[lane], lanes.bits[lane], code_W):
        lanes.matched[lane] = lanes.depth[lane]
    return symbol


@numba.njit(cache=True, nogil=True)
def _is_over(lanes, lane, rule, code_W, symbol, scratch_L):
    """Return whether the window has been read to its end."""
    if rule.exact:
        limbs.from_bits(code_W, scratch_L)  # the node's own code comes first
        limbs.subtract(scratch_L, lanes.low[lane], scratch_L)
        return limbs.bit_length(scratch_L) == 0
    if symbol < 0 and lanes.matched[lane] == 0:
        lanes.matched[lane] = lanes.depth[lane]  # no text has this code: keep all bytes that fit
    return symbol < 0 or (rule.delay and lanes.matched[lane] > 0)
