"""What ids cost under the two models that see no other id: uniform, and their own frequencies.

These are the trivial models of Lester et al. 2024, table 3. One convention holds everywhere: the
separator between documents is no id of a text. So both models are over the other ids and pay for
these alone, and the uniform model of Bytes costs 8 bits per byte. A language model also has to say
where documents end: before it has learned anything it pays log2 257 for each of 257 ids.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

MOST_BIAS = 0.02
"""Bits per byte that the correction of a unigram model may be at most, see `is_measurable`."""


def unigram_bias(n_ids: int, n_bytes: float) -> float:
    """Return how much too cheap the frequencies of a sample make it, in bits per byte, at most.

    With n tokens and V ids it is (V - 1) / (2 n) nats per token (Miller 1955), so that the length
    of the tokens does not matter.

    Args:
        n_ids: V, without the separator.
        n_bytes: raw bytes of the sample.
    """
    return (n_ids - 1) / (2.0 * math.log(2.0) * n_bytes)


def is_measurable(n_ids: int, n_bytes: float) -> bool:
    """Return whether a sample carries a unigram model: its bias is at most `MOST_BIAS`.

    The bias is then corrected for. What is left of it is below 0.001 bits per byte where ids are
    equally frequent. 256 ids need 9.2 kB of text, 32,000 ids 1.15 MB, 65,536 ids 2.36 MB.
    """
    return unigram_bias(n_ids, n_bytes) <= MOST_BIAS


def bytes_needed(n_ids: int) -> int:
    """Return the raw bytes of the smallest sample that carries a unigram model."""
    return math.ceil(unigram_bias(n_ids, 1.0) / MOST_BIAS)


def unigram_bits(counts_V: ArrayLike) -> float:
    """Return what the ids of a sample cost under their own distribution, in bits.

    It is the plug-in estimate with the correction of Miller and Madow, (K - 1) / 2 nats for K ids
    that occur, and no more than the uniform model.

    Args:
        counts_V: how often each id occurs.
    """
    counts = np.asarray(counts_V, np.float64)
    n_ids, counts = len(counts), counts[counts > 0]
    if not len(counts):
        return 0.0
    nats = -(counts * np.log(counts / counts.sum())).sum() + (len(counts) - 1) / 2
    return float(min(nats / math.log(2.0), counts.sum() * math.log2(n_ids)))


def trivial_models(counts_V: ArrayLike, n_bytes: float) -> dict[str, float]:
    """Return the bits per byte of both models; the unigram is left out if it cannot be measured.

    Args:
        counts_V: how often each id occurs, without the separator.
        n_bytes: raw bytes that the ids stand for.

    Returns:
        "uniform_bits_per_byte"; and where `is_measurable` holds "unigram_bits_per_byte".
    """
    counts = np.asarray(counts_V, np.float64)
    found = {"uniform_bits_per_byte": float(counts.sum() * math.log2(len(counts)) / n_bytes)}
    if is_measurable(len(counts), n_bytes):
        found["unigram_bits_per_byte"] = unigram_bits(counts) / n_bytes
    return found
