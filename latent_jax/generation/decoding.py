"""Ids drawn one after the other from a causal model, in many lanes, with a cache.

`start` reads all prompts at once. `draw` is one `lax.scan` over new ids; the next call goes on
where it stopped, so that a caller can show text while it grows. Both are pure and jitted, with one
program for each number of lanes, slots and ids.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.generation.decoders import Caches, Decoder, Variables
from latent_jax.generation.sampling import Sampling, sample
from latent_jax.layers.block import by_layer, map_blocks


class Lanes(NamedTuple):
    """The state of a batch of texts while they are drawn.

    Attributes:
        logits_BV: float32, of each lane's next id.
        caches: what each lane has read, as `Decoder.step` takes it: for a GPT one cache per layer.
        position_B: int32, the position of each lane's next id.
        is_done_B: bool, whether the lane has drawn the separator.
        seen_BV: bool, which ids the lane has read in its prompt or drawn; None if they are not
            tracked.
    """

    logits_BV: jax.Array
    caches: Caches
    position_B: jax.Array
    is_done_B: jax.Array
    seen_BV: jax.Array | None = None


class Drawn(NamedTuple):
    """New ids of each lane.

    Attributes:
        ids_BN: int32; after the separator that ends a lane, all further ids are separators.
        nats_BN: float32, -log p of each id under the model itself, without temperature, truncation
            or penalty; 0 after a lane's end.
    """

    ids_BN: jax.Array
    nats_BN: jax.Array


@functools.partial(jax.jit, static_argnames=("decoder", "n_slots", "tracks_seen"))
def start(
    decoder: Decoder,
    variables: Variables,
    prompts_BT: jax.Array,
    lengths_B: jax.Array,
    n_slots: int,
    tracks_seen: bool = False,
) -> Lanes:
    """Read the prompts.

    Args:
        decoder: the model.
        variables: its Flax collections.
        prompts_BT: int32, padded at the end with any id.
        lengths_B: int32, ids in each prompt; 0 is allowed.
        n_slots: positions that the cache holds: more than T, and for a model with learned positions
            as many as the longest lane will have. With relative or rotary positions it may be
            fewer; a lane then attends to its last `n_slots` positions.
        tracks_seen: also track which ids each lane has seen, for a repetition penalty.

    Returns:
        Lanes whose next id is the first new one.
    """
    cache = decoder.empty_cache(prompts_BT.shape[0], n_slots)
    logits_BV, cache = decoder.prefill(variables, prompts_BT, lengths_B, cache)
    seen_BV = None
    if tracks_seen:
        is_real_BT = jnp.arange(prompts_BT.shape[1])[None] < lengths_B[:, None]
        lane_B1 = jnp.arange(len(lengths_B))[:, None]
        seen_BV = jnp.zeros(logits_BV.shape, bool).at[lane_B1, prompts_BT].max(is_real_BT)
    is_done_B = jnp.zeros(lengths_B.shape, bool)
    return Lanes(logits_BV, decoder.by_layer(cache), lengths_B + 1, is_done_B, seen_BV)


@functools.partial(
    jax.jit, static_argnames=("decoder", "sampling", "n_new"), donate_argnames=("lanes",)
)
def draw(
    decoder: Decoder,
    variables: Variables,
    lanes: Lanes,
    keys_B: jax.Array,
    sampling: Sampling,
    n_new: int,
) -> tuple[Lanes, Drawn]:
    """Draw the next `n_new` ids of every lane.

    Args:
        decoder: the model.
        variables: its Flax collections.
        lanes: from `start` or the last call; they are donated.
        keys_B: typed keys; a lane draws with its own key and position, so neither its neighbours
            nor the number of calls change what it draws.
        sampling: how ids are drawn; a repetition penalty needs lanes that track what they have
            seen.
        n_new: ids drawn for every lane; one that ends earlier gets separators.

    Raises:
        ValueError: there is a repetition penalty, and the lanes do not track what they have seen.
    """

    def body(lanes: Lanes, _: None) -> tuple[Lanes, Drawn]:
        keys = jax.vmap(jax.random.fold_in)(keys_B, lanes.position_B)
        ids_B = sample(keys, lanes.logits_BV, sampling, lanes.seen_BV)
        is_done_B, seen_BV = lanes.is_done_B, lanes.seen_BV
        if decoder.separator_id is not None:
            ids_B = jnp.where(is_done_B, decoder.separator_id, ids_B)
            is_done_B = is_done_B | (ids_B == decoder.separator_id)
        log_p_BV = jax.nn.log_softmax(lanes.logits_BV, axis=-1)
        nats_B = -jnp.take_along_axis(log_p_BV, ids_B[:, None], axis=1)[:, 0]
        nats_B = jnp.where(lanes.is_done_B, 0.0, nats_B)
        if seen_BV is not None:
            seen_BV = seen_BV.at[jnp.arange(len(ids_B)), ids_B].set(True)
        logits_BV, caches = decoder.step(layers, ids_B, lanes.caches, lanes.position_B)
        lanes = Lanes(logits_BV, caches, lanes.position_B + 1, is_done_B, seen_BV)
        return lanes, Drawn(ids_B, nats_B)

    layers = map_blocks(by_layer, variables)
    lanes, drawn = jax.lax.scan(body, lanes, None, length=n_new)
    return lanes, Drawn(*(jnp.swapaxes(part, 0, 1) for part in drawn))
