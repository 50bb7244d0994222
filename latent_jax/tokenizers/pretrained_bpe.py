"""The byte-level BPE of published language models: SmolLM2's and Qwen2's.

It is GPT-2's (see `bpe`), with another rule that cuts text into words, and with *marks*: ids of the
vocabulary that stand for no text, such as <|endoftext|> and those of a chat. Here they are never
read from text: "<|im_end|>" in a document is ten characters. The separator is the mark of the end
of a text.

A published vocabulary may lack single bytes. SmolLM2's has none for 21 of them: control characters
such as 0x04, the first bytes of rare planes of Unicode, and bytes that UTF-8 never has. The library
drops such bytes from a text without a word. Here an escape stands for each: a mark that text and
chats never use, and then the id of the byte that the missing one is paired with. It decodes to the
missing byte. So every text comes back, and the ids of text without such bytes are the published
ones.

One thing differs from the published files: Qwen2's brings text into Unicode's form NFC first, which
is not lossless and is left out. Text in this form, which most text is, gets the same ids.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import tokenizers as hf
from numpy.typing import ArrayLike

from latent_jax.json_files import Kind, check, parse
from latent_jax.tokenizers.base import Tokenizer
from latent_jax.tokenizers.bpe import byte_alphabet
from latent_jax.tokenizers.utf8 import BROKEN, stretches

FILE = "vocabulary.json"
SEPARATOR = "<|endoftext|>"
CHAT_BEGIN, CHAT_END = "<|im_start|>", "<|im_end|>"
"""Marks around each message of a chat, in the form ChatML."""

_ALPHABET = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(_ALPHABET)}
_CACHED_WORDS = 1 << 18
_CACHED_WORD_BYTES = 48

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's regular expression of words, from its tokenizer.json."""


def _smollm() -> hf.pre_tokenizers.PreTokenizer:
    """Return the rule of SmolLM2: every digit by itself, then GPT-2's words."""
    return hf.pre_tokenizers.Sequence(
        [
            hf.pre_tokenizers.Digits(individual_digits=True),
            hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _qwen2() -> hf.pre_tokenizers.PreTokenizer:
    return hf.pre_tokenizers.Sequence(
        [
            hf.pre_tokenizers.Split(hf.Regex(QWEN2), "isolated", invert=False),
            hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


@dataclasses.dataclass(frozen=True)
class Rule:
    """How text is cut into words.

    Attributes:
        make: function that returns the library's rule.
        cut: a place in bytes where a word always ends, so that what stands before it can be encoded
            by itself. Only visible characters of ASCII count, as in `bpe`. Qwen2's words may have
            line ends behind punctuation, never a space.
    """

    make: Callable[[], hf.pre_tokenizers.PreTokenizer]
    cut: re.Pattern[bytes]


RULES = {
    "smollm": Rule(_smollm, re.compile(rb"(?<=[!-~])(?=[ \n])")),
    "qwen2": Rule(_qwen2, re.compile(rb"(?<=[!-~])(?= )")),
}
"""llama.cpp's name of a rule ("tokenizer.ggml.pre") -> rule."""


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """All that decides a published tokenizer.

    Attributes:
        rule: a key of `RULES`.
        tokens: of each id, spelled in GPT-2's alphabet; "" for an id without a token.
        marks: ids that stand for no text; they include the ids without a token.
        merges: pairs of tokens, in the order in which they are merged.
        separator_id: the mark between documents.
        chat_template: of the file, for `chat`; "" = the model has no chat.
    """

    rule: str
    tokens: tuple[str, ...]
    marks: frozenset[int]
    merges: tuple[tuple[str, str], ...]
    separator_id: int
    chat_template: str = ""


class PretrainedBPE(Tokenizer):
    """A published byte-level BPE; see the top of this file.

    Args:
        vocabulary: checked here.

    Raises:
        ValueError: the vocabulary is not that of a byte-level BPE, or text would not come back.
    """

    kind = "pretrained_bpe"
    file_names = (FILE,)

    def __init__(self, vocabulary: Vocabulary):
        """Build the tables and the merging model."""
        _check(vocabulary)
        self.vocabulary = vocabulary
        tokens, marks = vocabulary.tokens, vocabulary.marks
        self.vocab_size, self.separator_id = len(tokens), vocabulary.separator_id
        self.name = f"BPE[v={self.vocab_size}]"
        self.mark_ids = {tokens[i]: i for i in sorted(marks) if tokens[i]}
        """Spelling of each mark -> its id."""
        ids = {token: i for i, token in enumerate(tokens) if i not in marks}
        self._id_of_byte = [[ids[c]] if c in ids else [] for c in _ALPHABET]
        self._escape_id, self._escaped = self._escapes()
        spelled = _missing_characters([b for b in range(256) if not self._id_of_byte[b]])
        self._spelled = re.compile(f"([\udc80-\udcff{spelled}]+)") if spelled else BROKEN
        for byte, id_ in self._escaped.items():
            self._id_of_byte[byte] = [self._escape_id, id_]
        self._missing_byte = {id_: byte for byte, id_ in self._escaped.items()}
        self._pieces = [
            b"" if i in marks else bytes(map(_BYTE_OF.__getitem__, token))
            for i, token in enumerate(tokens)
        ]
        self._lengths = np.array([len(piece) for piece in self._pieces], np.int32)
        self._model = hf.Tokenizer(hf.models.BPE(ids, list(vocabulary.merges)))
        self._model.pre_tokenizer = RULES[vocabulary.rule].make()
        self._cut = RULES[vocabulary.rule].cut
        self._cache: dict[bytes, list[int]] = {}

    def _escapes(self) -> tuple[int, dict[int, int]]:
        """Return the mark of an escape, -1 for none, and missing byte -> the id behind the mark."""
        missing = [byte for byte in range(256) if not self._id_of_byte[byte]]
        if not missing:
            return -1, {}
        kept = {self.separator_id, *map(self.mark_ids.get, (CHAT_BEGIN, CHAT_END))}
        spare = [i for i in self.mark_ids.values() if i not in kept]
        if not spare:
            raise ValueError(
                f"the vocabulary lacks {len(missing)} single bytes, such as 0x{missing[0]:02x}, "
                "and has no mark to spare that could stand for them"
            )
        there = [ids[0] for ids in self._id_of_byte if ids]
        return max(spare), dict(zip(missing, there, strict=False))

    def encode(self, text: bytes) -> np.ndarray:
        """See `Tokenizer.encode`."""
        ids: list[int] = []
        cache = self._cache
        for word in self._cut.split(text):
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
        for part in stretches(word, self._spelled):
            if isinstance(part, bytes):
                ids += [id_ for byte in part for id_ in self._id_of_byte[byte]]
            else:
                ids += self._model.encode(part, add_special_tokens=False).ids
        return ids

    def decode(self, ids: ArrayLike) -> bytes:
        """See `Tokenizer.decode`; marks decode to b""."""
        ids = self._checked(ids)
        pieces = [self._pieces[i] for i in ids.tolist()]
        for at in np.flatnonzero(ids[:-1] == self._escape_id) + 1:
            byte = self._missing_byte.get(int(ids[at]))
            if byte is not None:
                pieces[at] = bytes([byte])
        return b"".join(pieces)

    def byte_lengths(self, ids: ArrayLike) -> np.ndarray:
        """See `Tokenizer.byte_lengths`. The byte of an escape counts for its second id."""
        return self._lengths[self._checked(ids)]

    def _files(self) -> dict[str, bytes]:
        words = dataclasses.asdict(self.vocabulary)
        words["marks"] = sorted(self.vocabulary.marks)
        words["merges"] = [" ".join(pair) for pair in self.vocabulary.merges]
        return {FILE: json.dumps(words).encode()}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        words = parse(files[FILE], FILE, _SAVED)
        tokens = check(words["tokens"], f"tokens in {FILE}", Kind(list, items=str))
        marks = check(words["marks"], f"marks in {FILE}", Kind(list, items=int))
        return cls(
            Vocabulary(
                words["rule"],
                tuple(tokens),
                frozenset(marks),
                pairs(words["merges"]),
                words["separator_id"],
                words["chat_template"],
            )
        )


_SAVED = Kind(
    keys={"rule": str, "tokens": list, "marks": list, "merges": list}
    | {"separator_id": int, "chat_template": str}
)


def pairs(merges: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Return merges as pairs; files write "a b" or ["a", "b"].

    Raises:
        ValueError: one is neither.
    """
    split = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
    for pair in split:
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ValueError(f"the merge {str(pair)[:80]} is not a pair of tokens")
    return tuple(split)


def _check(vocabulary: Vocabulary) -> None:
    """Raise ValueError where a vocabulary is not that of a byte-level BPE."""
    tokens, marks, separator_id = vocabulary.tokens, vocabulary.marks, vocabulary.separator_id
    if vocabulary.rule not in RULES:
        raise ValueError(
            f"words are cut by the rule {vocabulary.rule!r}; {', '.join(RULES)} are known"
        )
    if separator_id not in marks or not 0 <= separator_id < len(tokens):
        raise ValueError(f"the id {separator_id} that ends a text is no mark of the vocabulary")
    ids: dict[str, int] = {}
    for i, token in enumerate(tokens):
        if token and token in ids:
            raise ValueError(f"the ids {ids[token]} and {i} have one token, {token!r}")
        ids[token] = i
        if i not in marks and not (token and _BYTE_OF.keys() >= set(token)):
            raise ValueError(f"the token {token!r} of id {i} is not spelled in GPT-2's alphabet")
    ids.pop("", None)
    for left, right in vocabulary.merges:
        merged = [ids.get(part, -1) for part in (left, right, left + right)]
        if -1 in merged or marks & set(merged):
            raise ValueError(f"the merge {left!r} {right!r} uses what is no token of text")


def _missing_characters(missing: Sequence[int]) -> str:
    """Return a class of a regular expression of the characters that missing bytes are part of.

    Raises:
        ValueError: a byte inside of characters lacks; then hardly a text could be read.
    """
    ranges = []
    for byte in missing:
        if 0x80 <= byte < 0xC0:
            raise ValueError(f"the vocabulary lacks the byte 0x{byte:02x}, which text consists of")
        # The first byte of characters of 1 to 4 bytes: its own bits, and how many follow. The least
        # character of each length is one that fewer bytes cannot write.
        for first, end, n_more, least in (
            (0x00, 0x80, 0, 0),
            (0xC0, 0xE0, 6, 0x80),
            (0xE0, 0xF0, 12, 0x800),
            (0xF0, 0xF5, 18, 0x10000),
        ):
            if first <= byte < end:
                low = (byte - first) << n_more
                high = min(low + (1 << n_more) - 1, 0x10FFFF)
                if high >= least:
                    ranges.append((max(low, least), high))
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
