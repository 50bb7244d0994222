"""Subwords of a unigram language model with byte fallback, by the sentencepiece library.

Kudo 2018 (https://arxiv.org/abs/1804.10959): a vocabulary of pieces with probabilities, trained by
EM and pruning; a text is cut into its most probable pieces. Kudo and Richardson 2018
(https://arxiv.org/abs/1808.06226) describe the library. Some of its defaults change the text, so
they are switched off: Unicode normalisation, a space before the text, and the removal of extra
spaces.

One case is left in which the library changes text. It writes the space as U+2581 inside pieces, so
it would decode a U+2581 of the text to a space. Here U+2581 is therefore spelled by its three
bytes, as are bytes that are not UTF-8. The library itself turns characters outside the vocabulary
into bytes.

So the unknown piece, which the library requires, can never occur. It serves as the separator, id 0.
Ids 1 to 256 are the bytes, and the rest is learned.
"""

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np
import sentencepiece as spm

from latent_jax.tokenizers.base import TableTokenizer
from latent_jax.tokenizers.utf8 import stretches

SEPARATOR = "<|endoftext|>"
SEPARATOR_ID = 0
FIRST_BYTE_ID = 1

_SPELLED = re.compile(r"([\udc80-\udcff\u2581]+)")
# The trainer reads U+2581 as a space, and drops every sentence with its other mark, U+2585.
_UNTRAINABLE = re.compile(r"([\udc80-\udcff\u2581\u2585]+)")
# The trainer also drops sentences above a limit, and builds a lattice over each word. So documents
# are cut, before a space if there is one.
_SENTENCE = re.compile(r".{1,4000}(?= )|.{1,4000}", re.DOTALL)
_LONGEST_CHARACTER = 4


class SentencePiece(TableTokenizer):
    """A unigram model; characters outside its vocabulary are spelled in bytes.

    Args:
        model: a serialised SentencePiece model, as `train` makes it.
    """

    kind = "sentencepiece"
    file_names = ("sentencepiece.model",)
    separator_id = SEPARATOR_ID

    def __init__(self, model: bytes):
        """Read the model and make the table of the bytes of each id."""
        self._serialized = model
        self._model = spm.SentencePieceProcessor(model_proto=model)
        self.vocab_size = self._model.get_piece_size()
        self.name = f"SentencePiece[v={self.vocab_size}]"
        self.pieces = (
            b"",
            *(bytes([byte]) for byte in range(256)),
            *(
                self._model.id_to_piece(id_).replace("\u2581", " ").encode()
                for id_ in range(FIRST_BYTE_ID + 256, self.vocab_size)
            ),
        )

    @classmethod
    def train(cls, documents: Iterable[bytes], vocab_size: int) -> Self:
        """Train a model of `vocab_size` ids, separator and bytes included, on raw documents.

        The same documents give the same ids. The library holds all documents in memory; a sample of
        some hundred MB is enough.

        Raises:
            ValueError: the documents hold no text, have too few pieces for `vocab_size`, or need
                more ids for their frequent characters.
        """
        name = f"SentencePiece[v={vocab_size}]"
        sentences = _sentences(documents)
        first = next(sentences, None)
        if first is None:
            raise ValueError(f"{name}: the documents hold no text to train on.")
        model = io.BytesIO()
        try:
            spm.SentencePieceTrainer.train(
                sentence_iterator=itertools.chain([first], sentences),
                model_writer=model,
                model_type="unigram",
                vocab_size=vocab_size,
                byte_fallback=True,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                max_sentence_length=4000 * _LONGEST_CHARACTER,
                unk_id=SEPARATOR_ID,
                unk_piece=SEPARATOR,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                # Each thread sums a share of the expected counts, so the rounding, and with it the
                # vocabulary, depends on the number of threads. It must not depend on the machine.
                num_threads=16,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ValueError(f"{name}: {_explained(str(error))}") from error
        return cls(model.getvalue())

    def _files(self) -> dict[str, bytes]:
        return {"sentencepiece.model": self._serialized}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        return cls(files["sentencepiece.model"])

    def encode(self, text: bytes) -> np.ndarray:
        """See `Tokenizer.encode`."""
        ids: list[int] = []
        for part in stretches(text, _SPELLED):
            if isinstance(part, bytes):
                ids += [FIRST_BYTE_ID + byte for byte in part]
            else:
                ids += self._model.encode(part)
        return np.array(ids, np.int32)


def _explained(refusal: str) -> str:
    """Return why the trainer refused; its own text names options that are not offered here."""
    if most := re.search(r"too high .* value <= (\d+)", refusal):
        return (
            f"the corpus supports only {most[1]} ids. Ask for a smaller vocabulary, or train on "
            "more text."
        )
    if least := re.search(r"required_chars\. \d+ vs (\d+)", refusal):
        return (
            f"the corpus needs at least {least[1]} ids, for the separator, the bytes and its "
            "frequent characters. Ask for a larger vocabulary."
        )
    return f"the trainer refused: {refusal.strip()}"


def _sentences(documents: Iterable[bytes]) -> Iterator[str]:
    """Yield the trainable text of `documents` in pieces that the trainer accepts."""
    for document in documents:
        for part in stretches(document, _UNTRAINABLE):
            if isinstance(part, str):
                yield from _SENTENCE.findall(part)
