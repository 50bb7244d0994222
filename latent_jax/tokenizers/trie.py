"""A double-array trie (Aoki 1989), which finds the longest match with one look-up per byte.

Every node with children has its own `base`. Its child for byte b lies in slot base + b. The slot
also stores the base of the child's parent (its owner), which shows whether the slot belongs to this
node or to another one. A slot is one number of 64 bits: the owner's base in the upper half, the
child's own base in the lower.
"""

from typing import NamedTuple

import numba
import numpy as np

_N_BYTES = 256


class Trie(NamedTuple):
    """A trie in which every node but the root has an id.

    Attributes:
        slots: int64[n_slots], owner's base << 32 | own base; -1 where the slot is free.
        ids: int32[n_slots], the id of the node in each slot; -1 where the slot is free.
        root: base of the root.
    """

    slots: np.ndarray
    ids: np.ndarray
    root: int


def build(parents: np.ndarray, labels: np.ndarray) -> Trie:
    """Return the trie of a tree of n nodes below a root.

    Args:
        parents: int32[n], the id of each node's parent, smaller than the node's own; -1 is the
            root.
        labels: uint8[n], the byte that leads from the parent to the node.
    """
    n_nodes = len(parents)
    order = np.lexsort((labels, parents))
    starts = np.searchsorted(parents[order], np.arange(-1, n_nodes + 1))
    n_children = np.diff(starts)
    # The nodes with most children first: those are the hardest to place. The root is node -1.
    inner = np.flatnonzero(n_children) - 1
    inner = inner[np.argsort(-n_children[inner + 1], kind="stable")]
    size = 4 * (n_nodes + _N_BYTES)
    while True:
        slots = np.full(size, -1, np.int64)
        ids = np.full(size, -1, np.int32)
        bases = np.zeros(n_nodes + 1, np.int64)
        used = _place(order, starts, labels, inner, ids, bases)
        if used:
            break
        size *= 2
    owner = bases[parents[ids[:used]] + 1]
    taken = ids[:used] >= 0
    slots[:used][taken] = (owner << 32 | bases[ids[:used] + 1])[taken]
    return Trie(slots[: used + _N_BYTES].copy(), ids[: used + _N_BYTES].copy(), int(bases[0]))


def longest(trie: Trie) -> int:
    """Return the number of bytes in the longest text."""
    owners, bases = trie.slots >> 32, trie.slots & 0xFFFFFFFF
    at = np.flatnonzero(owners >= 0)
    slot_of_base = np.full(len(trie.slots), -1)
    slot_of_base[bases[at]] = at
    slot_of_base[trie.root] = -1
    depth = 0
    while len(at):
        at = slot_of_base[owners[at]]
        at = at[at >= 0]
        depth += 1
    return depth


@numba.njit(cache=True)
def _place(order, starts, labels, inner, ids, bases):
    """Choose bases first-fit; return the slots used, or 0 where there are too few.

    A leaf keeps base 0. No node with children has this base, so no slot matches it.
    """
    is_base = np.zeros(len(ids), np.bool_)
    # first[b]: no base below it is free and has a free slot for byte b. Slots are never freed, so
    # the search need not go back.
    first = np.ones(_N_BYTES, np.int64)
    used = _N_BYTES
    for node in inner:
        children = order[starts[node + 1] : starts[node + 2]]
        base = np.int64(1)
        for child in children:
            label = labels[child]
            at = first[label]
            while at + _N_BYTES <= len(ids) and (is_base[at] or ids[at + label] >= 0):
                at += 1
            first[label] = at
            base = max(base, at)
        while True:
            if base + _N_BYTES > len(ids):
                return 0
            fits = not is_base[base]
            for child in children:
                fits = fits and ids[base + labels[child]] < 0
            if fits:
                break
            base += 1
        is_base[base] = True
        bases[node + 1] = base
        for child in children:
            ids[base + labels[child]] = child
        used = max(used, base + _N_BYTES)
    return used


@numba.njit(cache=True, nogil=True)
def longest_matches(text, slots, ids, root, out):
    """Cut a text into longest matches, from its beginning on.

    Args:
        text: uint8[n].
        slots: `Trie.slots`; every byte must be a child of the root.
        ids: `Trie.ids`.
        root: `Trie.root`.
        out: int32[>= n], written: the ids.

    Returns:
        The number of ids.
    """
    n_bytes, n_ids, i = len(text), 0, 0
    while i < n_bytes:
        slot = root + np.int64(text[i])
        base = slots[slot] & 0xFFFFFFFF
        i += 1
        while i < n_bytes:
            after = base + np.int64(text[i])
            entry = slots[after]
            if entry >> 32 != base:
                break
            slot, base = after, entry & 0xFFFFFFFF
            i += 1
        out[n_ids] = ids[slot]
        n_ids += 1
    return n_ids
