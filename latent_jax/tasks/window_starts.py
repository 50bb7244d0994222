"""The starts of the windows of a compiled code, found on the device without a loop over the row.

Windows follow each other, so the obvious code is a loop. But a loop over a row of 1,024 bytes is a
thousand kernels of a few bytes each, which on a GPU takes half of a training step. Every window
begins at the root of the tree, however. So the first step computes, for all positions at once, the
size of the window that would begin there. The second step finds which positions are reached from
the first one by steps of these sizes.

The second step divides the row into halves, recursively. For a run of positions there is a table:
if the last window before the run reaches o bytes into it, how many bytes does the last window of
the run reach beyond it? The tables of two neighbouring runs give the table of both. Then, from the
whole row down to single positions, each half gets the number of bytes by which the window before it
reaches into it. That is log2(T) steps in each direction, and no scatter. A window has few bytes, so
tables are short.
"""

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.tokenizers.trie import Trie, longest

_N_BYTES = 256
_LABEL_BITS = 9
_NO_LABEL = (1 << _LABEL_BITS) - 1


def window_starts(ids_BT: jax.Array, windows: Trie) -> jax.Array:
    """Return bool[B, T], True where a window of a compiled code begins.

    A row is cut as if a document began at its first position. A separator ends a window and is part
    of none.

    Args:
        ids_BT: int32, bytes and separators.
        windows: the tree of the code.

    Raises:
        ValueError: the tree has more slots than the packed table can address.
    """
    most = longest(windows)
    sizes_BT = window_sizes(ids_BT, windows, most)
    return _reached(jnp.maximum(sizes_BT, 1), most) & (sizes_BT > 0)


def window_sizes(ids_BT: jax.Array, windows: Trie, most: int) -> jax.Array:
    """Return the bytes of the window that would begin at each position, int32[B, T].

    The size is 0 at a separator.

    Args:
        ids_BT: int32, bytes and separators.
        windows: the tree of the code.
        most: `trie.longest` of the tree.
    """
    entries_S = jnp.asarray(_packed(windows))
    row_length = ids_BT.shape[1]
    # No node has the label 256, which stands for separators and the end of the row.
    labels_BT = jnp.minimum(ids_BT, _N_BYTES)
    ahead_BT = jnp.pad(labels_BT, ((0, 0), (0, most - 1)), constant_values=_N_BYTES)
    base_BT = jnp.full(ids_BT.shape, windows.root, jnp.int32)
    sizes_BT = jnp.zeros(ids_BT.shape, jnp.int32)
    for depth in range(most):
        label_BT = ahead_BT[:, depth : depth + row_length]
        entry_BT = entries_S.at[base_BT + label_BT].get(mode="promise_in_bounds")
        goes_on_BT = entry_BT & _NO_LABEL == label_BT
        # Base 0 owns no slot, so a window that has ended, or reached a leaf, does not go on.
        base_BT = jnp.where(goes_on_BT, entry_BT >> _LABEL_BITS, 0)
        sizes_BT += goes_on_BT
    return sizes_BT


def _packed(windows: Trie) -> np.ndarray:
    """Return the slots as int32[S], own base << 9 | label, for one look-up per byte.

    Slot base + byte belongs to the node with this base exactly if its label is the byte, because
    all bases differ.
    """
    owner_S, base_S = windows.slots >> 32, windows.slots & 0xFFFFFFFF
    if windows.root >> (31 - _LABEL_BITS) or len(base_S) >> (31 - _LABEL_BITS):
        raise ValueError(
            f"a tree of {len(base_S):,} slots does not fit into {31 - _LABEL_BITS} bits: cut "
            "snippets at the windows of a smaller code, or with snippets.windows=''"
        )
    is_taken_S = owner_S >= 0
    label_S = np.where(is_taken_S, np.arange(len(owner_S)) - owner_S, _NO_LABEL)
    return (np.where(is_taken_S, base_S, 0) << _LABEL_BITS | label_S).astype(np.int32)


def _reached(sizes_BT: jax.Array, most: int) -> jax.Array:
    """Return bool[B, T], True at positions that are reached from the first by steps of `sizes_BT`.

    Args:
        sizes_BT: int32, 1 to `most`: the step from each position to the next one that is reached.
        most: the largest step.
    """
    n_rows, row_length = sizes_BT.shape
    n_padded = _power_of_two(row_length)
    # left_BNO[b, n, o]: bytes of a window left after run n, if o bytes are left before it.
    left_BNO = jnp.pad(sizes_BT - 1, ((0, 0), (0, n_padded - row_length)))[:, :, None]
    first_halves, size = [], 1
    while size < n_padded:
        first_BNO, second_BNO = left_BNO[:, ::2], left_BNO[:, 1::2]
        first_halves.append(first_BNO)
        left_BNO = _through(second_BNO, first_BNO, size)
        if size < _power_of_two(most):
            left_BNO = jnp.concatenate([left_BNO, second_BNO], axis=2)
        size *= 2
    entered_BN = jnp.zeros((n_rows, 1), jnp.int32)
    for first_BNO in reversed(first_halves):
        size //= 2
        after_BN = _through(first_BNO, entered_BN[:, :, None], size)[:, :, 0]
        entered_BN = jnp.stack([entered_BN, after_BN], axis=2).reshape(n_rows, -1)
    return entered_BN[:, :row_length] == 0


def _through(left_BNO: jax.Array, entered_BNI: jax.Array, size: int) -> jax.Array:
    """Return the bytes of a window left after runs of `size` positions, int32[B, N, I].

    Args:
        left_BNO: the tables of the runs.
        entered_BNI: int32, bytes of a window left before each run.
        size: positions per run.
    """
    inside_BNI = jnp.take_along_axis(left_BNO, entered_BNI, axis=2, mode="clip")
    return jnp.where(entered_BNI < size, inside_BNI, entered_BNI - size)


def _power_of_two(n: int) -> int:
    """Return the least power of two that is at least n."""
    return 1 << (n - 1).bit_length()
