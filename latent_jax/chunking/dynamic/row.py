"""What is known of the positions of rows beside their vectors, and the same of chunks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import Cut


class Row(NamedTuple):
    """What is known of the positions of rows beside their vectors.

    Attributes:
        ids_BT: int32, ids that positions read; of chunks, the first one of each.
        starts_BT: bool, where documents start.
        mask_BT: bool, False at padding behind a row.
        documents_BT: int32, the document of each position where documents do not see each other;
            None = they do.
        n_units: float32 scalar, what rates are counted in: raw bytes or ids, or chunks of the
            stage before.
        signal_BT: float32, see `Sight`; None = there is none.
    """

    ids_BT: jax.Array
    starts_BT: jax.Array
    mask_BT: jax.Array
    documents_BT: jax.Array | None
    n_units: jax.Array
    signal_BT: jax.Array | None = None


def since_start(starts_BT: jax.Array) -> jax.Array:
    """Return the positions since the start of the document of each, int32[B, T]."""
    at_T = jnp.arange(starts_BT.shape[1], dtype=jnp.int32)
    at_BT = jnp.broadcast_to(at_T[None], starts_BT.shape)
    return at_BT - jax.lax.cummax(jnp.where(starts_BT, at_BT, 0), axis=1)


def before(x_BT: jax.Array, first: float) -> jax.Array:
    """Return what stands one position before each, and `first` at the first one of a row."""
    return jnp.pad(x_BT[:, :-1], ((0, 0), (1, 0)), constant_values=first)


def row_of_chunks(row: Row, cut: Cut) -> Row:
    """Return what is known of chunks: the id, start and document of the first position of each."""

    def first(x_BT):
        return jnp.take_along_axis(x_BT, cut.first_BK, axis=1)

    documents_BK = None if row.documents_BT is None else first(row.documents_BT)
    n_chunks = jnp.sum(cut.mask_BK).astype(jnp.float32)
    starts_BK = first(row.starts_BT) & cut.mask_BK
    return Row(first(row.ids_BT), starts_BK, cut.mask_BK, documents_BK, n_chunks)
