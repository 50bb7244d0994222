"""Streams of an arithmetic code that follow each other: one for each example of a text.

Lester et al. 2024, section 3.3: a text is cut into examples of 10,240 bytes, each one stream that
begins with an empty context. The stream of a shorter example ends with a symbol for the end of the
text; zeros fill its last token. The reader computes where the writer stopped.
"""

import numba

from latent_jax.tokenizers import arithmetic
from latent_jax.tokenizers.byte_model import BEGIN
from latent_jax.tokenizers.counts import find_symbol

EXAMPLE_BYTES = 10_240
END = BEGIN


def examples_of(text: bytes) -> list[bytes]:
    """Cut a text into examples; an empty text has none."""
    return [text[at : at + EXAMPLE_BYTES] for at in range(0, len(text), EXAMPLE_BYTES)]


READER_SIZE = arithmetic.STATE_SIZE + 3
"""Of a reader: the state of the arithmetic coder, and the columns that follow."""
CODE, POSITION, COUNT = range(arithmetic.STATE_SIZE, READER_SIZE)


@numba.njit(cache=True, nogil=True)
def begin_stream(reader, bits, position):
    """Make a reader of the stream at `bits[position]`: register, place and bytes read so far."""
    arithmetic.start(reader)
    reader[CODE] = arithmetic.start_decoding(bits, position)
    reader[POSITION] = position
    reader[COUNT] = 0


@numba.njit(cache=True, nogil=True)
def read_symbol(reader, bits, counts, precision):
    """Return the next symbol of a stream, or -1 where its bits end before the symbol is settled."""
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
    """Go to the next stream of a text that begins at `bits[first]`; return whether there is one."""
    n_bits = reader[POSITION] - first + arithmetic.length(reader)
    position = first + (n_bits + token_bits - 1) // token_bits * token_bits
    if position >= len(bits):
        return False
    begin_stream(reader, bits, position)
    return True
