"""Bits grouped into tokens of N bits; the first bit is the most significant.

Lester et al. 2024, section 3.3.
"""

import numpy as np
from numpy.typing import ArrayLike

MAX_TOKEN_BITS = 16


def check_token_bits(vocab: int) -> int:
    """Return N, the bits per token, of a vocabulary of 2^N ids.

    Raises:
        ValueError: `vocab` is not a power of 2 from 2 to 2^16.
    """
    n_bits = vocab.bit_length() - 1
    if not 1 <= n_bits <= MAX_TOKEN_BITS or vocab != 1 << n_bits:
        raise ValueError(
            f"v={vocab}: tokens are groups of bits, so v must be a power of 2 from 2 to 65,536"
        )
    return n_bits


def to_tokens(bits: ArrayLike, token_bits: int) -> np.ndarray:
    """Return the tokens of a string of bits, int32[ceil(n / N)]; zeros fill up the last token.

    Args:
        bits: [n], each 0 or 1.
        token_bits: N.
    """
    bits = np.asarray(bits, np.uint8)
    n_tokens = -(-len(bits) // token_bits)
    padded = np.zeros(n_tokens * token_bits, np.uint8)
    padded[: len(bits)] = bits
    weights = 1 << np.arange(token_bits - 1, -1, -1, dtype=np.int32)
    return padded.reshape(n_tokens, token_bits) @ weights


def from_tokens(ids: ArrayLike, token_bits: int) -> np.ndarray:
    """Return the bits of ids in [0, 2^N), uint8[n N]."""
    ids = np.asarray(ids, np.int32).reshape(-1, 1)
    shifts = np.arange(token_bits - 1, -1, -1, dtype=np.int32)
    return ((ids >> shifts) & 1).astype(np.uint8).reshape(-1)
