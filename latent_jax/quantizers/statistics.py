"""How a codebook is used: sums on the device, perplexity and dead codes from summed counts.

Everything that leaves the device is a sum over real positions, so that windows of steps, ragged
batches and shards are merged exactly by adding. Perplexity is taken once, from the merged counts:
a mean of per-batch perplexities would say that a codebook larger than a batch is badly used.
"""

import jax
import jax.numpy as jnp
import numpy as np


def sum_by_code(values_NE: jax.Array, codes_N: jax.Array, codebook_size: int) -> jax.Array:
    """Return the sums of the rows that chose the same code: float32 [V, E].

    A scatter: on a CPU it is 35 to 300 times faster than the product with one-hot codes, and it
    holds nothing of size [N, V].
    """
    return jax.ops.segment_sum(values_NE.astype(jnp.float32), codes_N, codebook_size)


def count_codes(codes_N: jax.Array, mask_N: jax.Array, codebook_size: int) -> jax.Array:
    """Count each code at the positions where `mask_N` is True: float32 [V]."""
    return jax.ops.segment_sum(mask_N.astype(jnp.float32), codes_N, codebook_size)


def codebook_perplexity(counts: np.ndarray) -> float:
    """Return the number of equally frequent codes with the same entropy: exp(-sum p log p).

    Args:
        counts: [V] counts, summed over as many batches as wanted.

    Returns:
        A value in [1, V]; 0.0 where nothing was counted.
    """
    counts = np.asarray(counts, np.float64)
    used = counts[counts > 0]
    if used.size == 0:
        return 0.0
    p = used / used.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def codebook_usage(counts: np.ndarray) -> float:
    """Return the share of codes that were chosen at least once, in [0, 1]."""
    counts = np.asarray(counts)
    return float(np.mean(counts > 0)) if counts.size else 0.0


def dead_codes(counts: np.ndarray) -> int:
    """Return the number of codes that were never chosen."""
    return int(np.sum(np.asarray(counts) == 0))
