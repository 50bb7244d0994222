"""What every tokenizer is: an exact code between bytes and ids that knows its own identity.

Three promises hold for any bytes at all, valid UTF-8 or not:

    decode(encode(text)) == text
    byte_lengths(encode(text)).sum() == len(text)
    separator_id not in encode(text)

The second one is what bits per byte rests on. Counting bytes from decoded strings or from the
spelling of pieces is the classic way to report numbers that are too good: a leading space counted
twice, or a byte-fallback piece counted as the three bytes of U+FFFD.

A saved tokenizer is a folder: `tokenizer.json` with the kind, the name, the vocabulary's size and
the fingerprint, and beside it the kind's own files. The fingerprint is a hash of those files, so
whatever decides encode and decode is part of it, and a changed or truncated file is noticed before
it is parsed.
"""

import abc
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from latent_jax.contracts import Document, Encoded, FieldSpec
from latent_jax.json_files import is_a, parse
from latent_jax.tokenizers.storage import read_file, write_folder

METADATA_FILE = "tokenizer.json"
_ARGUMENTS_FILE = "arguments.json"

# Part of every fingerprint. Raise it when the same files start to mean other ids.
_FORMAT = b"latent_jax tokenizer 1"


class FingerprintError(ValueError):
    """A tokenizer is not the one that was saved, or not the one that a cache was made with."""


def ended(ids: np.ndarray, byte_lengths: np.ndarray, separator_id: int) -> Encoded:
    """Return ids, int32[n], with a separator after them, which stands for no bytes."""
    return Encoded(
        {"ids": np.append(ids, np.int32(separator_id))},
        {"bytes": np.append(byte_lengths, np.int32(0))},
    )


class Tokenizer(abc.ABC):
    """A lossless code between bytes and ids in [0, vocab_size).

    Attributes:
        amounts: the units that it counts, see `contracts.Code`.
        kinds: every class that states a kind, by it.
        kind: how the saved folder names the class, e.g. "bpe".
        arguments: of a code that its constructor's arguments decide: their names, which are also
            attributes; they are what is saved.
        file_names: the kind's own files in a saved folder.
        name: the literature name, e.g. "BPE[v=4096]".
        vocab_size: number of ids, the separator included: the rows of an embedding table.
        separator_id: the id between documents. Never produced by `encode`; decodes to nothing.
        flops_per_byte: forward FLOPs per raw byte of the language model that drives the code; 0
            where none does.
        lanes: texts that this model reads side by side, on which its numbers depend; 0 where there
            is no model.
        encode_width: texts that `encode_batch` codes side by side; 1 where many gain nothing.
        decode_width: likewise, of `decode_batch`.
    """

    amounts: ClassVar[tuple[str, ...]] = ("bytes",)
    kinds: ClassVar[dict[str, type["Tokenizer"]]] = {}
    kind: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = ()
    file_names: ClassVar[tuple[str, ...]] = ()
    name: str
    vocab_size: int
    separator_id: int
    flops_per_byte: float = 0.0
    lanes: int = 0
    encode_width: int = 1
    decode_width: int = 1

    def __init_subclass__(cls, **words: Any):
        """Make a class that states a kind known to `load`."""
        super().__init_subclass__(**words)
        if cls.__dict__.get("arguments"):
            cls.file_names = (_ARGUMENTS_FILE,)
        kind = cls.__dict__.get("kind")
        if kind is None:
            return
        if cls._files is Tokenizer._files and not cls.arguments:
            raise TypeError(f"the tokenizer {cls.__name__} states neither arguments nor _files")
        known = cls.kinds.setdefault(kind, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two tokenizers have the kind {kind!r}: {known} and {cls}")
        cls.kinds[kind] = cls

    @property
    def fields(self) -> dict[str, FieldSpec]:
        """Return the one field of text."""
        return {"ids": FieldSpec(padding=self.separator_id)}

    def encode_example(self, example: Document) -> Encoded:
        """Return the ids of a document, the separator at their end, and the bytes of each.

        Raises:
            ValueError: byte lengths do not add up to the text's.
        """
        ((ids, byte_lengths),) = self.encode_batch([example.text])
        n_bytes = int(byte_lengths.sum(dtype=np.int64))
        if n_bytes != len(example.text):
            raise ValueError(
                f"Tokenizer {self.name} gives document {example.key!r} of {len(example.text)} "
                f"bytes ids whose byte_lengths add up to {n_bytes}: its byte_lengths are wrong, "
                "and bits per byte would be too."
            )
        return ended(ids, byte_lengths, self.separator_id)

    @abc.abstractmethod
    def encode(self, text: bytes) -> np.ndarray:
        """Return the ids of `text`, int32[n], without a separator."""

    @abc.abstractmethod
    def decode(self, ids: ArrayLike) -> bytes:
        """Return the bytes that `ids`, integers of shape [n], stand for; separators vanish.

        Any ids are allowed, also a part of an encoded text that ends inside a character.

        Raises:
            ValueError: an id is outside the vocabulary.
        """

    @abc.abstractmethod
    def byte_lengths(self, ids: ArrayLike) -> np.ndarray:
        """Return how many bytes each id decodes to, int32 of the shape of `ids`.

        Where a byte takes a part of the bits of several ids, it counts for the id in whose bits its
        information ends.

        Raises:
            ValueError: an id is outside the vocabulary.
        """

    def encode_batch(self, texts: Sequence[bytes]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return ids and byte lengths of each text: what `encode` and `byte_lengths` return.

        Where both come from one pass, or texts are coded side by side, this is the fast way.
        """
        encoded = (self.encode(text) for text in texts)
        return [(ids, self.byte_lengths(ids)) for ids in encoded]

    def decode_batch(self, batch: Sequence[ArrayLike]) -> list[bytes]:
        """Return what `decode` returns for each element."""
        return [self.decode(ids) for ids in batch]

    def _files(self) -> dict[str, bytes]:
        """Return the content of the kind's own files: all that decides encode and decode."""
        stated = {name: getattr(self, name) for name in self.arguments}
        return {_ARGUMENTS_FILE: json.dumps(stated).encode()}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Build the tokenizer from what `_files` returned."""
        return cls(**json.loads(files[_ARGUMENTS_FILE]))

    def fingerprint(self) -> str:
        """Return the SHA-256 hex digest of all that decides encode and decode."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return _hash(self.kind, self._files())

    def _metadata(self) -> dict[str, str | int]:
        return {
            "kind": self.kind,
            "name": self.name,
            "vocab_size": self.vocab_size,
            "fingerprint": self.fingerprint(),
        }

    def save(self, folder: Path) -> None:
        """Write the tokenizer to `folder`, all or nothing; saving it there again changes nothing.

        Raises:
            ValueError: `folder` exists and holds anything else.
        """
        metadata = json.dumps(self._metadata(), indent=2) + "\n"
        write_folder(folder, {METADATA_FILE: metadata.encode(), **self._files()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FingerprintError: the files are not those that were saved.
            ValueError: the folder is incomplete, or holds another kind of tokenizer.
        """
        saved = read_metadata(folder)
        if saved["kind"] != cls.kind:
            raise ValueError(
                f"{folder} holds a tokenizer of kind {saved['kind']!r}, not {cls.kind!r}. "
                "latent_jax.tokenizers.load reads any kind."
            )
        files = {name: read_file(folder, name) for name in cls.file_names}
        found = _hash(cls.kind, files)
        if found != saved["fingerprint"]:
            raise FingerprintError(
                f"the tokenizer in {folder} is not the one that was saved: its {METADATA_FILE} "
                f"states the fingerprint {saved['fingerprint']}, the files give {found}. A file "
                "was changed or cut short: restore the folder from where it was copied, or train "
                "and save the tokenizer again, together with all that was encoded by it."
            )
        try:
            tokenizer = cls._from_files(files)
        except Exception as error:  # files of others, of which the fingerprint fits
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise ValueError(
                f"the files in {folder} are those that their fingerprint states, and no tokenizer "
                f"of kind {cls.kind!r} can be made of them ({said}): save it again."
            ) from error
        if tokenizer._metadata() != saved:
            raise ValueError(
                f"{Path(folder) / METADATA_FILE} describes {saved}, but the files beside it are "
                f"{tokenizer._metadata()}. Restore {METADATA_FILE}, or save the tokenizer again."
            )
        return tokenizer

    def __reduce__(self):
        """Pickle the saved form: native objects need not be picklable, and caches stay behind."""
        return type(self)._from_files, (self._files(),)

    def __repr__(self) -> str:
        """Return the name and the head of the fingerprint, which tells two of one name apart."""
        return f"{self.name} ({self.fingerprint()[:12]})"

    def _checked(self, ids: ArrayLike) -> np.ndarray:
        """Return `ids` as an integer array, or raises if one is outside the vocabulary."""
        ids = np.asarray(ids)
        if ids.size == 0:
            return ids.astype(np.int32)
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{self.name}: ids must be integers, not {ids.dtype}.")
        # NumPy would read a negative id from the end of a table without a word.
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise ValueError(
                f"{self.name}: the id {wrong} is outside the vocabulary, [0, {self.vocab_size}). "
                "Use the tokenizer that the ids were made with."
            )
        return ids


class TableTokenizer(Tokenizer):
    """A tokenizer in which every id stands for fixed bytes, whatever its neighbours are.

    Subclasses set `pieces`: for each id its bytes, b"" for the separator.
    """

    pieces: tuple[bytes, ...]

    def decode(self, ids: ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        return b"".join(map(self.pieces.__getitem__, self._checked(ids).tolist()))

    def byte_lengths(self, ids: ArrayLike) -> np.ndarray:
        """See `Tokenizer.byte_lengths`."""
        return self._lengths[self._checked(ids)]

    @functools.cached_property
    def _lengths(self) -> np.ndarray:
        return np.array([len(piece) for piece in self.pieces], np.int32)


def load(folder: Path) -> Tokenizer:
    """Return the tokenizer that `Tokenizer.save` wrote to `folder`, of any kind that is imported.

    Raises:
        FingerprintError: the files are not those that were saved.
        ValueError: the folder is missing, incomplete, or of a kind that is not known here.
    """
    kind = read_metadata(folder)["kind"]
    if kind not in Tokenizer.kinds:
        raise ValueError(
            f"{folder} holds a tokenizer of the unknown kind {kind!r}; known are "
            f"{', '.join(Tokenizer.kinds)}. It was saved by another version, or the file that "
            "defines it is not in latent_jax/methods."
        )
    return Tokenizer.kinds[kind].load(folder)


def read_metadata(folder: Path) -> dict[str, str | int]:
    """Return what the saved folder says about its tokenizer.

    Raises:
        ValueError: the description is missing, truncated or incomplete.
    """
    text = read_file(folder, METADATA_FILE)
    types = {"kind": str, "name": str, "vocab_size": int, "fingerprint": str}
    try:
        metadata = parse(text, METADATA_FILE)
        missing = sorted(k for k, kind in types.items() if not is_a(metadata.get(k), kind))
    except ValueError:
        missing = ["a whole JSON object"]
    if missing:
        raise ValueError(
            f"{Path(folder) / METADATA_FILE} is damaged or not ours: it lacks "
            f"{', '.join(missing)}. Restore it, or train and save the tokenizer again."
        )
    return metadata


def _hash(kind: str, files: Mapping[str, bytes]) -> str:
    """Hash the kind and its files; every part is preceded by its length."""
    digest = hashlib.sha256()
    parts = [_FORMAT, kind.encode()]
    for name in sorted(files):
        parts += [name.encode(), files[name]]
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
