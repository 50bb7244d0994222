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

from collections.abc import Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from latent_jax.data.documents import Document
from latent_jax.tokenizers.base import Tokenizer

Batch = dict[str, Any]  # "ids" int32[B, L], "weights" float32[B, L], "n_bytes" int32[B]


class TokenizedDocument(NamedTuple):
    """A document as ids.

    Attributes:
      ids: int32[n], the separator at the end.
      byte_ends: int64[n + 1], the raw bytes that the first 0, 1, ..., n ids stand for.
    """

    ids: np.ndarray
    byte_ends: np.ndarray


class Tokenize:
    """Maps a Document to a TokenizedDocument. Picklable where the tokenizer is."""

    def __init__(self, tokenizer: Tokenizer):
        """Keeps the tokenizer."""
        self._tokenizer = tokenizer

    def __call__(self, document: Document) -> TokenizedDocument:
        """Encodes. Raises ValueError where byte lengths do not add up to the text's."""
        ((encoded, lengths),) = self._tokenizer.encode_batch([document.text])
        byte_ends = np.zeros(len(encoded) + 2, np.int64)
        np.cumsum(lengths, out=byte_ends[1:-1])
        byte_ends[-1] = byte_ends[-2]  # the separator stands for no bytes
        if byte_ends[-1] != len(document.text):
            raise ValueError(
                f"Tokenizer {self._tokenizer.name} gives document {document.key!r} of "
                f"{len(document.text)} bytes ids whose "
                f"byte_lengths add up to {byte_ends[-1]}: its byte_lengths are wrong, and bits per "
                "byte would be too."
            )
        return TokenizedDocument(
            np.append(encoded, np.int32(self._tokenizer.separator_id)), byte_ends
        )


class Lane:
    """Reads documents first, first + stride, ... as one run of ids.

    Attributes:
      turn: Documents finished so far.
      offset: Ids already taken from the document at hand.
    """

    def __init__(self, documents: Sequence[TokenizedDocument], first: int, stride: int):
        """Starts at the beginning of the first document."""
        self._documents, self._first, self._stride = documents, first, stride
        self.seek(0, 0)

    def seek(self, turn: int, offset: int) -> None:
        """Continues at id `offset` of the lane's document number `turn`."""
        self.turn, self.offset = turn, offset
        self._document: TokenizedDocument | None = None

    def fill(self, row: np.ndarray) -> tuple[int, int]:
        """Writes the next ids into `row`, int32[L].

        Returns:
          The number of ids written, less than L only where the documents have come to their end,
          and the number of raw bytes that they stand for.
        """
        filled = n_bytes = 0
        while filled < len(row):
            if self._document is None:
                index = self._first + self.turn * self._stride
                if index >= len(self._documents):
                    break
                self._document = self._documents[index]
            ids, byte_ends = self._document
            end = min(self.offset + len(row) - filled, len(ids))
            taken = end - self.offset
            row[filled : filled + taken] = ids[self.offset : end]
            n_bytes += int(byte_ends[end] - byte_ends[self.offset])
            filled += taken
            self.offset = end
            if end == len(ids):
                self.seek(self.turn + 1, 0)
        return filled, n_bytes


class PackedLanes(grain.IterDataset):
    """Infinite dataset; an element is a Batch of the next row of each of its lanes."""

    def __init__(
        self, documents: grain.MapDataset, lanes: Sequence[int], n_lanes: int, row_length: int
    ):
        """Describes the dataset.

        Args:
          documents: Infinite, of TokenizedDocument.
          lanes: Which of the `n_lanes` lanes are packed here: rows of the global batch.
          n_lanes: Rows of the global batch.
          row_length: Ids in a row.
        """
        super().__init__(documents)
        self._lanes, self._n_lanes, self._row_length = tuple(lanes), n_lanes, row_length

    def __iter__(self) -> grain.DatasetIterator:
        """Starts at the first document of every lane."""
        return _PackedLanesIterator(self._parent, self._lanes, self._n_lanes, self._row_length)


class _PackedLanesIterator(grain.DatasetIterator):
    """Its state is where each lane stands."""

    def __init__(
        self, documents: grain.MapDataset, lanes: Sequence[int], n_lanes: int, row_length: int
    ):
        super().__init__()
        self._lanes = [Lane(documents, lane, n_lanes) for lane in lanes]
        self._row_length = row_length

    def __next__(self) -> Batch:
        ids = np.empty((len(self._lanes), self._row_length), np.int32)
        counts = [lane.fill(row) for lane, row in zip(self._lanes, ids, strict=True)]
        n_bytes = np.array([n_bytes for _, n_bytes in counts], np.int32)
        return {"ids": ids, "weights": np.ones(ids.shape, np.float32), "n_bytes": n_bytes}

    def get_state(self) -> dict[str, Any]:
        return {
            "turns": [lane.turn for lane in self._lanes],
            "offsets": [lane.offset for lane in self._lanes],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        for lane, turn, offset in zip(self._lanes, state["turns"], state["offsets"], strict=True):
            lane.seek(turn, offset)
