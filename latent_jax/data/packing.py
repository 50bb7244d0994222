"""Documents of any length packed into rows of exactly `row_length` ids.

A row is filled from a *lane*: documents one after the other, each followed by the separator, cut
wherever a row is full; the next row of the lane goes on from there. Training has one lane for each
row of the batch: lane r of B reads documents r, r + B, r + 2B, ... of the shuffled stream. Three
things follow.

- A batch holds B different documents. Packing one stream and batching its rows puts neighbouring
  rows of a document into the same batch: a batch of 32 x 512 bytes is one or two Wikipedia
  articles.
- What is in a batch depends on the seed and B alone, not on how many processes or workers share the
  lanes.
- The state is two integers a lane, exact at any point. (The state of
  `grain.experimental.ConcatThenSplitIterDataset`, Grain 0.2.18, holds tuples that it compares after
  a round trip through JSON has made them lists: a checkpoint taken where a document ended with its
  row then resumes at the wrong place.)

The price is that lanes run through the stream at their own speed: at any moment some are a little
further into an epoch than others.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import grain
import numpy as np

from latent_jax.contracts import Document
from latent_jax.tokenizers.base import Tokenizer

Block = dict[str, np.ndarray]  # of b lanes: "ids" int32[b, rows, L], "n_bytes" int32[b, rows]

# A block grows until it takes so long to make, or holds so many ids.
_BLOCK_SECONDS = 0.01
_BLOCK_IDS = 1 << 17


class TokenizedDocument(NamedTuple):
    """A document as ids.

    Attributes:
        ids: int32[n], the separator at the end.
        byte_lengths: int32[n], the raw bytes that each id stands for.
    """

    ids: np.ndarray
    byte_lengths: np.ndarray

    @classmethod
    def ended(cls, ids: np.ndarray, byte_lengths: np.ndarray, separator_id: int) -> Self:
        """Return the document with a separator after its ids, which stands for no bytes."""
        return cls(np.append(ids, np.int32(separator_id)), np.append(byte_lengths, np.int32(0)))


class Tokenize:
    """Maps a Document to a TokenizedDocument. Picklable where the tokenizer is."""

    def __init__(self, tokenizer: Tokenizer):
        """Keep the tokenizer."""
        self._tokenizer = tokenizer

    def __call__(self, document: Document) -> TokenizedDocument:
        """Encode. Raises ValueError where byte lengths do not add up to the text's."""
        ((ids, byte_lengths),) = self._tokenizer.encode_batch([document.text])
        n_bytes = int(byte_lengths.sum(dtype=np.int64))
        if n_bytes != len(document.text):
            raise ValueError(
                f"Tokenizer {self._tokenizer.name} gives document {document.key!r} of "
                f"{len(document.text)} bytes ids whose "
                f"byte_lengths add up to {n_bytes}: its byte_lengths are wrong, and bits per "
                "byte would be too."
            )
        return TokenizedDocument.ended(ids, byte_lengths, self._tokenizer.separator_id)


class Lane:
    """Reads documents first, first + stride, ... as one run of ids.

    Attributes:
        turn: Documents finished so far.
        offset: Ids already taken from the document at hand.
    """

    def __init__(self, documents: Sequence[TokenizedDocument], first: int, stride: int):
        """Start at the beginning of the first document."""
        self._documents, self._first, self._stride = documents, first, stride
        self.seek(0, 0)

    def seek(self, turn: int, offset: int) -> None:
        """Continue at id `offset` of the lane's document number `turn`."""
        self.turn, self.offset = turn, offset
        self._document: TokenizedDocument | None = None

    def read(self, ids: np.ndarray, byte_lengths: np.ndarray) -> int:
        """Write the next ids, and the raw bytes of each, into two arrays int32[n].

        Returns:
            The number of ids written, less than n only where the documents have come to their end.
        """
        filled = 0
        while filled < len(ids):
            if self._document is None:
                index = self._first + self.turn * self._stride
                if index >= len(self._documents):
                    break
                self._document = self._documents[index]
            document = self._document
            end = min(self.offset + len(ids) - filled, len(document.ids))
            stop = filled + end - self.offset
            ids[filled:stop] = document.ids[self.offset : end]
            byte_lengths[filled:stop] = document.byte_lengths[self.offset : end]
            filled, self.offset = stop, end
            if end == len(document.ids):
                self.seek(self.turn + 1, 0)
        return filled

    def fill(self, row: np.ndarray) -> tuple[int, int]:
        """Write the next ids into `row`, int32[L].

        Returns:
            The number of ids written, as `read` does, and of the raw bytes that they stand for.
        """
        byte_lengths = np.zeros(len(row), np.int32)
        return self.read(row, byte_lengths), int(byte_lengths.sum())


class PackedLanes(grain.IterDataset):
    """Infinite dataset; an element is a Block, the next rows of each of its lanes.

    How many rows a block has depends on how fast they are made: what there is to do for each block,
    above all where it is handed from one process to another, is shared by as many rows as take a
    moment to make. What follows after a state does not depend on it.
    """

    def __init__(
        self, documents: grain.MapDataset, lanes: Sequence[int], n_lanes: int, row_length: int
    ):
        """Describe the dataset.

        Args:
            documents: Infinite, of TokenizedDocument.
            lanes: Which of the `n_lanes` lanes are packed here: rows of the global batch.
            n_lanes: Rows of the global batch.
            row_length: Ids in a row.
        """
        super().__init__(documents)
        self._lanes, self._n_lanes, self._row_length = tuple(lanes), n_lanes, row_length

    def __iter__(self) -> grain.DatasetIterator:
        """Start at the first document of every lane."""
        return _PackedLanesIterator(self._parent, self._lanes, self._n_lanes, self._row_length)


class _PackedLanesIterator(grain.DatasetIterator):
    """Its state is where each lane stands."""

    def __init__(
        self, documents: grain.MapDataset, lanes: Sequence[int], n_lanes: int, row_length: int
    ):
        super().__init__()
        self._lanes = [Lane(documents, lane, n_lanes) for lane in lanes]
        self._row_length = row_length
        self._n_rows = 1

    def __next__(self) -> Block:
        start = time.perf_counter()
        shape = (len(self._lanes), self._n_rows, self._row_length)
        ids, byte_lengths = np.empty(shape, np.int32), np.empty(shape, np.int32)
        for lane, lane_ids, lane_lengths in zip(self._lanes, ids, byte_lengths, strict=True):
            lane.read(lane_ids.reshape(-1), lane_lengths.reshape(-1))
        block = {"ids": ids, "n_bytes": byte_lengths.sum(axis=-1, dtype=np.int32)}
        seconds = time.perf_counter() - start
        if seconds < _BLOCK_SECONDS and ids.size < _BLOCK_IDS:
            self._n_rows *= 2
        elif seconds > 4 * _BLOCK_SECONDS:
            self._n_rows = max(self._n_rows // 2, 1)
        return block

    def get_state(self) -> dict[str, Any]:
        return {
            "turns": [lane.turn for lane in self._lanes],
            "offsets": [lane.offset for lane in self._lanes],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        for lane, turn, offset in zip(self._lanes, state["turns"], state["offsets"], strict=True):
            lane.seek(turn, offset)
