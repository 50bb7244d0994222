"""Bytes that know where the pieces of a subword tokenizer end, for models that learn to end there.

The ids are those of `Bytes`. A further field of a batch, `BOUNDARIES`, is True at each byte that
ends a piece, where the piece behind it is known to begin. Subword tokenizers write a space at the
beginning of a word's first piece, so that a word's end would have to be guessed before it. As in
the code of Nawrot et al. 2023 (arXiv 2211.09761, github.com/PiotrNawrot/dynamic-pooling), such a
space still belongs to what it ends: the boundary is at the space, and a model that has read it
knows.

    The |ow|ls |fly        pieces "The", " ow", "ls", " fly"
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from latent_jax.contracts import Document, Encoded, FieldSpec
from latent_jax.tokenizers.base import Tokenizer
from latent_jax.tokenizers.bpe import BPE
from latent_jax.tokenizers.bytes import Bytes
from latent_jax.tokenizers.sentencepiece import SentencePiece

BOUNDARIES = "boundaries"
"""The field's name."""

BOUNDARIES_SPEC = FieldSpec("bool")

SPACE = ord(" ")


class MarkedBytes(Bytes):
    """Bytes, marked where pieces of another tokenizer end; subclasses say of which kind it is.

    Args:
        pieces: the other tokenizer.

    Raises:
        ValueError: it is of another kind.
    """

    piece_kind: ClassVar[type[Tokenizer]]

    def __init__(self, pieces: Tokenizer):
        """Keep the other tokenizer."""
        if type(pieces) is not self.piece_kind:
            raise ValueError(
                f"{type(self).__name__} marks where pieces of {self.piece_kind.__name__} end; got "
                f"{pieces!r}"
            )
        self.pieces = pieces
        self.name = f"Bytes, marked by {pieces.name}"

    @property
    def fields(self) -> dict[str, FieldSpec]:
        """The ids, and whether a byte ends a piece; see `contracts.Code`."""
        return {**super().fields, BOUNDARIES: BOUNDARIES_SPEC}

    def encode_example(self, example: Document) -> Encoded:
        """Return the bytes of a document and a separator, marked; the separator always is."""
        fields, amounts = super().encode_example(example)
        lengths = self.pieces.byte_lengths(self.pieces.encode(example.text))
        marks = np.append(marks_of(example.text, lengths), True)
        return Encoded({**fields, BOUNDARIES: marks}, amounts)

    def _files(self) -> dict[str, bytes]:
        return self.pieces._files()

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        return cls(cls.piece_kind._from_files(files))


class BPEMarkedBytes(MarkedBytes):
    """Bytes, marked where pieces of byte-pair encoding end."""

    kind = "bpe_marked_bytes"
    piece_kind = BPE
    file_names = BPE.file_names


class SentencePieceMarkedBytes(MarkedBytes):
    """Bytes, marked where unigram pieces end."""

    kind = "sentencepiece_marked_bytes"
    piece_kind = SentencePiece
    file_names = SentencePiece.file_names


def marked_bytes(pieces: Tokenizer) -> MarkedBytes:
    """Return bytes that are marked where pieces end.

    Raises:
        ValueError: there is no kind for such pieces.
    """
    for cls in (BPEMarkedBytes, SentencePieceMarkedBytes):
        if type(pieces) is cls.piece_kind:
            return cls(pieces)
    raise ValueError(f"bytes are marked by pieces of BPE or SentencePiece; got {pieces!r}")


def marks_of(text: bytes, lengths: Any) -> np.ndarray:
    """Return at which bytes of a text a piece ends, bool[n]; the last byte of a text does.

    Args:
        text: n bytes.
        lengths: int[m], bytes of its pieces, in order.
    """
    marks = np.zeros(len(text), bool)
    starts_M = np.cumsum(lengths, dtype=np.int64)[:-1]
    if len(text):
        is_space_M = np.frombuffer(text, np.uint8)[starts_M] == SPACE
        marks[starts_M - 1 + is_space_M] = True
        marks[-1] = True
    return marks
