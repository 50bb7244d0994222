"""Cross-entropy in float32, and the conversion from nats to bits per byte that all tasks share."""

import math

import jax
import jax.numpy as jnp

MOST_BITS = 1023
"""Bits per token whose perplexity a float holds."""


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


def perplexity(bits_per_byte: float, bytes_per_token: float) -> float | None:
    """Return the perplexity per token, e to the nats per token, which is 2 to the bits per token.

    Tokens of two methods stand for different amounts of text, so their perplexities cannot be
    compared; bits per byte can.

    Args:
        bits_per_byte: of text.
        bytes_per_token: raw bytes per token of the same text.

    Returns:
        None where it is beyond what a float holds.
    """
    bits = bits_per_byte * bytes_per_token
    return 2.0**bits if bits < MOST_BITS else None
