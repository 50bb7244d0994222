"""The arithmetic-coded streams of a text: one stream per example, one after the other.

Lester et al. 2024, section 3.3: a text is cut into examples of 10,240 bytes. Each example is one
stream, which begins with an empty context. The stream of a shorter example ends with a symbol for
the end of the text. Zeros fill the last token of each stream. No lengths are stored: the reader
computes where the writer stopped.
"""

import numba

from latent_jax.tokenizers import arithmetic
from latent_jax.tokenizers.byte_model import BEGIN
from latent_jax.tokenizers.counts import find_symbol

EXAMPLE_BYTES = 10_240
END = BEGIN


def examples_of(text: bytes) -> list[bytes]:
    """Return the examples of a text, each of `EXAMPLE_BYTES` or fewer; an empty text has none."""
    return [text[at : at + EXAMPLE_BYTES] for at in range(0, len(text), EXAMPLE_BYTES)]


READER_SIZE = arithmetic.STATE_SIZE + 3
"""Length of a reader, int64[READER_SIZE]: the state of the arithmetic coder, and 3 more columns."""
CODE, POSITION, COUNT = range(arithmetic.STATE_SIZE, READER_SIZE)
"""Columns of a reader: register, first bit of the stream, bytes read of the stream."""


@numba.njit(cache=True, nogil=True)
def begin_stream(reader, bits, position):
    """Set a reader to the beginning of the stream at `bits[position]`."""
    arithmetic.start(reader)
    reader[CODE] = arithmetic.start_decoding(bits, position)
    reader[POSITION] = position
    reader[COUNT] = 0


@numba.njit(cache=True, nogil=True)
def read_symbol(reader, bits, counts, precision):
    """Return the next symbol of a stream, or -1 if the bits end before they determine it."""
    symbol = find_symbol(counts, arithmetic.target(reader, reader[CODE], precision))
    reader[CODE] = arithmetic.decode_symbol(
        reader,
        reader[CODE],
        bits,
        reader[POSITION],
        counts[symbol],
        counts[symbol + 1],
        precision,
    )
    settled = arithmetic.settled_bits(reader, reader[CODE])
    if reader[POSITION] + settled > len(bits):
        return -1
    reader[COUNT] += symbol != END
    return symbol


@numba.njit(cache=True, nogil=True)
def next_stream(reader, bits, first, token_bits):
    """Go to the next stream of the text whose bits begin at `bits[first]`.

    Returns:
        Whether there is one.
    """
    n_bits = reader[POSITION] - first + arithmetic.length(reader)
    position = first + (n_bits + token_bits - 1) // token_bits * token_bits
    if position >= len(bits):
        return False
    begin_stream(reader, bits, position)
    return True
