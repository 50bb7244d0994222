"""Equal-information windows: the encoder's work between two steps of M1; see `windows.py`."""

import numba
import numpy as np

from latent_jax.tokenizers import dyadic, limbs, windows
from latent_jax.tokenizers.counts import cumulative_counts


@numba.njit(cache=True, nogil=True)
def encode_step(probabilities_BV, lanes, rule, text, bounds, end_bits, out_items, out_bits, work):
    """Code one byte of every lane with M1's probabilities.

    Args:
        probabilities_BV: float32, M1's prediction of the next byte of each lane.
        lanes: changed in place.
        rule: the rule of windows.
        text: uint8[n], all documents joined.
        bounds: int64, the bounds of the documents in `text`.
        end_bits: int64[n], written: `Stream.ends` of each document.
        out_items: int64[>= 2 B], written: the document of each finished window. A lane may finish
            two windows.
        out_bits: uint8[>= 2 B, W], written: the code of each finished window.
        work: scratch from `windows.make_work`.

    Returns:
        The number of finished windows, and how many lanes still hold a document.
    """
    cumulative_C, work_KL, shares_V = work
    n_out, n_active = 0, 0
    for lane in range(len(lanes.item)):
        if lanes.item[lane] < 0:
            continue
        cumulative_counts(probabilities_BV[lane, : windows.N_BYTES], rule.precision, cumulative_C)
        symbol = np.int64(text[lanes.at[lane]])
        placed = windows.enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V)
        if not placed:
            _finish_window(lanes, lane, rule, out_items, out_bits, n_out)
            n_out += 1
            if rule.reset_every and lanes.window[lane] % rule.reset_every == 0:
                windows.reset(lanes, lane)
            else:
                placed = windows.enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V)
        if placed:
            end_bits[lanes.at[lane]] = lanes.window[lane] * rule.window_bits + windows.end_bit(
                lanes, lane, rule, work_KL[0]
            )
            lanes.at[lane] += 1
            lanes.ids[lane] = symbol
            lanes.positions[lane] += 1
            is_last = lanes.at[lane] == lanes.stop[lane]
            if is_last or windows.is_full(lanes, lane, rule):
                _finish_window(lanes, lane, rule, out_items, out_bits, n_out)
                n_out += 1
                if lanes.at[lane] == lanes.stop[lane]:
                    windows.next_item(lanes, lane, rule, bounds)
                elif rule.reset_every and lanes.window[lane] % rule.reset_every == 0:
                    windows.reset(lanes, lane)
        n_active += lanes.item[lane] >= 0
    return n_out, n_active


@numba.njit(cache=True, nogil=True)
def _finish_window(lanes, lane, rule, out_items, out_bits, n_out):
    """Write the code of the window and begin the next one."""
    out_items[n_out] = lanes.item[lane]
    if rule.exact:
        limbs.to_bits(lanes.low[lane], out_bits[n_out])
    else:
        dyadic.padded(lanes.coder[lane], lanes.bits[lane], out_bits[n_out])
        if rule.delay:
            kept = dyadic.first_equal(lanes.history[lane], lanes.depth[lane])
            lanes.at[lane] -= lanes.depth[lane] - kept
    lanes.window[lane] += 1
    windows.open_window(lanes, lane, rule)
