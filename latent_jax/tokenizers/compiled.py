"""Windows of up to 16 bits as a finite tree of texts, which are coded by look-ups, without M1.

Where a window is one token and M1 is reset in each (EqualInfoAC[b=16,v=65k] of Lester et al. 2024),
every id stands for the same text in every context. Ids number the texts in the order of their
bytes, as integer cells do: a text comes before its continuations. So the length and the last byte
of each text, in the order of ids, define the whole code.
"""

import functools
import itertools
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numba
import numpy as np
from numpy.typing import ArrayLike

from latent_jax.tokenizers import trie
from latent_jax.tokenizers.base import TableTokenizer
from latent_jax.tokenizers.equal_info import MAX_TABLE_BITS, EqualInfoAC


class CompiledCode(TableTokenizer):
    """A table of the text of every id.

    Args:
        name: name of the tokenizer that was compiled.
        depths: uint16[2^W], number of bytes in the text of each id.
        labels: uint8[2^W], the last byte of each text.

    Raises:
        ValueError: the two do not describe a tree, or a single byte is missing from it.
    """

    kind = "compiled"
    file_names = ("compiled.json", "tree.bin")

    def __init__(self, name: str, depths: ArrayLike, labels: ArrayLike):
        """Build the trie."""
        self.name = name
        self._depths = np.asarray(depths, np.uint16)
        self._labels = np.asarray(labels, np.uint8)
        self.separator_id = len(self._depths)
        self.vocab_size = self.separator_id + 1
        parents, pieces = _tree(self._depths, self._labels)
        if {piece for piece in pieces if len(piece) == 1} != {bytes([b]) for b in range(256)}:
            raise ValueError(f"{name}: the tree does not begin with every byte")
        self.pieces = (*pieces, b"")
        self._trie = trie.build(parents, self._labels)

    @property
    def trie(self) -> trie.Trie:
        """The texts as a trie."""
        return self._trie

    @classmethod
    def compile(cls, tokenizer: EqualInfoAC) -> Self:
        """Return the table of a tokenizer of integer cells, made by decoding every id once.

        Raises:
            ValueError: an id of the tokenizer stands for other texts in other contexts.
        """
        width = tokenizer.window_bits
        if width > MAX_TABLE_BITS or not tokenizer.is_table:
            raise ValueError(
                f"{tokenizer.name} cannot be compiled: an id stands for one text only where it is "
                "a whole window of integer cells and M1 is reset in each, as in "
                "EqualInfoAC[b=16,v=65k,rule=exact]"
            )
        return cls.of_texts(tokenizer.name, tokenizer.decode_batch(np.arange(1 << width)[:, None]))

    @classmethod
    def of_texts(cls, name: str, texts: Iterable[bytes]) -> Self:
        """Return the code whose ids number `texts` in the order of their bytes.

        Args:
            name: name of the tokenizer.
            texts: different texts, none empty. They must include every single byte, and for every
                longer text also the text without its last byte.

        Raises:
            ValueError: one of these texts is missing.
        """
        ordered = sorted(texts)
        return cls(name, [len(text) for text in ordered], [text[-1] for text in ordered])

    def encode(self, text: bytes) -> np.ndarray:
        """See `Tokenizer.encode`."""
        return self._encode_joined([text])[0]

    def encode_batch(
        self, texts: Sequence[bytes], n_threads: int = 0
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """See `Tokenizer.encode_batch`. `n_threads` threads share the texts; 0 = one per core."""
        n_threads = min(n_threads or os.cpu_count() or 1, len(texts))
        if n_threads < 2:
            encoded = self._encode_joined(texts)
        else:
            cuts = _equal_cuts([len(text) for text in texts], n_threads)
            groups = [texts[a:b] for a, b in itertools.pairwise(cuts)]
            with ThreadPoolExecutor(n_threads) as pool:
                encoded = [ids for part in pool.map(self._encode_joined, groups) for ids in part]
        return [(ids, self._lengths[ids]) for ids in encoded]

    def _encode_joined(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        joined = np.frombuffer(texts[0] if len(texts) == 1 else b"".join(texts), np.uint8)
        out = np.empty(len(joined), np.int32)
        ends = np.zeros(len(bounds), np.int64)
        _encode(joined, bounds, self._trie.slots, self._trie.ids, self._trie.root, out, ends)
        return [out[a:b].copy() for a, b in itertools.pairwise(ends)]

    def decode(self, ids: ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        ids = np.ascontiguousarray(self._checked(ids).reshape(-1), np.int32)
        table, starts = self._spelled
        out = np.empty(int(self._lengths[ids].sum(dtype=np.int64)), np.uint8)
        _spell(ids, table, starts, out)
        return out.tobytes()

    @functools.cached_property
    def _spelled(self) -> tuple[np.ndarray, np.ndarray]:
        """All pieces joined, uint8[n], and the start of each piece, int32[vocab_size + 1]."""
        return (
            np.frombuffer(b"".join(self.pieces), np.uint8),
            np.cumsum([0, *map(len, self.pieces)], dtype=np.int32),
        )

    def tree_bytes(self) -> bytes:
        """Return the whole code: depths as little-endian uint16[2^W], then labels as uint8[2^W]."""
        return self._depths.astype("<u2").tobytes() + self._labels.tobytes()

    def _files(self) -> dict[str, bytes]:
        return {
            "compiled.json": json.dumps({"name": self.name}).encode(),
            "tree.bin": zlib.compress(self.tree_bytes(), 9),
        }

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        tree = zlib.decompress(files["tree.bin"])
        n_ids = len(tree) // 3
        depths = np.frombuffer(tree, "<u2", n_ids)
        labels = np.frombuffer(tree, np.uint8, n_ids, offset=2 * n_ids)
        return cls(json.loads(files["compiled.json"])["name"], depths, labels)


def _tree(depths: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[bytes]]:
    """Return the parent of each id, int32[2^W] with -1 for the root, and the text of each id.

    Raises:
        ValueError: a depth exceeds that of the text before it by more than 1.
    """
    parents = np.full(len(depths), -1, np.int32)
    pieces: list[bytes] = []
    path: list[int] = []  # ids from the root's child down to the last node
    for id_, (depth, label) in enumerate(zip(depths.tolist(), labels.tolist(), strict=True)):
        if not 1 <= depth <= len(path) + 1:
            raise ValueError(f"the text of id {id_} has no parent: the tree is damaged")
        del path[depth - 1 :]
        parents[id_] = path[-1] if path else -1
        pieces.append((pieces[path[-1]] if path else b"") + bytes([label]))
        path.append(id_)
    return parents, pieces


def _equal_cuts(sizes: Sequence[int], n_parts: int) -> list[int]:
    """Return the indices at which to cut a list into parts of about the same total size."""
    ends = np.cumsum(sizes)
    inner = np.searchsorted(ends, ends[-1] * np.arange(1, n_parts) / n_parts, side="right")
    return [0, *inner.tolist(), len(sizes)]


@numba.njit(cache=True, nogil=True)
def _encode(text, bounds, slots, ids, root, out, ends):
    """Write the ids of the texts between `bounds`, joined, and the end of each text's ids."""
    n_ids = 0
    for i in range(len(bounds) - 1):
        own = text[bounds[i] : bounds[i + 1]]
        n_ids += trie.longest_matches(own, slots, ids, root, out[n_ids:])
        ends[i + 1] = n_ids


@numba.njit(cache=True, nogil=True)
def _spell(ids, table, starts, out):
    at = 0
    for id_ in ids:
        for i in range(starts[id_], starts[id_ + 1]):
            out[at] = table[i]
            at += 1
