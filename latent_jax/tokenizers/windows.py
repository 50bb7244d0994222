"""Equal-information windows, in lockstep: many texts at once, one byte of each per step of M1.

Lester et al. 2024, sections 3.3 and A.5. A window takes bytes as long as its text still has a code
of W bits; the byte that no longer fits begins the next window. The rule decides which texts have a
code: integer cells (`cells.py`), or the paper's rule (`dyadic.py`).

This file defines the state of the lanes between two steps of the model, and how a window takes a
byte. The steps are in `window_encoder.py` and `window_decoder.py`. A lane that encodes holds one
document. A lane that decodes holds one chain: the windows between two resets of M1, so a single
window where M1 is reset in each. `ids` and `positions` hold what M1 reads next in each lane.
"""

from typing import NamedTuple

import numba
import numpy as np

from latent_jax.tokenizers import arithmetic, cells, dyadic, limbs
from latent_jax.tokenizers.byte_model import BEGIN, IDLE

N_BYTES = 256


class Rule(NamedTuple):
    """The rule of windows, in plain numbers that Numba can read.

    Attributes:
        window_bits: W.
        precision: bits of the counts.
        exact: True for integer cells, False for the paper's rule.
        delay: whether, under the paper's rule, the last bytes of a window that do not change its
            code go to the next window.
        reset_every: number of windows after which M1 forgets; 0 = never.
    """

    window_bits: int
    precision: int
    exact: bool = True
    delay: bool = False
    reset_every: int = 1


class Lanes(NamedTuple):
    """The state of B lanes between two steps; arrays [B] unless stated, changed in place.

    Attributes:
        ids: int32, the id that M1 reads next.
        positions: int32, the position of that id in the lane.
        item: int64, the current document or chain; -1 = none left.
        at: int64, the next byte of the text, or the window that is being decoded.
        stop: int64, the end of the document or chain.
        window: int64, finished windows of the document or chain.
        depth: int64, bytes in the current window.
        low: int64[B, limbs], the first code of the node.
        free: int64[B, limbs], the number of codes that the node shares.
        coder: int64[B, 4], state of the arithmetic coder; for the paper's rule.
        bits: uint8[B, W], the bits that the coder has written; for the paper's rule.
        register: int64, register of the arithmetic decoder; for the paper's rule.
        matched: int64, length in bytes of the longest prefix so far that has the window's code.
        history: int64[B, depth, 4], the codes of all prefixes of the window; empty unless `delay`.
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
    """Return B lanes that hold the first B items (documents or chains).

    Args:
        n_lanes: B.
        rule: the rule of windows.
        bounds: int64[n + 1]: item i is [bounds[i], bounds[i + 1]) of the text's bytes, or of the
            windows. No item is empty.
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
    _fill(lanes, rule, bounds)
    return lanes


def make_work(rule: Rule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scratch arrays for one thread: cumulative counts, limbs, shares of codes."""
    return (
        np.zeros(N_BYTES + 1, np.int64),
        np.zeros((4, limbs.n_limbs(rule.window_bits)), np.int64),
        np.zeros(N_BYTES, np.int64),
    )


@numba.njit(cache=True, nogil=True)
def next_item(lanes, lane, rule, bounds):
    """Give the lane the next item of the queue, if there is one."""
    item = lanes.queue[0]
    if item + 1 < len(bounds):
        lanes.queue[0] += 1
        lanes.item[lane] = item
        lanes.at[lane], lanes.stop[lane] = bounds[item], bounds[item + 1]
    else:
        lanes.item[lane] = -1
    lanes.window[lane] = 0
    reset(lanes, lane)
    if lanes.item[lane] < 0:
        lanes.ids[lane] = IDLE
    open_window(lanes, lane, rule)


@numba.njit(cache=True, nogil=True)
def _fill(lanes, rule, bounds):
    """Give every lane its first item. Compiled, because a Python loop over lanes would be slow."""
    for lane in range(len(lanes.item)):
        next_item(lanes, lane, rule, bounds)


@numba.njit(cache=True, nogil=True, inline="always")
def reset(lanes, lane):
    """Make M1 forget the lane's text: the lane reads `BEGIN` next."""
    lanes.ids[lane], lanes.positions[lane] = BEGIN, 0


@numba.njit(cache=True, nogil=True)
def open_window(lanes, lane, rule):
    """Begin an empty window."""
    lanes.depth[lane] = 0
    if rule.exact:
        lanes.low[lane] = 0
        lanes.free[lane] = 0
        lanes.free[lane, rule.window_bits // limbs.LIMB] = 1 << (rule.window_bits % limbs.LIMB)
    else:
        arithmetic.start(lanes.coder[lane])


@numba.njit(cache=True, nogil=True)
def enter(lanes, lane, rule, cumulative_C, symbol, work_KL, shares_V):
    """Add a byte to the window if the longer text has a code; else change nothing.

    Returns:
        Whether it has.
    """
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
def is_full(lanes, lane, rule):
    """Return whether no further byte can fit, as far as that is known without M1's next table."""
    return rule.exact and limbs.bit_length(lanes.free[lane]) == 0


@numba.njit(cache=True, nogil=True, inline="always")
def end_bit(lanes, lane, rule, scratch_L):
    """Return the number of bits, 0 to W, that hold the information of the window so far."""
    if rule.exact:
        limbs.add_small(lanes.free[lane], 1, scratch_L)
        return rule.window_bits + 1 - limbs.bit_length(scratch_L)
    return min(arithmetic.information(lanes.coder[lane]), rule.window_bits)
