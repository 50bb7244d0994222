"""Attention to several sources of keys under masks, at positions that are given.

A plain row reads the positions before it. Thoughts do not: each block of them hangs behind a place
of a text, reads the text up to there, and itself. A `View` says who reads what.

`Attention` sows the weights as `VIEW_WEIGHTS` into the collection "intermediates", which exists
only where a caller makes it mutable; elsewhere nothing is kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.layers.cache import Cache

VIEW_WEIGHTS = "view_weights"
"""The name of attention weights among the "intermediates" of a layer, a tuple; see `view_weights`.
"""


class View(NamedTuple):
    """What each position of x may read.

    A position that reads nothing gets some mean of values; ignore it.

    Attributes:
        position_BT: int32, the position of each for rotary angles.
        own_BTT: bool, whether position t of x reads position s of x.
        contexts_BTS: for each context, bool, whether position t of x reads its position s.
    """

    position_BT: jax.Array
    own_BTT: jax.Array
    contexts_BTS: tuple[jax.Array, ...] = ()


def view_weights(
    q_BTHd: jax.Array,
    own: Cache,
    contexts: Sequence[Cache],
    view: View,
) -> tuple[jax.Array, ...]:
    """Return how much each position reads of each key, float32[B, G, H / G, T, S] for each source.

    They are softmax(q k^T / sqrt(d)) over all sources together, in float32: the contexts, and then
    x itself. Sources are not joined: scores of each are, so that long contexts are never copied.
    `mix_view` weighs the values.

    Args:
        q_BTHd: queries, rotated.
        own: keys (rotated) and values of x, [B, G, T, d] each; G must divide H.
        contexts: keys and values of earlier positions, [B, G, S, d] each.
        view: who reads what.

    Raises:
        ValueError: the view has another number of contexts.
    """
    if len(contexts) != len(view.contexts_BTS):
        raise ValueError(f"{len(contexts)} contexts, and a view of {len(view.contexts_BTS)}")
    n_rows, length, n_heads, head_size = q_BTHd.shape
    n_groups = own.k_BGSd.shape[1]
    q_BGPTd = (q_BTHd * head_size**-0.5).swapaxes(1, 2)
    q_BGPTd = q_BGPTd.reshape(n_rows, n_groups, n_heads // n_groups, length, head_size)
    sources = (*contexts, own)
    allowed_BTS = jnp.concatenate((*view.contexts_BTS, view.own_BTT), axis=2)
    scores_BGPTS = jnp.concatenate(
        [
            jnp.einsum(
                "BGPTd,BGSd->BGPTS", q_BGPTd, source.k_BGSd, preferred_element_type=jnp.float32
            )
            for source in sources
        ],
        axis=-1,
    )
    least = jnp.finfo(jnp.float32).min
    weights_BGPTS = jax.nn.softmax(
        jnp.where(allowed_BTS[:, None, None], scores_BGPTS, least), axis=-1
    )
    parts, start = [], 0
    for source in sources:
        stop = start + source.k_BGSd.shape[2]
        parts.append(weights_BGPTS[..., start:stop])
        start = stop
    return tuple(parts)


def mix_view(
    weights: Sequence[jax.Array], own: Cache, contexts: Sequence[Cache], dtype: jnp.dtype
) -> jax.Array:
    """Return the values of all sources, weighted, [B, T, H, d]; see `view_weights`."""
    total_BGPTd = 0.0
    for weights_BGPTS, source in zip(weights, (*contexts, own), strict=True):
        total_BGPTd += jnp.einsum(
            "BGPTS,BGSd->BGPTd",
            weights_BGPTS.astype(source.v_BGSd.dtype),
            source.v_BGSd,
            preferred_element_type=jnp.float32,
        )
    n_rows, n_groups, n_sharing, length, head_size = total_BGPTd.shape
    out_BHTd = total_BGPTd.reshape(n_rows, n_groups * n_sharing, length, head_size)
    return out_BHTd.swapaxes(1, 2).astype(dtype)
