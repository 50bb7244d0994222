"""Cross-entropy over a large vocabulary, computed in blocks of the vocabulary.

The logits of 65,536 ids are by far the largest array of a small model. Writing them to memory costs
more than computing them, and both passes need them. Here a block of logits exists only until it is
reduced: to the log-partition in the forward pass, and to gradients in the backward pass, which
computes it again. The idea is that of Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary
Language Models".
"""

import functools

import jax
import jax.numpy as jnp

BLOCK = 1024
"""Rows of the embedding table per block."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def blockwise_nats(
    x_ND: jax.Array, table_VD: jax.Array, ids_N: jax.Array, block: int = BLOCK
) -> tuple[jax.Array, jax.Array]:
    """Return -log softmax(x W^T)[id] and log sum exp(x W^T) of every position, float32[N] each.

    Args:
        x_ND: features in the compute dtype.
        table_VD: float32, one row per id; it is cast to the dtype of `x_ND`.
        ids_N: int32, the ids that are scored.
        block: rows of the table per block.
    """
    return _forward(x_ND, table_VD, ids_N, block)[0]


def _forward(x_ND, table_VD, ids_N, block):
    blocks, limits = _blocks(table_VD, x_ND.dtype, block)

    def reduce(carry, part):
        largest_N, sum_N = carry
        logits_NV = _logits(x_ND, *part)
        new_N = jnp.maximum(largest_N, jnp.max(logits_NV, axis=-1))
        exponentials_NV = jnp.exp(logits_NV - new_N[:, None])
        sum_N = sum_N * jnp.exp(largest_N - new_N) + jnp.sum(exponentials_NV, axis=-1)
        return (new_N, sum_N), None

    start = (jnp.full(len(x_ND), -jnp.inf), jnp.zeros(len(x_ND)))
    (largest_N, sum_N), _ = jax.lax.scan(reduce, start, (blocks, limits))
    log_z_N = largest_N + jnp.log(sum_N)
    rows_ND = table_VD[ids_N].astype(x_ND.dtype)
    picked_N = jnp.einsum("ND,ND->N", x_ND, rows_ND, preferred_element_type=jnp.float32)
    return (log_z_N - picked_N, log_z_N), (x_ND, table_VD, ids_N, log_z_N)


def _backward(block, residuals, gradients):
    x_ND, table_VD, ids_N, log_z_N = residuals
    nats_N, partition_N = gradients
    blocks, limits = _blocks(table_VD, x_ND.dtype, block)

    def accumulate(x_gradient_ND, part):
        block_VD, (first, stop) = part
        logits_NV = _logits(x_ND, block_VD, (first, stop))
        hit_NV = (jnp.arange(block)[None] + first) == ids_N[:, None]
        softmax_NV = jnp.exp(logits_NV - log_z_N[:, None])
        gradient_NV = softmax_NV * (nats_N + partition_N)[:, None]
        gradient_NV -= jnp.where(hit_NV, nats_N[:, None], 0.0)
        gradient_NV = gradient_NV.astype(x_ND.dtype)
        float32 = {"preferred_element_type": jnp.float32}
        x_gradient_ND += jnp.einsum("NV,VD->ND", gradient_NV, block_VD, **float32)
        return x_gradient_ND, jnp.einsum("NV,ND->VD", gradient_NV, x_ND, **float32)

    start = jnp.zeros(x_ND.shape, jnp.float32)
    x_gradient_ND, table_gradient = jax.lax.scan(accumulate, start, (blocks, limits))
    table_gradient_VD = table_gradient.reshape(-1, table_VD.shape[1])[: len(table_VD)]
    return x_gradient_ND.astype(x_ND.dtype), table_gradient_VD.astype(table_VD.dtype), None


blockwise_nats.defvjp(_forward, _backward)


def _blocks(table_VD, dtype, block):
    """Return the table in blocks, zero-padded, and the first id and the end of each block."""
    n_ids = len(table_VD)
    n_blocks = -(-n_ids // block)
    padded = jnp.pad(table_VD.astype(dtype), ((0, n_blocks * block - n_ids), (0, 0)))
    first = jnp.arange(n_blocks) * block
    limits = (first, jnp.minimum(first + block, n_ids))
    return padded.reshape(n_blocks, block, -1), limits


def _logits(x_ND, block_VD, limits):
    """Return the logits of one block, float32[N, block], minus infinity beyond the table."""
    first, stop = limits
    logits_NV = jnp.einsum("ND,VD->NV", x_ND, block_VD, preferred_element_type=jnp.float32)
    inside = jnp.arange(len(block_VD)) + first < stop
    return jnp.where(inside[None], logits_NV, -jnp.inf)
