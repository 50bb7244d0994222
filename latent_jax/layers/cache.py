"""Attention one position at a time: keys and values of the last S positions, kept in a ring.

Every lane of the batch counts its positions by itself. A lane that begins anew says position 0,
and what its ring still holds is never read: nothing has to be cleared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Cache(NamedTuple):
    """The last S keys and values of a layer; of a stack with a leading axis of depth."""

    k_BHSd: jax.Array
    v_BHSd: jax.Array


def empty_cache(batch_size: int, n_heads: int, length: int, head_size: int, dtype: str) -> Cache:
    """Return a ring of `length` slots for every lane and head."""
    shape = (batch_size, n_heads, length, head_size)
    return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def fill(cache: Cache, k_BTHd: jax.Array, v_BTHd: jax.Array) -> Cache:
    """Return the ring with keys and values of positions 0 to T - 1 in it, T at most S.

    What padding at the end of a lane writes is written over before the lane comes to read it.
    """
    length, n_slots = k_BTHd.shape[1], cache.k_BHSd.shape[2]
    if length > n_slots:
        raise ValueError(f"{length} positions do not fit into a cache of {n_slots}")
    return Cache(
        *(
            ring.at[:, :, :length].set(new.swapaxes(1, 2).astype(ring.dtype))
            for ring, new in zip(cache, (k_BTHd, v_BTHd), strict=True)
        )
    )


def ages(position_B: jax.Array, length: int) -> jax.Array:
    """Return how many positions ago each slot was written, int32[B, S]; the newest has age 0."""
    return (position_B[:, None] - jnp.arange(length)[None]) % length


def attend_step(
    q_BHd: jax.Array,
    k_BHd: jax.Array,
    v_BHd: jax.Array,
    cache: Cache,
    position_B: jax.Array,
    bias_HS: jax.Array | None = None,
) -> tuple[jax.Array, Cache]:
    """Write one position, and attend from it to itself and what the ring holds before it.

    Args:
        q_BHd: the query of each lane and head.
        k_BHd: its key.
        v_BHd: its value.
        cache: of this layer.
        position_B: int32, the position of each lane, counted from 0.
        bias_HS: float32, added to the scores by age: 0 for the position itself.

    Returns:
        [B, H, d] in the dtype of q, and the cache with the position in it.
    """
    length = cache.k_BHSd.shape[2]
    slot_B = position_B % length
    cache = Cache(*(_write(ring, x, slot_B) for ring, x in zip(cache, (k_BHd, v_BHd), strict=True)))
    scores_BHS = jnp.einsum(
        "BHd,BHSd->BHS",
        q_BHd * q_BHd.shape[-1] ** -0.5,
        cache.k_BHSd,
        preferred_element_type=jnp.float32,
    )
    age_BS = ages(position_B, length)
    if bias_HS is not None:
        scores_BHS = scores_BHS + jnp.take(bias_HS, age_BS, axis=1).swapaxes(0, 1)
    is_written_BS = age_BS <= position_B[:, None]
    scores_BHS = jnp.where(is_written_BS[:, None], scores_BHS, jnp.finfo(jnp.float32).min)
    weights_BHS = jax.nn.softmax(scores_BHS, axis=-1)
    out_BHd = jnp.einsum(
        "BHS,BHSd->BHd",
        weights_BHS.astype(cache.v_BHSd.dtype),
        cache.v_BHSd,
        preferred_element_type=jnp.float32,
    )
    return out_BHd.astype(q_BHd.dtype), cache


def _write(ring_BHSd: jax.Array, x_BHd: jax.Array, slot_B: jax.Array) -> jax.Array:
    """Return the ring with one position of each lane in its slot."""
    x_BHd = x_BHd.astype(ring_BHSd.dtype)
    if len(x_BHd) == 1:
        # XLA makes the scatter below an update under a condition, for which it copies the ring.
        return jax.lax.dynamic_update_slice(ring_BHSd, x_BHd[:, :, None], (0, 0, slot_B[0], 0))
    # Said to be unique, the slots are written at once also where sums must have one order.
    return ring_BHSd.at[jnp.arange(len(x_BHd)), :, slot_B].set(x_BHd, unique_indices=True)
