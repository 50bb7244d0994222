"""Equal-information windows, in lockstep: many texts at once, one byte of each per step of M1.

Lester et al. 2024, sections 3.3 and A.5. A window takes bytes as long as its text still has a code
of W bits; the byte that no longer fits begins the next window. What "has a code" means is the
variant: integer cells (`cells.py`), or the paper's rule (`dyadic.py`).

The functions here are the part between two steps of the model. A lane holds one document when it
encodes, and one chain of windows when it decodes: windows that share a context of the model, hence
one window where the model is reset in each. What a lane reads next stands in `ids` and `positions`.
"""

from typing import NamedTuple

import numba
import numpy as np

from latent_jax.tokenizers import arithmetic, cells, dyadic, limbs
from latent_jax.tokenizers.byte_model import BEGIN
from latent_jax.tokenizers.counts import cumulative_counts, find_symbol

N_BYTES = 256


class Rule(NamedTuple):
    """How windows are made; plain numbers, so that compiled code can read them.

    Attributes:
        window_bits: W.
        precision: of the counts.
        exact: integer cells; otherwise the paper's rule.
        delay: under the paper's rule, bytes at the end of a window that its code does not show go
            to the next one.
        reset_every: M1 forgets after so many windows; 0 = never.
    """

    window_bits: int
    precision: int
    exact: bool = True
    delay: bool = False
    reset_every: int = 1


class Lanes(NamedTuple):
    """What the lanes hold between two steps; arrays over B lanes, changed in place.

    Attributes:
        ids: int32, what M1 reads next.
        positions: int32, at which position of the lane.
        item: int64, the document or chain at hand, -1 = none left.
        at: int64, the next byte of the text, or the window that is read.
        stop: int64, where the document or chain ends.
        window: int64, windows finished in it.
        depth: int64, bytes in the window at hand.
        low: int64[B, L], the first code of the node, as limbs.
        free: int64[B, L], the codes that the node shares.
        coder: int64[B, 4], state of the arithmetic coder, of the paper's rule.
        bits: uint8[B, W], what it has written.
        register: int64, of its decoder.
        matched: int64, bytes of the longest text so far that has the code of the window.
        history: int64[B, depth, 4], codes of the prefixes, where `delay` needs them.
        queue: int64[1], the next document or chain that no lane has taken.
    """

    ids: np.ndarray
    positions: np.ndarray
    item: np.ndarray
    at: np.ndarray
    stop: np.ndarray
    window: np.ndarray
    depth: np.ndarray
    low: np.ndarray
    free: np.ndarray
    coder: np.ndarray
    bits: np.ndarray
    register: np.ndarray
    matched: np.ndarray
    history: np.ndarray
    queue: np.ndarray


def make_lanes(n_lanes: int, rule: Rule, bounds: np.ndarray) -> Lanes:
    """Return lanes that hold the first items.

    Args:
        n_lanes: B.
        rule: the windows.
        bounds: int64[n + 1], where each document begins in the text, or each chain among the
            windows, and where the last one ends. No item is empty.
    """
    n_limbs = limbs.n_limbs(rule.window_bits)
    deepest = dyadic.most_bytes(rule.window_bits, rule.precision) if rule.delay else 0
    lanes = Lanes(
        ids=np.full(n_lanes, BEGIN, np.int32),
        positions=np.zeros(n_lanes, np.int32),
        item=np.full(n_lanes, -1, np.int64),
        at=np.zeros(n_lanes, np.int64),
        stop=np.zeros(n_lanes, np.int64),
        window=np.zeros(n_lanes, np.int64),
        depth=np.zeros(n_lanes, np.int64),
        low=np.zeros((n_lanes, n_limbs), np.int64),
        free=np.zeros((n_lanes, n_limbs), np.int64),
        coder=np.zeros((n_lanes, arithmetic.STATE_SIZE), np.int64),
        bits=np.zeros((n_lanes, rule.window_bits), np.uint8),
        register=np.zeros(n_lanes, np.int64),
        matched=np.zeros(n_lanes, np.int64),
        history=np.zeros((n_lanes, deepest, dyadic.KEY), np.int64),
        queue=np.zeros(1, np.int64),
    )
    for lane in range(n_lanes):
        _next_item(lanes, lane, rule, bounds)
    return lanes


@numba.njit(cache=True, nogil=True)
def _next_item(lanes, lane, rule, bounds):
    """Give the lane the next item of the queue, if there is one."""
    item = lanes.queue[0]
    if item + 1 < len(bounds):
        lanes.queue[0] += 1
        lanes.item[lane] = item
        lanes.at[lane], lanes.stop[lane] = bounds[item], bounds[item + 1]
    else:
        lanes.item[lane] = -1
    lanes.window[lane] = 0
    _reset(lanes, lane)
    _open(lanes, lane, rule)


@numba.njit(cache=True, nogil=True, inline="always")
def _reset(lanes, lane):
    """Let M1 forget."""
    lanes.ids[lane], lanes.positions[lane] = BEGIN, 0


@numba.njit(cache=True, nogil=True)
def _open(lanes, lane, rule):
    """Begin a window."""
    lanes.depth[lane] = 0
    if rule.exact:
        lanes.low[lane] = 0
        lanes.free[lane] = 0
        lanes.free[lane, rule.window_bits // limbs.LIMB] = 1 << (rule.window_bits % limbs.LIMB)
    else:
        arithmetic.start(lanes.coder[lane])


@numba.njit(cache=True, nogil=True)
def _enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V):
    """Add a byte to the window; return whether it had a code (else nothing has changed)."""
    if rule.exact:
        start_L, codes_L = work_KL[0], work_KL[1]
        at_root = lanes.depth[lane] == 0
        free_L, low_L = lanes.free[lane], lanes.low[lane]
        cells.child(
            free_L, cumulative_C, rule.precision, at_root, symbol, start_L, codes_L, shares_V
        )
        if limbs.bit_length(codes_L) == 0:
            return False
        limbs.add(low_L, start_L, low_L)
        if not at_root:
            limbs.add_small(low_L, 1, low_L)  # the node's own code comes first
        limbs.add_small(codes_L, -1, free_L)
    else:
        start, stop = cumulative_C[symbol], cumulative_C[symbol + 1]
        if not dyadic.enter(lanes.coder[lane], lanes.bits[lane], start, stop, rule.precision):
            return False
        if rule.delay:
            dyadic.key(lanes.coder[lane], lanes.bits[lane], lanes.history[lane, lanes.depth[lane]])
    lanes.depth[lane] += 1
    return True


@numba.njit(cache=True, nogil=True, inline="always")
def _is_full(lanes, lane, rule):
    """Return whether it is known without a further table that no byte fits any more."""
    return rule.exact and limbs.bit_length(lanes.free[lane]) == 0


@numba.njit(cache=True, nogil=True, inline="always")
def _end_bit(lanes, lane, rule, scratch_L):
    """Return the number of bits in which the information of the window so far ends, 0 to W."""
    if rule.exact:
        limbs.add_small(lanes.free[lane], 1, scratch_L)
        return rule.window_bits + 1 - limbs.bit_length(scratch_L)
    return min(arithmetic.information(lanes.coder[lane]), rule.window_bits)


@numba.njit(cache=True, nogil=True)
def encode_step(probabilities_BV, lanes, rule, text, bounds, end_bits, out_items, out_bits, work):
    """Advance every lane by one table of M1.

    Args:
        probabilities_BV: float32, of the next byte of each lane.
        lanes: changed in place.
        rule: the windows.
        text: uint8[n], all documents.
        bounds: int64, of the documents in it.
        end_bits: int64[n], out: for each byte, the bits of its document's windows in which its
            information ends.
        out_items: int64[>= B], out: the document of each window that was finished.
        out_bits: uint8[>= B, W], out: its code.
        work: scratch from `make_work`.

    Returns:
        The number of finished windows, and how many lanes hold a document still.
    """
    cumulative_C, work_KL, shares_V = work
    n_out, n_active = 0, 0
    for lane in range(len(lanes.item)):
        if lanes.item[lane] < 0:
            continue
        cumulative_counts(probabilities_BV[lane, :N_BYTES], rule.precision, cumulative_C)
        symbol = np.int64(text[lanes.at[lane]])
        placed = _enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V)
        if not placed:
            _finish_window(lanes, lane, rule, out_items, out_bits, n_out)
            n_out += 1
            if rule.reset_every and lanes.window[lane] % rule.reset_every == 0:
                _reset(lanes, lane)
            else:
                placed = _enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V)
        if placed:
            end = lanes.window[lane] * rule.window_bits + _end_bit(lanes, lane, rule, work_KL[0])
            end_bits[lanes.at[lane]] = end
            lanes.at[lane] += 1
            lanes.ids[lane] = symbol
            lanes.positions[lane] += 1
            is_last = lanes.at[lane] == lanes.stop[lane]
            if is_last or _is_full(lanes, lane, rule):
                _finish_window(lanes, lane, rule, out_items, out_bits, n_out)
                n_out += 1
                if lanes.at[lane] == lanes.stop[lane]:
                    _next_item(lanes, lane, rule, bounds)
                elif rule.reset_every and lanes.window[lane] % rule.reset_every == 0:
                    _reset(lanes, lane)
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
    _open(lanes, lane, rule)


@numba.njit(cache=True, nogil=True)
def decode_step(probabilities_BV, lanes, rule, codes, bounds, lengths, out, work):
    """Advance every lane by one table of M1.

    Args:
        probabilities_BV: float32, of the next byte of each lane.
        lanes: changed in place.
        rule: the windows.
        codes: uint8[n, W], the windows of all chains.
        bounds: int64, of the chains among them.
        lengths: int64[n], out: how many bytes each finished window holds.
        out: int64[>= B, 3], out: for each byte that was read its window, its value, and the bits
            of the window in which its information ends. Under the paper's rule more are read than
            the window holds.
        work: scratch from `make_work`.

    Returns:
        The number of bytes read, and how many lanes hold a chain still.
    """
    cumulative_C, work_KL, shares_V = work
    n_out, n_active = 0, 0
    for lane in range(len(lanes.item)):
        if lanes.item[lane] < 0:
            continue
        cumulative_counts(probabilities_BV[lane, :N_BYTES], rule.precision, cumulative_C)
        at = lanes.at[lane]
        symbol = _read(lanes, lane, rule, codes[at], cumulative_C, work_KL, shares_V)
        if symbol >= 0:
            out[n_out, 0], out[n_out, 1] = at, symbol
            out[n_out, 2] = _end_bit(lanes, lane, rule, work_KL[0])
            n_out += 1
            lanes.ids[lane] = symbol
            lanes.positions[lane] += 1
        if _is_over(lanes, lane, rule, codes[at], symbol, work_KL[0]):
            lengths[at] = lanes.depth[lane] if rule.exact else lanes.matched[lane]
            lanes.at[lane] += 1
            if lanes.at[lane] == lanes.stop[lane]:
                _next_item(lanes, lane, rule, bounds)
            else:
                _open(lanes, lane, rule)
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
        _enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V)
        return symbol
    if lanes.depth[lane] == 0:
        lanes.register[lane] = arithmetic.start_decoding(code_W, 0)
        lanes.matched[lane] = 0
    before = lanes.coder[lane].copy()
    count = arithmetic.target(before, lanes.register[lane], rule.precision)
    symbol = find_symbol(cumulative_C, count)
    if not _enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V):
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
        lanes.matched[lane] = lanes.depth[lane]  # no text has this code: what fits is read
    return symbol < 0 or (rule.delay and lanes.matched[lane] > 0)


def make_work(rule: Rule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scratch for one thread."""
    return (
        np.zeros(N_BYTES + 1, np.int64),
        np.zeros((4, limbs.n_limbs(rule.window_bits)), np.int64),
        np.zeros(N_BYTES, np.int64),
    )
