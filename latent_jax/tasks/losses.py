"""Cross-entropy in float32, and the conversion from nats to bits per byte that all tasks share."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def token_nats(logits_BTV: jax.Array, ids_BT: jax.Array) -> jax.Array:
    """Return -log softmax(logits)[id] for every position, float32[B, T], in nats.

    The logit of the id is a masked sum, so its gradient is element-wise. The gradient of a gather
    would be a scatter, which is slow on CPU and TPU alike.
    """
    logits_BTV = logits_BTV.astype(jnp.float32)
    hit_BTV = jnp.arange(logits_BTV.shape[-1])[None, None, :] == ids_BT[..., None]
    picked_BT = jnp.sum(jnp.where(hit_BTV, logits_BTV, 0.0), axis=-1)
    return log_partition(logits_BTV) - picked_BT


def log_partition(logits_BTV: jax.Array) -> jax.Array:
    """Return log sum exp(logits) for every position, float32[B, T]; the z-loss is its square."""
    return jax.nn.logsumexp(logits_BTV.astype(jnp.float32), axis=-1)


def histogram(ids_BT: jax.Array, weights_BT: jax.Array, size: int) -> jax.Array:
    """Return the sum of the weights of each id, float32[size]."""
    return jnp.zeros(size, jnp.float32).at[ids_BT.reshape(-1)].add(weights_BT.reshape(-1))


def bits_per_byte(nats: float, n_bytes: float) -> float:
    """Return nats / (ln 2 x raw bytes)."""
    return float(nats) / (math.log(2) * float(n_bytes))


def unigram_nats(counts_V: np.ndarray) -> float:
    """Return the cost in nats of the counted symbols under their own frequencies.

    It is N x H(counts / N). No fixed unigram model codes these symbols in fewer nats, so this is
    the strongest unigram baseline.
    """
    counts = np.asarray(counts_V, np.float64)
    counts = counts[counts > 0]
    return float(-(counts * np.log(counts / counts.sum())).sum())
