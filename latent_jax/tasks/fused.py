"""Cross-entropy of a tied head whose forward pass also computes the gradients.

The logits of a vocabulary are by far the largest array of a small model. Here the logits of a few
positions at a time exist until the loss and both gradients of these positions are computed. So
nothing is computed twice, and no logits are kept. This is possible because the result is a sum with
known weights: later operations change its gradient only by a factor. The idea is that of Hsu et al.
2024, "Liger Kernel", section 3.2 (FusedLinearCrossEntropy). `tasks.blockwise` divides the
vocabulary instead, which suits the caches of a CPU.

Operands of matmuls have the compute dtype, sums are float32, and the softmax is float32.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.sharding_constraints import row_shards, rows, whole

LOGITS_BYTES = 2**30
"""Approximate bytes of float32 logits on a device at a time."""
LOWEST = np.finfo(np.float32).min
"""Stands for minus infinity, because a difference of two infinities is NaN."""
ALIGNMENT = 128
"""The vocabulary is padded to a multiple of this for matrix units. Unpadded, rows of 65,537 logits
would be read one number at a time."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def fused_cross_entropy(
    x_BTD: jax.Array,
    table_VD: jax.Array,
    ids_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float = 0.0,
    logits_bytes: int = LOGITS_BYTES,
) -> tuple[jax.Array, jax.Array]:
    """Return sum(w (nats + z_loss log(Z)^2)) and sum(w nats), float32 scalars.

    nats = -log softmax(x W^T)[id], and Z is the sum of the exponentials of the logits. Only the
    first result has gradients, with respect to `x_BTD` and `table_VD`.

    Args:
        x_BTD: features in the compute dtype.
        table_VD: float32, one row per id; it is cast to the dtype of `x_BTD`.
        ids_BT: int32, the ids that are scored.
        weights_BT: float32, w, the weight of each position.
        z_loss: weight of the squared log-partition.
        logits_bytes: see `LOGITS_BYTES`.
    """
    arrays, starts, size = _pieces((x_BTD, ids_BT, weights_BT), len(table_VD), logits_bytes)
    table_WD = _aligned(table_VD, x_BTD.dtype)

    def add(sums, start):
        x_BCD, ids_BC, weights_BC = (_piece(array, start, size) for array in arrays)
        logits_BCW = _logits(x_BCD, table_WD, len(table_VD))
        log_z_BC, nats_BC, _ = _scores(logits_BCW, ids_BC)
        return _added(sums, log_z_BC, nats_BC, weights_BC, z_loss), None

    return jax.lax.scan(add, _zeros(), starts)[0]


def _forward(x_BTD, table_VD, ids_BT, weights_BT, z_loss, logits_bytes):
    n_ids, length = len(table_VD), x_BTD.shape[1]
    arrays, starts, size = _pieces((x_BTD, ids_BT, weights_BT), n_ids, logits_bytes)
    table_WD = _aligned(table_VD, x_BTD.dtype)
    # Pieces are written into this array. Stacked pieces would have to be joined, and on a GPU XLA
    # would give the whole residual stream the layout that makes joining free, in which norms read
    # across rows.
    x_gradient_BTD = rows(jnp.zeros_like(arrays[0]))
    # One sum per device, over its own rows: one exchange at the end instead of one per piece.
    n_shards = row_shards(len(x_BTD))
    gradient_SWD = rows(jnp.zeros((n_shards, *table_WD.shape), jnp.float32))

    def add(carry, start):
        sums, gradient_SWD, x_gradient_BTD = carry
        x_BCD, ids_BC, weights_BC = (_piece(array, start, size) for array in arrays)
        logits_BCW = _logits(x_BCD, table_WD, n_ids)
        log_z_BC, nats_BC, hit_BCW = _scores(logits_BCW, ids_BC)
        slope_BC = weights_BC * (1.0 + 2.0 * z_loss * log_z_BC)
        gradient_BCW = jnp.exp(logits_BCW - log_z_BC[..., None]) * slope_BC[..., None]
        gradient_BCW = gradient_BCW - jnp.where(hit_BCW, weights_BC[..., None], 0.0)
        gradient_BCW = gradient_BCW.astype(x_BCD.dtype)
        x_gradient_BCD = jnp.einsum(
            "BCW,WD->BCD", gradient_BCW, table_WD, preferred_element_type=jnp.float32
        ).astype(x_BCD.dtype)
        by_shard = (n_shards, -1)
        gradient_SWD += jnp.einsum(
            "SNW,SND->SWD",
            gradient_BCW.reshape(*by_shard, gradient_BCW.shape[-1]),
            x_BCD.reshape(*by_shard, x_BCD.shape[-1]),
            preferred_element_type=jnp.float32,
        )
        x_gradient_BTD = jax.lax.dynamic_update_slice_in_dim(
            x_gradient_BTD, x_gradient_BCD, start, axis=1
        )
        sums = _added(sums, log_z_BC, nats_BC, weights_BC, z_loss)
        return (sums, gradient_SWD, x_gradient_BTD), None

    carry = (_zeros(), gradient_SWD, x_gradient_BTD)
    (sums, gradient_SWD, x_gradient_BTD), _ = jax.lax.scan(add, carry, starts)
    table_gradient_VD = jnp.sum(gradient_SWD, axis=0)[:n_ids].astype(table_VD.dtype)
    return sums, (x_gradient_BTD[:, :length], table_gradient_VD)


def _backward(z_loss, logits_bytes, gradients, cotangents):
    del z_loss, logits_bytes
    factor, _ = cotangents
    x_gradient_BTD, table_gradient_VD = gradients
    return (
        (factor * x_gradient_BTD.astype(jnp.float32)).astype(x_gradient_BTD.dtype),
        factor * table_gradient_VD,
        None,
        None,
    )


fused_cross_entropy.defvjp(_forward, _backward)


def _pieces(arrays, n_ids, logits_bytes):
    """Cut arrays along time, so that rows stay on their devices.

    Returns:
        The arrays [B, T, ...] with T padded to whole pieces, the start of each piece, int32, and
        the positions per piece.
    """
    n_rows, length = arrays[0].shape[:2]
    all_bytes = 4 * n_rows // row_shards(n_rows) * length * n_ids
    n_pieces = _divisor_near(length, min(length, math.ceil(all_bytes / logits_bytes)))
    size = math.ceil(length / n_pieces)
    n_pieces = math.ceil(length / size)  # drop pieces that would hold only padding
    n_added = n_pieces * size - length
    if n_added:
        arrays = [jnp.pad(x, [(0, 0), (0, n_added)] + [(0, 0)] * (x.ndim - 2)) for x in arrays]
    return arrays, size * jnp.arange(n_pieces, dtype=jnp.int32), size


def _divisor_near(length, n):
    """Return the divisor of `length` nearest to n between 3/4 n and 3/2 n; n if there is none."""
    near = range(math.ceil(0.75 * n), math.floor(1.5 * n) + 1)
    return min((m for m in near if length % m == 0), key=lambda m: abs(m - n), default=n)


def _piece(array, start, size):
    return jax.lax.dynamic_slice_in_dim(array, start, size, axis=1)


def _aligned(table_VD, dtype):
    table_VD = whole(table_VD.astype(dtype))
    return jnp.pad(table_VD, ((0, -len(table_VD) % ALIGNMENT), (0, 0)))


def _logits(x_BCD, table_WD, n_ids):
    """Return logits, float32[B, C, W], `LOWEST` beyond the last id."""
    logits_BCW = jnp.einsum("BCD,WD->BCW", x_BCD, table_WD, preferred_element_type=jnp.float32)
    if len(table_WD) == n_ids:
        return logits_BCW
    return jnp.where((jnp.arange(len(table_WD)) < n_ids)[None, None], logits_BCW, LOWEST)


def _scores(logits_BCW, ids_BC):
    """Return log Z and nats of each position, float32[B, C], and bool[B, C, W], True at its id."""
    hit_BCW = jnp.arange(logits_BCW.shape[-1])[None, None] == ids_BC[..., None]
    picked_BCW = jnp.where(hit_BCW, logits_BCW, 0.0)
    peak_BC, sum_BC, picked_BC = jax.lax.reduce(
        (logits_BCW, jnp.ones_like(logits_BCW), picked_BCW), (LOWEST, 0.0, 0.0), _join, (2,)
    )
    log_z_BC = peak_BC + jnp.log(sum_BC)
    return log_z_BC, log_z_BC - picked_BC, hit_BCW


def _join(left, right):
    """Merge (maximum, sum of exp(logit - maximum), sum of picked logits) of two sets of logits.

    With it one pass over the logits gives both the maximum and the sum (Milakov and Gimelshein
    2018, "Online normalizer calculation for softmax").
    """
    peak = jnp.maximum(left[0], right[0])
    total = left[1] * jnp.exp(left[0] - peak) + right[1] * jnp.exp(right[0] - peak)
    return peak, total, left[2] + right[2]


def _added(sums, log_z_BC, nats_BC, weights_BC, z_loss):
    objective_BC = nats_BC + z_loss * jnp.square(log_z_BC) if z_loss else nats_BC
    return sums[0] + jnp.sum(objective_BC * weights_BC), sums[1] + jnp.sum(nats_BC * weights_BC)


def _zeros():
    return jnp.zeros(()), jnp.zeros(())
