"""Rows that are cut into snippets, so that a byte model learns to predict from little context.

A byte model that drives equal-information windows starts without context every few bytes, but a row
of training text starts only once in `row_length` bytes. Windows do not start just anywhere: a
window ends before an unlikely byte, most often the first of a word. So snippets can start where the
windows of a code that was compiled before start.
"""

import dataclasses

import jax
import jax.numpy as jnp

from latent_jax.ranges import Natural, Size, check_fields
from latent_jax.tasks.window_starts import window_starts
from latent_jax.tokenizers.trie import Trie


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snippets:
    """The choice of rows to cut, and of the places to cut them.

    Attributes:
        every: rows whose number in the batch is a multiple of this are cut; 0 cuts none.
        length: ids of a snippet; must divide the row's length.
        windows: folder of a compiled code; snippets begin at starts of its windows. "shipped" is
            the code in this package. "" cuts rows into consecutive snippets.

    Raises:
        ValueError: `every` is negative or `length` below 1.
    """

    every: Natural = 0
    length: Size = 32
    windows: str = ""

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "snippets.")

    def split(self, array_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the rows that stay whole, [B - n, T], and the n rows to cut, [n, T].

        Every `every`-th row is cut, so that all devices of a mesh get equal shares.

        Raises:
            ValueError: `every` does not divide B.
        """
        n_rows, row_length = array_BT.shape
        if n_rows % self.every:
            raise ValueError(
                f"snippets.every={self.every} does not divide the {n_rows} rows of a micro-batch"
            )
        groups = array_BT.reshape(-1, self.every, row_length)
        return groups[:, 1:].reshape(-1, row_length), groups[:, 0]


def cut(
    ids_BT: jax.Array, weights_BT: jax.Array, length: int, windows: Trie | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return the snippets of rows, ids and weights, both [B T / length, length].

    Args:
        ids_BT: int32, bytes and separators.
        weights_BT: float32, the weight of each id in the score.
        length: ids of a snippet; must divide T.
        windows: the tree of a compiled code, or None for consecutive snippets. Snippet k begins at
            the first window that starts at id k * length or later. Positions beyond the end of the
            row have weight 0.
    """
    if windows is None:
        return ids_BT.reshape(-1, length), weights_BT.reshape(-1, length)
    row_length = ids_BT.shape[1]
    at_T = jnp.arange(row_length)
    starts_BT = jnp.where(window_starts(ids_BT, windows), at_T[None], row_length)
    first_BK = jnp.min(starts_BT.reshape(len(ids_BT), -1, length), axis=2)
    next_BK = jax.lax.cummin(first_BK, axis=1, reverse=True)
    reads_BKS = next_BK[:, :, None] + jnp.arange(length)[None, None]
    inside_BKS = reads_BKS < row_length
    reads_BKS = jnp.minimum(reads_BKS, row_length - 1)
    snippets = (
        jnp.take_along_axis(array_BT[:, None], reads_BKS, axis=2)
        for array_BT in (ids_BT, weights_BT)
    )
    ids_NS, weights_NS = (snippet_BKS.reshape(-1, length) for snippet_BKS in snippets)
    return ids_NS, weights_NS * inside_BKS.reshape(-1, length)
