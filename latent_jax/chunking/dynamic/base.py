"""Rows cut into at most K chunks, K static, without sorting and without shapes that data decide.

A chunk begins at a boundary and holds the positions up to the next one. A row has a boundary at its
first position. A row with more than K boundaries overflows: the boundaries behind the first K are
dropped, so that their positions stay in the last chunk. That is causal, because whether a boundary
is dropped depends on earlier ones only. How many were dropped is counted.

A vector that leaves a chunk is that of its first position. So a position reads nothing but chunks
that begin at it or before it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.contracts import Chunks

TILE = 8
"""K is a multiple of it: kernels of attention refuse odd lengths, and memory is tiled."""


class Cut(NamedTuple):
    """Where the chunks of each row begin.

    Attributes:
        first_BK: int32, the first position of each chunk; 0 where there is no chunk.
        mask_BK: bool, True where there is a chunk; real chunks come first.
        chunk_of_BT: int32, the chunk of each position.
        is_first_BT: bool, whether a position begins a chunk.
        begins_BT: bool, whether poolings begin anew at a position: behind one that begins a chunk,
            and where a document starts.
        n_dropped: float32 scalar, boundaries that found no room.
    """

    first_BK: jax.Array
    mask_BK: jax.Array
    chunk_of_BT: jax.Array
    is_first_BT: jax.Array
    begins_BT: jax.Array
    n_dropped: jax.Array


def capacity_of(length: int, rate: float, slack: float) -> int:
    """Return K = min(T, slack T / rate), rounded up to a multiple of `TILE`.

    Args:
        length: T.
        rate: positions per chunk that are aimed at.
        slack: by how much a row may have more chunks than that.
    """
    return min(length, TILE * math.ceil(slack * length / rate / TILE))


def cut_at(is_boundary_BT: jax.Array, capacity: int, starts_BT: jax.Array | None = None) -> Cut:
    """Return the chunks that begin at boundaries.

    Args:
        is_boundary_BT: bool, False at padding; the first position of a row counts as one unless
            the whole row is padding.
        capacity: K.
        starts_BT: bool, where documents start; None = at the first position of each row.
    """
    length = is_boundary_BT.shape[1]
    number_BT = jnp.cumsum(is_boundary_BT, axis=1, dtype=jnp.int32) - 1
    is_first_BT = is_boundary_BT & (number_BT < capacity)
    # What is no boundary, or has no room, is written beyond the last chunk, and so not at all.
    slot_BT = jnp.where(is_first_BT, number_BT, capacity)
    at_T = jnp.arange(length, dtype=jnp.int32)
    none_K = jnp.zeros(capacity, jnp.int32)
    # Row by row, so that a mesh that splits rows splits the scatter too.
    first_BK = jax.vmap(lambda slot_T: none_K.at[slot_T].set(at_T, mode="drop"))(slot_BT)
    n_chunks_B = jnp.minimum(number_BT[:, -1] + 1, capacity)
    begins_BT = jnp.pad(is_first_BT[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    begins_BT = begins_BT if starts_BT is None else begins_BT | starts_BT
    return Cut(
        first_BK,
        jnp.arange(capacity)[None] < n_chunks_B[:, None],
        jnp.clip(number_BT, 0, capacity - 1),
        is_first_BT,
        begins_BT,
        jnp.sum(is_boundary_BT & ~is_first_BT).astype(jnp.float32),
    )


@jax.custom_vjp
def pick(x_BTD: jax.Array, cut: Cut) -> jax.Array:
    """Return the vector of the first position of each chunk, [B, K, D]; zeros without a chunk.

    Its gradient is a gather too: a position that begins a chunk takes the gradient of the chunk.
    The gradient that JAX would derive is a scatter.
    """
    return _pick(x_BTD, cut)[0]


def _pick(x_BTD, cut):
    z_BKD = jnp.take_along_axis(x_BTD, cut.first_BK[..., None], axis=1)
    return jnp.where(cut.mask_BK[..., None], z_BKD, 0), cut


def _pick_gradient(cut, g_BKD):
    g_BTD = jnp.take_along_axis(g_BKD, cut.chunk_of_BT[..., None], axis=1)
    return jnp.where(cut.is_first_BT[..., None], g_BTD, 0), None


pick.defvjp(_pick, _pick_gradient)


def repeat(z_BKD: jax.Array, chunk_of_BT: jax.Array) -> jax.Array:
    """Return the vector of the chunk of each position, [B, T, D]."""
    return jnp.take_along_axis(z_BKD, chunk_of_BT[..., None], axis=1)


def chunks_of(z_BKD: jax.Array, cut: Cut, aux_loss: jax.Array) -> Chunks:
    """Return what `contracts.Chunker` returns; its stats are the chunks, and those dropped."""
    stats = {
        "n_chunks": jnp.sum(cut.mask_BK).astype(jnp.float32),
        "n_overflow": cut.n_dropped,
    }
    return Chunks(z_BKD, cut.mask_BK, cut.chunk_of_BT, aux_loss, stats)
