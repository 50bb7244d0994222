"""Byte-level byte-pair encoding, in GPT-2's form.

Sennrich et al. 2016 (https://arxiv.org/abs/1508.07909) merge the most frequent pair of symbols,
again and again. GPT-2 (Radford et al. 2019, section 2.2) starts from the 256 bytes instead of
characters, and keeps merges inside the words that a regular expression cuts: no unknown symbol, no
normalisation. A vocabulary is GPT-2's two files, `vocab.json` and `merges.txt`, in which each byte
is written as one printable character. Training and merging are done by Hugging Face's tokenizers.

Two things are done here. Bytes that are not UTF-8, which that library cannot be given, are spelled
by their single-byte ids. And documents are cut into words with a cache, which is several times
faster than the library on whole documents and gives the same ids: in GPT-2's expression

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

no match holds white space after anything else, and nothing looks back, so a place between a
visible character and white space always ends one match and starts the next.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import tokenizers as hf

from latent_jax.tokenizers.base import TableTokenizer
from latent_jax.tokenizers.utf8 import stretches

SEPARATOR = "<|endoftext|>"

# Visible characters are taken from ASCII only: beyond it, what counts as white space depends on
# the version of Unicode that a library was built with.
_CUT = re.compile(rb"(?<=[!-~])(?=[ \n])")
_CACHED_WORDS = 1 << 18
_CACHED_WORD_BYTES = 48


def byte_alphabet() -> list[str]:
    """Return GPT-2's character for each byte: itself if printable Latin-1, else U+0100 upwards."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256)]


_ALPHABET = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(_ALPHABET)}


class BPE(TableTokenizer):
    """Byte-level BPE; the separator is the vocabulary's <|endoftext|>.

    Args:
        vocab: id of each token, the tokens spelled in GPT-2's alphabet.
        merges: pairs of tokens, the first to be merged first.

    Raises:
        ValueError: the two do not make a byte-level BPE vocabulary.
    """

    kind = "bpe"
    file_names = ("vocab.json", "merges.txt")

    def __init__(self, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]):
        """Build the tables and the merging model from a checked vocabulary."""
        tokens = sorted(vocab, key=vocab.__getitem__)
        _check(vocab, tokens, merges)
        self._vocab = {token: vocab[token] for token in tokens}
        self._merges = list(merges)
        self.vocab_size = len(tokens)
        self.separator_id = vocab[SEPARATOR]
        self.name = f"BPE[v={self.vocab_size}]"
        self.pieces = tuple(
            b"" if token == SEPARATOR else bytes(map(_BYTE_OF.__getitem__, token))
            for token in tokens
        )
        self._id_of_byte = [vocab[character] for character in _ALPHABET]
        # A plain token of the model, not an added one: text is never searched for the separator,
        # and no merge makes it.
        self.model = _pipeline(hf.models.BPE(self._vocab, self._merges))
        self._cache: dict[bytes, list[int]] = {}

    @classmethod
    def train(cls, documents: Iterable[bytes], vocab_size: int) -> Self:
        """Learns `vocab_size` ids, separator included; the same documents give the same ids.

        Only pairs that occur at least twice are merged. The library counts the words of all
        documents, so what it holds in memory grows with the number of different words.

        Raises:
            ValueError: `vocab_size` is below the 257 ids of bytes and separator, or above what the
                documents support.
        """
        if vocab_size < 257:
            raise ValueError(
                f"BPE[v={vocab_size}]: a byte-level vocabulary needs at least 257 ids, for 256 "
                "bytes and the separator. Ask for more, or use Bytes."
            )
        trainer = hf.trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            min_frequency=2,
            show_progress=False,
            special_tokens=[],
            initial_alphabet=sorted(_ALPHABET),
        )
        model = _pipeline(hf.models.BPE())
        text = (part for doc in documents for part in stretches(doc) if isinstance(part, str))
        model.train_from_iterator(text, trainer)
        learned = json.loads(model.to_str())["model"]
        reached = len(learned["vocab"]) + 1
        if reached < vocab_size:
            raise ValueError(
                f"BPE[v={vocab_size}]: the corpus supports only {reached} ids, no pair is left "
                "that occurs twice. Ask for a smaller vocabulary, or train on more text."
            )
        vocab = {**learned["vocab"], SEPARATOR: vocab_size - 1}
        return cls(vocab, [(left, right) for left, right in learned["merges"]])

    @classmethod
    def from_files(cls, vocab: Path, merges: Path) -> Self:
        """Read a vocabulary in GPT-2's two files (GPT-2's own: 50257 ids, separator 50256).

        Raises:
            ValueError: a file is not readable, or the two do not make a byte-level BPE vocabulary.
        """
        try:
            return cls._from_files(
                {"vocab.json": Path(vocab).read_bytes(), "merges.txt": Path(merges).read_bytes()}
            )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{vocab} and {merges} are not a byte-level BPE vocabulary: {error}"
            ) from error

    def _files(self) -> dict[str, bytes]:
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in self._merges)]
        return {
            "vocab.json": json.dumps(self._vocab).encode(),
            "merges.txt": ("\n".join(lines) + "\n").encode(),
        }

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        lines = files["merges.txt"].decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
        # Only the first line may be a comment: "# #" is a merge.
        if lines[0].startswith("#version"):
            lines = lines[1:]
        pairs = [tuple(line.split(" ")) for line in lines]
        if wrong := next((pair for pair in pairs if len(pair) != 2), None):
            raise ValueError(f"the merge {' '.join(wrong)!r} is not a pair of tokens.")
        vocab = json.loads(files["vocab.json"])
        if not isinstance(vocab, dict):
            raise ValueError("the vocabulary is not a JSON object of tokens and ids.")
        return cls(vocab, pairs)

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the id of each byte, int32[256], and left, right and merged ids of the merges,
        int32[n, 3], the first to be merged first: with the words, all that decides `encode`.
        """
        ids = self._vocab
        merges = [(ids[left], ids[right], ids[left + right]) for left, right in self._merges]
        return np.array(self._id_of_byte, np.int32), np.array(merges, np.int32).reshape(-1, 3)

    def encode(self, text: bytes) -> np.ndarray:
        """See `Tokenizer.encode`."""
        ids: list[int] = []
        cache = self._cache
        for word in _CUT.split(text):
            known = cache.get(word)
            if known is None:
                known = self._encode_word(word)
                if len(word) <= _CACHED_WORD_BYTES:
                    if len(cache) >= _CACHED_WORDS:
                        cache.clear()
                    cache[word] = known
            ids += known
        return np.array(ids, np.int32)

    def _encode_word(self, word: bytes) -> list[int]:
        ids: list[int] = []
        for part in stretches(word):
            if isinstance(part, bytes):
                ids += [self._id_of_byte[byte] for byte in part]
            else:
                ids += self.model.encode(part, add_special_tokens=False).ids
        return ids


def _pipeline(model: hf.models.BPE) -> hf.Tokenizer:
    """Return the model behind GPT-2's pre-tokeniser, with nothing added to the text."""
    pipeline = hf.Tokenizer(model)
    pipeline.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pipeline


def _check(
    vocab: Mapping[str, int], tokens: Sequence[str], merges: Sequence[tuple[str, str]]
) -> None:
    """Raise a ValueError if the round trip on any bytes would not be certain."""
    if SEPARATOR not in vocab:
        raise ValueError(f"the vocabulary has no {SEPARATOR}. Add it with an id of its own.")
    if [vocab[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"the ids of the {len(tokens)} tokens are not 0 to {len(tokens) - 1}.")
    missing = sorted(set(_ALPHABET) - vocab.keys())
    if missing:
        raise ValueError(f"the vocabulary lacks {len(missing)} single bytes, as {missing[0]!r}.")
    for token in tokens:
        if token != SEPARATOR and not (token and _BYTE_OF.keys() >= set(token)):
            raise ValueError(f"the token {token!r} is not spelled in GPT-2's byte alphabet.")
    for left, right in merges:
        if not (left in vocab and right in vocab and left + right in vocab):
            raise ValueError(f"the merge {left!r} {right!r} uses a token not in the vocabulary.")
        if SEPARATOR in (left, right, left + right):
            raise ValueError(f"the merge {left!r} {right!r} would write {SEPARATOR} from text.")
