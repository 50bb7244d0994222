"""How far bits are from random ones: n-grams of bits, and tokens of N bits.

Lester et al. 2024, section 6.3 and appendix D.6: the Kullback-Leibler divergence of their
frequencies from the uniform distribution. A finite sample of random bits is not uniform either, so
that the same number of random bits, by the same estimator, belongs beside every measurement.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from latent_jax.analysis.ngrams import block_entropy

MAX_BITS = 20
"""Of one n-gram: there is a counter for each value."""


class Divergence(NamedTuple):
    """KL(frequencies of n-bit values || uniform), in nats per value.

    Attributes:
        n: bits of a value.
        n_samples: values counted.
        n_values: distinct ones.
        plug_in_nats: of the frequencies themselves, which are never uniform: for random bits it is
            about (2^n - 1) / 2 n_samples.
        miller_madow_nats: less (n_values - 1) / 2 n_samples (Miller 1955); may be below 0.
    """

    n: int
    n_samples: int
    n_values: int
    plug_in_nats: float
    miller_madow_nats: float


def bit_values(bits: np.ndarray, n: int, stride: int = 1) -> np.ndarray:
    """Return the values of n bits, first bit highest, that begin at every multiple of `stride`.

    Args:
        bits: 0 or 1, [length].
        n: bits of a value.
        stride: 1 takes all n-grams; n takes tokens of n bits, which share no bit.

    Raises:
        ValueError: n is not in [1, MAX_BITS].
    """
    if not 1 <= n <= MAX_BITS:
        raise ValueError(
            f"n = {n} bits: there is a counter for each of 2^n, so n is 1 to {MAX_BITS}"
        )
    bits = np.asarray(bits, np.int32)
    values, width = bits, 1
    # Widths 1, 2, 3, 6, ...: the leading binary digits of n.
    for digit in bin(n)[3:]:
        values = (values[: max(len(values) - width, 0)] << width) | values[width:]
        width *= 2
        if digit == "1":
            values = (values[: max(len(values) - 1, 0)] << 1) | bits[width:]
            width += 1
    return values[::stride]


def kl_from_uniform(streams: Sequence[np.ndarray], n: int, tokens: bool = False) -> Divergence:
    """Return how far the n-bit values of streams are from uniform; none crosses two streams.

    Args:
        streams: uint8[length] each, 0 or 1.
        n: bits of a value.
        tokens: take only values that begin at multiples of n: tokens of n bits.

    Raises:
        ValueError: n is not in [1, MAX_BITS], or no stream has n bits.
    """
    values = [bit_values(stream, n, n if tokens else 1) for stream in streams]
    counts = np.bincount(np.concatenate(values))
    counts = counts[counts > 0]
    n_samples = int(counts.sum())
    if not n_samples:
        raise ValueError(f"no stream has {n} bits: take more text or a smaller n")
    plug_in = n * np.log(2) - block_entropy(counts)
    correction = (len(counts) - 1) / (2 * n_samples)
    return Divergence(n, n_samples, len(counts), plug_in, plug_in - correction)


def random_streams(lengths: Sequence[int], seed: int) -> list[np.ndarray]:
    """Return streams of random bits of these lengths, uint8[length] each."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 2, length, np.uint8) for length in lengths]
