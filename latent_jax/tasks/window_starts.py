"""Where the windows of a compiled code begin, found on the device without a loop over the row.

Windows are read one after the other, and a loop over a row of 1,024 bytes is a thousand kernels of
a few bytes each: on a GPU half of a training step. But every window begins at the root of the tree.
So the window that would begin at each position is read from all positions at once, and then it is
found which of them are reached from the first.

What is reached is found in halves. A run of positions is summed up as a table: with so many bytes
of a window left that was open before, so many are left behind the run. Two neighbours make the
table of both; from the whole row down, each half is told with what it is entered. That is log2(T)
steps each way, and no scatter. A window has few bytes, so tables stay short.
"""

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.tokenizers.trie import Trie, longest

_N_BYTES = 256
_LABEL_BITS = 9
_NO_LABEL = (1 << _LABEL_BITS) - 1


def window_starts(ids_BT: jax.Array, windows: Trie) -> jax.Array:
    """Return where the windows of a compiled code begin, bool[B, T].

    A row is cut as if a document began with it; a separator ends a window and is in none.

    Args:
        ids_BT: int32, bytes and separators.
        windows: the code's tree.

    Raises:
        ValueError: the tree is too large for the device's table.
    """
    most = longest(windows)
    sizes_BT = window_sizes(ids_BT, windows, most)
    return _reached(jnp.maximum(sizes_BT, 1), most) & (sizes_BT > 0)


def window_sizes(ids_BT: jax.Array, windows: Trie, most: int) -> jax.Array:
    """Return the bytes of the window that would begin at each position, int32[B, T]; 0: none would.

    Args:
        ids_BT: int32, bytes and separators.
        windows: the code's tree.
        most: `trie.longest` of it.
    """
    entries_S = jnp.asarray(_packed(windows))
    row_length = ids_BT.shape[1]
    # What is no byte is no node's label.
    labels_BT = jnp.minimum(ids_BT, _N_BYTES)
    ahead_BT = jnp.pad(labels_BT, ((0, 0), (0, most - 1)), constant_values=_N_BYTES)
    base_BT = jnp.full(ids_BT.shape, windows.root, jnp.int32)
    sizes_BT = jnp.zeros(ids_BT.shape, jnp.int32)
    for depth in range(most):
        label_BT = ahead_BT[:, depth : depth + row_length]
        entry_BT = entries_S.at[base_BT + label_BT].get(mode="promise_in_bounds")
        goes_on_BT = entry_BT & _NO_LABEL == label_BT
        # Base 0 owns no slot: a window that has ended, or come to a leaf, stays ended.
        base_BT = jnp.where(goes_on_BT, entry_BT >> _LABEL_BITS, 0)
        sizes_BT += goes_on_BT
    return sizes_BT


def _packed(windows: Trie) -> np.ndarray:
    """Return the slots as int32[S], own base << 9 | label: one look-up for each byte.

    Bases differ, so a slot is the child of a base by a byte where it has that byte as its label.
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
    """Return which positions are reached from the first in steps of their sizes, bool[B, T].

    Args:
        sizes_BT: int32, from 1 to `most`.
        most: see above.
    """
    n_rows, row_length = sizes_BT.shape
    n_padded = _power_of_two(row_length)
    # left_BNO[b, n, o]: run n is entered with o bytes of a window left; how many are left after it.
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
    """Return what is left after runs of `size` that are entered so, int32[B, N, I]."""
    inside_BNI = jnp.take_along_axis(left_BNO, entered_BNI, axis=2, mode="clip")
    return jnp.where(entered_BNI < size, inside_BNI, entered_BNI - size)


def _power_of_two(n: int) -> int:
    """Return the least power of two that is at least n."""
    return 1 << (n - 1).bit_length()
