"""Rows that are cut into snippets, so that a byte model learns to predict from little context.

A byte model that drives equal-information windows begins anew every few bytes, and a row of text
begins once in `row_length`. Where it begins anew is not anywhere: a window ends before a byte that
was unlikely, most often the first of a word. Snippets can begin there, at the windows of a code
that was compiled before.
"""

import dataclasses

import jax
import jax.numpy as jnp

from latent_jax.ranges import Natural, Size, check_fields
from latent_jax.tasks.window_starts import window_starts
from latent_jax.tokenizers.trie import Trie


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snippets:
    """Which rows are cut, and how.

    Attributes:
        every: each row whose number in the batch is a multiple of it is cut; 0 cuts none.
        length: ids of a snippet; divides the row's length.
        windows: folder of a compiled code, at whose windows snippets begin; "shipped" is the one
            that the package carries, "" lets one snippet follow on the other, wherever it begins.

    Raises:
        ValueError: a number makes no sense.
    """

    every: Natural = 0
    length: Size = 32
    windows: str = ""

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "snippets.")

    def split(self, array_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the rows that stay whole, [B - n, T], and those to be cut, [n, T].

        The rows are taken at a stride, which leaves every device of a mesh an equal share.
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
    """Return rows as snippets, ids and weights, both [B T / length, length].

    Args:
        ids_BT: int32, bytes and separators.
        weights_BT: float32, of each id in the score.
        length: of a snippet; divides T.
        windows: the tree of a compiled code. Snippet k begins with the first of its windows from
            id k length on. What it would read beyond the end of the row has weight 0.
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
