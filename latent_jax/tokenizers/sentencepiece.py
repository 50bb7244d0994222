"""Unigram language model subwords with byte fallback, by the sentencepiece library.

Kudo 2018 (https://arxiv.org/abs/1804.10959): a vocabulary of pieces with probabilities, trained by
EM and pruning; a text is cut into its most probable pieces. Kudo and Richardson 2018
(https://arxiv.org/abs/1808.06226) describe the library. Its defaults change the text, so they are
off: no Unicode normalisation, no space in front, no squeezing of spaces.

What remains inexact is handled here. The library writes the space as U+2581 inside pieces, so a
U+2581 in the text would come back as a space: it is spelled by its three bytes, as are bytes that
are not UTF-8. Characters outside the vocabulary become bytes in the library itself.

Hence its unknown piece, which it insists on having, can never occur, and takes the place of the
separator: id 0. Ids 1 to 256 are the bytes, the rest is learned.
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
# The trainer takes U+2581 for a space, and drops every sentence that holds its other mark, U+2585.
_UNTRAINABLE = re.compile(r"([\udc80-\udcff\u2581\u2585]+)")
# It also drops sentences longer than a limit, and builds a lattice over each word, so documents
# are cut, before a space where there is one.
_SENTENCE = re.compile(r".{1,4000}(?= )|.{1,4000}", re.DOTALL)
_LONGEST_CHARACTER = 4


class SentencePiece(TableTokenizer):
    """A unigram model; every character that it does not know is spelled in bytes.

    Args:
        model: a serialised model, as `train` makes it.
    """

    kind = "sentencepiece"
    file_names = ("sentencepiece.model",)
    separator_id = SEPARATOR_ID

    def __init__(self, model: bytes):
        """Read the model and makes the table of what each id stands for."""
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
        """Learns `vocab_size` ids, separator and bytes included; the same documents, the same ids.

        The library holds all documents in memory; a sample of some hundred MB is plenty.

        Raises:
            ValueError: the documents hold no text, support fewer ids, or need more.
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
                # Each thread sums its share of the expected counts, so the rounding, and with it
                # the vocabulary, depends on their number: it must not be that of the cores.
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
    """Says in our words why the trainer refused: its own name options that are not offered here."""
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
