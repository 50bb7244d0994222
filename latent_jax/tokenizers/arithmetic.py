"""An arithmetic coder in integers: symbols to bits and back, exact for any integer counts.

Witten, Neal and Cleary 1987, "Arithmetic Coding for Data Compression". The coder keeps an interval
of integers [low, low + size) inside a register. Each symbol narrows the interval. The interval is
doubled whenever its first bit is settled, or whenever it lies around the middle of the register;
this second case gives a *pending* bit, whose value the next settled bit decides. The register has
62 bits, so a symbol of count c out of 2^precision takes c / 2^precision of the interval, up to a
relative error of 2^(precision - 60).

A stream ends with the shortest string of bits that keeps the meaning of the stream whatever bits
follow. So a stream is at most 2 bits longer than its information content. The decoder knows the
interval at which the encoder ended, and from it the length of the stream. So streams can follow
each other without stored lengths.

The coder contains no model and allocates no memory. Its state is one row of an int64 array, so that
a caller can hold the states of many streams in one array.
"""

import numba
import numpy as np

REGISTER = 62
_WHOLE = 1 << REGISTER
_HALF = _WHOLE >> 1
_QUARTER = _WHOLE >> 2

LOW, SIZE, PENDING, WRITTEN = 0, 1, 2, 3
"""Columns of a state: the interval (two columns), the number of pending and of settled bits."""
STATE_SIZE = 4


@numba.njit(cache=True, nogil=True)
def start(state):
    """Set a state to the beginning of a stream: the whole interval, no bits."""
    state[LOW], state[SIZE], state[PENDING], state[WRITTEN] = 0, _WHOLE, 0, 0


@numba.njit(cache=True, nogil=True, inline="always")
def _put(state, bits, bit):
    """Write one bit and the pending bits it settles; bits beyond the buffer are only counted."""
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
        state: int64[STATE_SIZE], changed.
        bits: uint8[n], written; the first `state[WRITTEN]` bits are settled. If it is too short,
            further bits are dropped, but their number is still counted.
        start_count: the sum of the counts of all symbols before this one.
        stop_count: `start_count` plus the symbol's own count.
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
    """Narrow the interval to the symbol's part; the last symbol also gets what rounding leaves."""
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
    """Return the information content of the symbols so far, in bits, rounded up."""
    n_bits, size = 0, state[SIZE]
    while size > 1:
        size >>= 1
        n_bits += 1
    return state[WRITTEN] + state[PENDING] + REGISTER - n_bits


@numba.njit(cache=True, nogil=True)
def settled_bits(state, code):
    """Return how many bits of the stream determine all symbols so far, whatever bits follow.

    Args:
        state: the state of the decoder.
        code: the register of the decoder.
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
    """Write the last bits: the shortest string whose every continuation lies in the interval.

    Two bits are always enough. The interval does not fit into either half of the register, nor into
    its middle half, because `encode_symbol` would have doubled it. So it contains the whole second
    quarter if it begins in the first quarter, else the whole third quarter.
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
    """Return the first register of the stream at `bits[position]`; after `bits`, zeros are read."""
    code = 0
    for i in range(position, position + REGISTER):
        code = (code << 1) | (bits[i] if i < len(bits) else 0)
    return code


@numba.njit(cache=True, nogil=True)
def target(state, code, precision):
    """Return the cumulative count that `code` points to, in [0, 2^precision).

    The next symbol is the one whose counts contain it.
    """
    unit = state[SIZE] >> precision
    return min((code - state[LOW]) // unit, (1 << precision) - 1)


@numba.njit(cache=True, nogil=True)
def decode_symbol(state, code, bits, position, start_count, stop_count, precision):
    """Narrow the interval as the encoder did, and return the new register.

    Args:
        state: int64[STATE_SIZE], changed; bits are counted, not written.
        code: the register, from `start_decoding` or the previous call.
        bits: uint8[n].
        position: index in `bits` of the first bit of the stream.
        start_count: the sum of the counts before the symbol that `target` points to.
        stop_count: `start_count` plus the symbol's own count.
        precision: the counts sum to 2^precision.
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
