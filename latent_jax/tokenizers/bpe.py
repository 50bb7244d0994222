"""Byte-level byte-pair encoding, in GPT-2's form.

Sennrich et al. 2016 (https://arxiv.org/abs/1508.07909) merge the most frequent pair of symbols,
again and again. GPT-2 (Radford et al. 2019, section 2.2) starts from the 256 bytes instead of
characters, so that no symbol is unknown and text is not normalised. It cuts text into words by a
regular expression, and no merge crosses a word. A vocabulary is GPT-2's two files, `vocab.json` and
`merges.txt`, in which each byte is written as one printable character. Hugging Face's tokenizers
library trains and merges.

This file adds two things. Bytes that are not UTF-8, which the library does not accept, become
single-byte ids. And documents are cut into words whose ids are cached, which is several times
faster than the library on whole documents. The ids are the same, because in GPT-2's expression

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

white space stands only at the beginning of a match or fills it, and nothing looks back. So every
place between a visible character and white space ends one match and starts the next.
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

# Only visible characters of ASCII count here, because beyond ASCII the set of white-space
# characters depends on the Unicode version of a library.
_CUT = re.compile(rb"(?<=[!-~])(?=[ \n])")
_CACHED_WORDS = 1 << 18
_CACHED_WORD_BYTES = 48


def byte_alphabet() -> list[str]:
    """Return GPT-2's character for each byte: its Latin-1 one if printable, else U+0100 upwards."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256)]


_ALPHABET = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(_ALPHABET)}


class BPE(TableTokenizer):
    """Byte-level BPE; the separator is the vocabulary's <|endoftext|>.

    Args:
        vocab: token, spelled in GPT-2's alphabet -> id.
        merges: pairs of tokens, in the order in which they are merged.

    Raises:
        ValueError: the two are not a byte-level BPE vocabulary.
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
        # The separator is a plain token of the model, not an added one: the library does not search
        # text for it, and no merge makes it.
        self.model = _pipeline(hf.models.BPE(self._vocab, self._merges))
        self._cache: dict[bytes, list[int]] = {}

    @classmethod
    def train(cls, documents: Iterable[bytes], vocab_size: int) -> Self:
        """Train a BPE of `vocab_size` ids, separator included, on raw documents.

        The same documents give the same ids. Only pairs that occur at least twice are merged. The
        library counts the words of all documents, so its memory grows with the number of different
        words.

        Raises:
            ValueError: `vocab_size` is below 257 (256 bytes and the separator), or the documents
                have too few pairs for it.
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
            ValueError: a file cannot be read, or the two are not a byte-level BPE vocabulary.
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
        """Return the tables that, with the regular expression of words, decide `encode`.

        Returns:
            The id of each byte, int32[256], and the left, right and merged id of every merge in the
            order of merging, int32[n, 3].
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
    """Return the model after GPT-2's pre-tokenizer, which adds no space to the text."""
    pipeline = hf.Tokenizer(model)
    pipeline.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pipeline


def _check(
    vocab: Mapping[str, int], tokens: Sequence[str], merges: Sequence[tuple[str, str]]
) -> None:
    """Raise a ValueError unless every text of any bytes survives the round trip."""
    if SEPARATOR not in vocab:
        raise ValueError(f"the vocabulary has no {SEPARATOR}. Add it with an id of its own.")
    if [vocab[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"the ids of the {len(tokens)} tokens are not 0 to {len(tokens) - 1}.")
    missing = sorted(set(_ALPHABET) - vocab.keys())
    if missing:
        raise ValueError(
            f"the vocabulary lacks {len(missing)} single bytes, such as {missing[0]!r}."
        )
    for token in tokens:
        if token != SEPARATOR and not (token and _BYTE_OF.keys() >= set(token)):
            raise ValueError(f"the token {token!r} is not spelled in GPT-2's byte alphabet.")
    for left, right in merges:
        if not (left in vocab and right in vocab and left + right in vocab):
            raise ValueError(f"the merge {left!r} {right!r} uses a token not in the vocabulary.")
        if SEPARATOR in (left, right, left + right):
            raise ValueError(f"the merge {left!r} {right!r} would write {SEPARATOR} from text.")
