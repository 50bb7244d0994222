"""Attention one position at a time, with the keys and values of the last S positions in a ring.

Every lane (row of the batch) has its own position. A lane that starts a new text passes position 0;
older contents of its ring are then never read, so nothing has to be cleared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Cache(NamedTuple):
    """The last S keys and values of a layer; those of a stack have a leading axis of depth.

    Under rotary positions, keys are stored already rotated by their own positions.
    """

    k_BGSd: jax.Array
    v_BGSd: jax.Array


def empty_cache(batch_size: int, n_heads: int, length: int, head_size: int, dtype: str) -> Cache:
    """Return zeros for `length` slots per lane and head of keys and values: [B, G, S, d] each."""
    shape = (batch_size, n_heads, length, head_size)
    return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def fill(cache: Cache, k_BTGd: jax.Array, v_BTGd: jax.Array) -> Cache:
    """Return the ring with the keys and values of positions 0 to T - 1 written to it.

    Padding at the end of a lane may be written too, because the lane overwrites those slots before
    it reads them.

    Args:
        cache: a ring of S slots, S >= T.
        k_BTGd: keys, already rotated under rotary positions.
        v_BTGd: values.

    Raises:
        ValueError: T is more than S.
    """
    length, n_slots = k_BTGd.shape[1], cache.k_BGSd.shape[2]
    if length > n_slots:
        raise ValueError(f"{length} positions do not fit into a cache of {n_slots}")
    return Cache(
        *(
            ring.at[:, :, :length].set(new.swapaxes(1, 2).astype(ring.dtype))
            for ring, new in zip(cache, (k_BTGd, v_BTGd), strict=True)
        )
    )


def last_slots(keys: Cache, lengths_B: jax.Array, n_slots: int) -> Cache:
    """Return rings with the last of the first `lengths_B` positions of each lane.

    Args:
        keys: keys and values of positions 0 to T - 1, [B, G, T, d] each.
        lengths_B: int32, at least 1.
        n_slots: S, slots of a ring; position t is in slot t % S.
    """
    last_B1 = lengths_B[:, None] - 1
    at_BS = last_B1 - ages(last_B1[:, 0], n_slots)
    # Slots before the first position hold any key; a step reads none that is older than its text.
    at_BS = jnp.clip(at_BS, 0, keys.k_BGSd.shape[2] - 1)
    return Cache(*(jnp.take_along_axis(x, at_BS[:, None, :, None], axis=2) for x in keys))


def put(cache: Cache, new: Cache, at: jax.Array) -> Cache:
    """Return the cache of a stack with new keys and values from slot `at` on, in all lanes.

    Args:
        cache: [L, B, G, S, d] each.
        new: the same with fewer slots.
        at: int32 scalar.
    """
    return Cache(
        *(
            jax.lax.dynamic_update_slice(whole, part.astype(whole.dtype), (0, 0, 0, at, 0))
            for whole, part in zip(cache, new, strict=True)
        )
    )


def ages(position_B: jax.Array, length: int) -> jax.Array:
    """Return how many positions ago each slot was written, int32[B, S]; the newest has age 0.

    Args:
        position_B: int32, the position of each lane.
        length: S.
    """
    return (position_B[:, None] - jnp.arange(length)[None]) % length


def attend_step(
    q_BHd: jax.Array,
    k_BGd: jax.Array,
    v_BGd: jax.Array,
    cache: Cache,
    position_B: jax.Array,
    bias_HS: jax.Array | None = None,
) -> tuple[jax.Array, Cache]:
    """Write one position to the ring, and attend from it to itself and the positions before it.

    Args:
        q_BHd: the query of each lane and head.
        k_BGd: the keys; G must divide H, see `layers.attention`.
        v_BGd: the values.
        cache: the cache of this layer.
        position_B: int32, the position of each lane, counted from 0.
        bias_HS: float32, the bias of each age (distance), added to the scores; age 0 is the
            position itself.

    Returns:
        [B, H, d] in the dtype of q, and the cache that includes the position.
    """
    length = cache.k_BGSd.shape[2]
    slot_B = position_B % length
    cache = Cache(*(_write(ring, x, slot_B) for ring, x in zip(cache, (k_BGd, v_BGd), strict=True)))
    scores_BHS = _scores(q_BHd * q_BHd.shape[-1] ** -0.5, cache.k_BGSd)
    age_BS = ages(position_B, length)
    if bias_HS is not None:
        scores_BHS = scores_BHS + jnp.take(bias_HS, age_BS, axis=1).swapaxes(0, 1)
    is_written_BS = age_BS <= position_B[:, None]
    scores_BHS = jnp.where(is_written_BS[:, None], scores_BHS, jnp.finfo(jnp.float32).min)
    weights_BHS = jax.nn.softmax(scores_BHS, axis=-1)
    out_BHd = _mean(weights_BHS.astype(cache.v_BGSd.dtype), cache.v_BGSd)
    return out_BHd.astype(q_BHd.dtype), cache


def _scores(q_BHd: jax.Array, k_BGSd: jax.Array) -> jax.Array:
    """Return each query's products with the keys of its head, float32[B, H, S]."""
    n_rows, n_heads, head_size = q_BHd.shape
    n_groups, n_keys = k_BGSd.shape[1:3]
    words = dict(preferred_element_type=jnp.float32)
    if n_groups == n_heads:
        return jnp.einsum("BHd,BHSd->BHS", q_BHd, k_BGSd, **words)
    q_BGPd = q_BHd.reshape(n_rows, n_groups, -1, head_size)
    scores_BGPS = jnp.einsum("BGPd,BGSd->BGPS", q_BGPd, k_BGSd, **words)
    return scores_BGPS.reshape(n_rows, n_heads, n_keys)


def _mean(weights_BHS: jax.Array, v_BGSd: jax.Array) -> jax.Array:
    """Return the weighted sum of the values of each query's head, float32[B, H, d]."""
    n_rows, n_heads, n_keys = weights_BHS.shape
    n_groups, head_size = v_BGSd.shape[1], v_BGSd.shape[3]
    words = dict(preferred_element_type=jnp.float32)
    if n_groups == n_heads:
        return jnp.einsum("BHS,BHSd->BHd", weights_BHS, v_BGSd, **words)
    weights_BGPS = weights_BHS.reshape(n_rows, n_groups, -1, n_keys)
    out_BGPd = jnp.einsum("BGPS,BGSd->BGPd", weights_BGPS, v_BGSd, **words)
    return out_BGPd.reshape(n_rows, n_heads, head_size)


def _write(ring_BGSd: jax.Array, x_BGd: jax.Array, slot_B: jax.Array) -> jax.Array:
    """Return the ring with one position of each lane in its slot."""
    x_BGd = x_BGd.astype(ring_BGSd.dtype)
    if len(x_BGd) == 1:
        # With one lane, XLA turns the scatter below into a conditional update and copies the ring.
        return jax.lax.dynamic_update_slice(ring_BGSd, x_BGd[:, :, None], (0, 0, slot_B[0], 0))
    # `unique_indices` lets slots be written in parallel under options for deterministic sums, too.
    return ring_BGSd.at[jnp.arange(len(x_BGd)), :, slot_B].set(x_BGd, unique_indices=True)
