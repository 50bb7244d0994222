"""An arithmetic coder in integers: symbols to bits and back, exact for any integer counts.

Witten, Neal and Cleary 1987, "Arithmetic Coding for Data Compression": an interval of integers
[low, low + size) inside a register is narrowed by each symbol, and doubled whenever its first bit
is settled or it lies around the middle (a *pending* bit, whose value the next settled bit decides).
The register has 62 bits, so a symbol of count c out of 2^precision takes c / 2^precision of the
interval up to a relative error of 2^(precision - 60).

The end of a stream is the shortest string of bits after which anything may follow, at most 2 bits
beyond the information content. The decoder knows the interval that the encoder ended with, hence
the length of what it has read: streams can be put one after the other.

The coder knows no model and allocates nothing: its state is a row of an int64 array that a caller
may keep for many streams at once.
"""

import numba
import numpy as np

REGISTER = 62
_WHOLE = 1 << REGISTER
_HALF = _WHOLE >> 1
_QUARTER = _WHOLE >> 2

LOW, SIZE, PENDING, WRITTEN = 0, 1, 2, 3
"""Columns of a state: the interval, the pending bits, the settled bits."""
STATE_SIZE = 4


@numba.njit(cache=True, nogil=True)
def start(state):
    """Make the interval whole and forget all bits."""
    state[LOW], state[SIZE], state[PENDING], state[WRITTEN] = 0, _WHOLE, 0, 0


@numba.njit(cache=True, nogil=True, inline="always")
def _put(state, bits, bit):
    """Settle one bit, and with it the pending ones; bits beyond the buffer are counted only."""
    at = state[WRITTEN]
    if at < len(bits):
        bits[at] = bit
    at += 1
    for _ in range(state[PENDING]):
        if at < len(bits):
            bits[at] = 1 - bit
        at += 1
    state[PENDING] = 0
    state[WRITTEN] = at


@numba.njit(cache=True, nogil=True)
def encode_symbol(state, bits, start_count, stop_count, precision):
    """Narrow the interval to one symbol and write the bits that this settles.

    Args:
        state: int64[STATE_SIZE].
        bits: uint8[n], of which the first `state[WRITTEN]` are settled. Where it is too short, the
            number of bits is still exact.
        start_count: what comes before the symbol in the cumulative counts.
        stop_count: `start_count` and the symbol's own count.
        precision: the counts sum to 2^precision.
    """
    _narrow(state, start_count, stop_count, precision)
    while True:
        low, high = state[LOW], state[LOW] + state[SIZE]
        if high <= _HALF:
            _put(state, bits, 0)
        elif low >= _HALF:
            _put(state, bits, 1)
            state[LOW] -= _HALF
        elif low >= _QUARTER and high <= _HALF + _QUARTER:
            state[PENDING] += 1
            state[LOW] -= _QUARTER
        else:
            return
        state[LOW] <<= 1
        state[SIZE] <<= 1


@numba.njit(cache=True, nogil=True, inline="always")
def _narrow(state, start_count, stop_count, precision):
    """Take the symbol's part of the interval; the last symbol's includes the rounding."""
    unit = state[SIZE] >> precision
    state[LOW] += unit * start_count
    if stop_count == 1 << precision:
        state[SIZE] -= unit * start_count
    else:
        state[SIZE] = unit * (stop_count - start_count)


@numba.njit(cache=True, nogil=True)
def end_bits(state):
    """Return how many bits `finish` would write besides the pending ones: 0, 1 or 2."""
    low, high = state[LOW], state[LOW] + state[SIZE]
    if low == 0 and high == _WHOLE and state[PENDING] == 0:
        return 0
    return 1 if low == 0 or high == _WHOLE else 2


@numba.njit(cache=True, nogil=True)
def length(state):
    """Return the number of bits of the stream if it ended here."""
    return state[WRITTEN] + state[PENDING] + end_bits(state)


@numba.njit(cache=True, nogil=True)
def information(state):
    """Return the information content of what the interval was narrowed to, in bits, rounded up."""
    n_bits, size = 0, state[SIZE]
    while size > 1:
        size >>= 1
        n_bits += 1
    return state[WRITTEN] + state[PENDING] + REGISTER - n_bits


@numba.njit(cache=True, nogil=True)
def settled_bits(state, code):
    """Return how many bits of a stream suffice to know all symbols so far, whatever follows.

    Args:
        state: of the decoder.
        code: its register.
    """
    low, high = state[LOW], state[LOW] + state[SIZE]
    n_bits = 1 if state[PENDING] else 0
    while n_bits < REGISTER:
        start = code >> (REGISTER - n_bits) << (REGISTER - n_bits)
        if start >= low and start + (1 << (REGISTER - n_bits)) <= high:
            break
        n_bits += 1
    return state[WRITTEN] + state[PENDING] + n_bits


@numba.njit(cache=True, nogil=True)
def finish(state, bits):
    """Write the last bits: the shortest string that keeps any continuation inside the interval.

    Neither half nor the middle of the register holds the interval, so it holds the second quarter
    whole if it begins in the first, else the third: two bits always do.
    """
    n_bits = end_bits(state)
    low = state[LOW]
    if n_bits == 1:
        _put(state, bits, 0 if low == 0 else 1)
    elif n_bits == 2:
        second_quarter = low <= _QUARTER
        _put(state, bits, 0 if second_quarter else 1)
        _put(state, bits, 1 if second_quarter else 0)


@numba.njit(cache=True, nogil=True)
def start_decoding(bits, position):
    """Return the first register of a stream that begins at `bits[position]`; zeros follow bits."""
    code = 0
    for i in range(position, position + REGISTER):
        code = (code << 1) | (bits[i] if i < len(bits) else 0)
    return code


@numba.njit(cache=True, nogil=True)
def target(state, code, precision):
    """Return the count that `code` points to, in [0, 2^precision): it names the next symbol."""
    unit = state[SIZE] >> precision
    return min((code - state[LOW]) // unit, (1 << precision) - 1)


@numba.njit(cache=True, nogil=True)
def decode_symbol(state, code, bits, position, start_count, stop_count, precision):
    """Narrow the interval as the encoder did, and return the register after it.

    Args:
        state: int64[STATE_SIZE]; bits are counted, not written.
        code: the register, from `start_decoding` or the call before.
        bits: uint8[n].
        position: where the stream begins in `bits`.
        start_count: of the symbol that `target` points to.
        stop_count: likewise.
        precision: bits.
    """
    _narrow(state, start_count, stop_count, precision)
    while True:
        low, high = state[LOW], state[LOW] + state[SIZE]
        if high <= _HALF:
            offset = 0
            state[WRITTEN] += state[PENDING] + 1
            state[PENDING] = 0
        elif low >= _HALF:
            offset = _HALF
            state[WRITTEN] += state[PENDING] + 1
            state[PENDING] = 0
        elif low >= _QUARTER and high <= _HALF + _QUARTER:
            offset = _QUARTER
            state[PENDING] += 1
        else:
            return code
        at = position + state[WRITTEN] + state[PENDING] + REGISTER - 1
        code = ((code - offset) << 1) | (np.int64(bits[at]) if at < len(bits) else 0)
        state[LOW] = (low - offset) << 1
        state[SIZE] <<= 1
