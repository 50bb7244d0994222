"""The base class of all tokenizers: a lossless code between bytes and ids, with a fingerprint.

Every tokenizer guarantees three things for any bytes, valid UTF-8 or not:

    decode(encode(text)) == text
    byte_lengths(encode(text)).sum() == len(text)
    separator_id not in encode(text)

Bits per byte rests on the second one. A common mistake is to count bytes in decoded strings or in
the spelling of pieces. A leading space is then counted twice, or a byte-fallback piece counts as
the three bytes of U+FFFD, and the reported numbers are too good.

A saved tokenizer is a folder. It holds `tokenizer.json` (kind, name, vocabulary size, fingerprint)
and the files of its kind. The fingerprint is a hash of those files, and they hold all that decides
encode and decode. So a changed or truncated file is detected before it is parsed.
"""

import abc
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from latent_jax.contracts import Document, Encoded, FieldSpec
from latent_jax.tokenizers.promises import check_encoded
from latent_jax.tokenizers.saved_form import METADATA_FILE, hash_files, read_metadata
from latent_jax.tokenizers.storage import read_file, write_folder

_ARGUMENTS_FILE = "arguments.json"


class FingerprintError(ValueError):
    """A tokenizer is not the one that was saved, or not the one that a cache was made with."""


def ended(ids: np.ndarray, byte_lengths: np.ndarray, separator_id: int) -> Encoded:
    """Return n + 1 positions: ids, int32[n], and a separator, which stands for 0 bytes.

    Args:
        ids: int32[n].
        byte_lengths: int32[n], raw bytes of each id.
        separator_id: the id that is appended.
    """
    return Encoded(
        {"ids": np.append(ids, np.int32(separator_id))},
        {"bytes": np.append(byte_lengths, np.int32(0))},
    )


class Tokenizer(abc.ABC):
    """A lossless code between bytes and ids in [0, vocab_size).

    Attributes:
        amounts: the units that it counts, see `contracts.Code`.
        kinds: kind -> class, for every class that has a kind.
        kind: the name of the class in a saved folder, e.g. "bpe".
        arguments: names of the constructor's arguments, if they alone decide the code. Each must
            also be an attribute; their values are saved.
        file_names: the kind's own files in a saved folder.
        name: the literature name, e.g. "BPE[v=4096]".
        vocab_size: number of ids, the separator included: the rows of an embedding table.
        separator_id: the id between documents. `encode` never produces it; it decodes to b"".
        flops_per_byte: forward FLOPs per raw byte of the language model that drives the code; 0
            without such a model.
        lanes: number of texts that this model reads side by side; its probabilities depend on it.
            0 without such a model.
        is_lossless: whether every text comes back from its ids.
        encode_width: number of texts that `encode_batch` codes side by side; 1 where a batch is no
            faster than single texts.
        decode_width: the same for `decode_batch`.
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
    is_lossless: bool = True
    encode_width: int = 1
    decode_width: int = 1

    def __init_subclass__(cls, **words: Any):
        """Register a class that has a kind, so that `load` finds it.

        Raises:
            TypeError: the class has neither `arguments` nor `_files`, or its kind is taken.
        """
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

    model_digest: str = ""
    """SHA-256 of the file of the integer byte model that drives it; "" where there is none."""

    @property
    def fields(self) -> dict[str, FieldSpec]:
        """The field specs of text: "ids", padded with the separator."""
        return {"ids": FieldSpec(padding=self.separator_id)}

    def encode_example(self, example: Document) -> Encoded:
        """Return the ids of a document and a final separator, with the raw bytes of each id.

        Raises:
            ValueError: see `promises.check_encoded`.
        """
        ((ids, byte_lengths),) = self.encode_batch([example.text])
        check_encoded(self, example.text, ids, byte_lengths, f"document {example.key!r}")
        return ended(ids, byte_lengths, self.separator_id)

    @abc.abstractmethod
    def encode(self, text: bytes) -> np.ndarray:
        """Return the ids of `text`, int32[n], without a separator."""

    @abc.abstractmethod
    def decode(self, ids: ArrayLike) -> bytes:
        """Return the bytes that `ids`, integers of shape [n], stand for; separators decode to b"".

        All ids of the vocabulary are allowed, also a prefix that ends inside a character.

        Raises:
            ValueError: an id is outside the vocabulary.
        """

    @abc.abstractmethod
    def byte_lengths(self, ids: ArrayLike) -> np.ndarray:
        """Return how many bytes each id decodes to, int32 of the shape of `ids`.

        A code of bits may spread the information of one byte over several ids. Such a byte counts
        for the last of these ids.

        Raises:
            ValueError: an id is outside the vocabulary.
        """

    def encode_batch(self, texts: Sequence[bytes]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return for each text what `encode` and `byte_lengths` return.

        This is faster than separate calls where one pass gives both, or where texts are coded side
        by side.
        """
        encoded = (self.encode(text) for text in texts)
        return [(ids, self.byte_lengths(ids)) for ids in encoded]

    def decode_batch(self, batch: Sequence[ArrayLike], max_bytes: int | None = None) -> list[bytes]:
        """Return what `decode` returns for each element.

        Args:
            batch: ids of each text.
            max_bytes: that a text can have. Ids from a stranger may stand for more than fits into
                memory; then no more than a few times as many are made.

        Raises:
            ValueError: an id is outside the vocabulary, or a text is longer.
        """
        return [self._short(self.decode(ids), max_bytes) for ids in batch]

    def _short(self, text: bytes, max_bytes: int | None) -> bytes:
        """Return a text; raise a ValueError if it is longer."""
        if max_bytes is not None and len(text) > max_bytes:
            raise ValueError(f"{self.name}: ids stand for a text of more than {max_bytes} bytes")
        return text

    def _files(self) -> dict[str, bytes]:
        """Return name -> content of the kind's files, which hold all that decides the code."""
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
        return hash_files(self.kind, self._files())

    def _metadata(self) -> dict[str, str | int]:
        return {
            "kind": self.kind,
            "name": self.name,
            "vocab_size": self.vocab_size,
            "fingerprint": self.fingerprint(),
        }

    def save(self, folder: Path) -> None:
        """Write the tokenizer to `folder` atomically; saving it there again changes nothing.

        Raises:
            ValueError: `folder` exists and holds anything else.
        """
        metadata = json.dumps(self._metadata(), indent=2) + "\n"
        write_folder(folder, {METADATA_FILE: metadata.encode(), **self._files()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FingerprintError: the files differ from those that were saved.
            ValueError: the folder is incomplete, or holds another kind of tokenizer.
        """
        saved = read_metadata(folder)
        if saved["kind"] != cls.kind:
            raise ValueError(
                f"{folder} holds a tokenizer of kind {saved['kind']!r}, not {cls.kind!r}. "
                "latent_jax.tokenizers.load reads any kind."
            )
        files = {name: read_file(folder, name) for name in cls.file_names}
        found = hash_files(cls.kind, files)
        if found != saved["fingerprint"]:
            raise FingerprintError(
                f"the tokenizer in {folder} is not the one that was saved: its {METADATA_FILE} "
                f"states the fingerprint {saved['fingerprint']}, the files give {found}. A file "
                "was changed or truncated: restore the folder from where it was copied, or train "
                "and save the tokenizer again, and encode again all that it had encoded."
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
        """Pickle the saved form, without caches: native objects may not be picklable."""
        return type(self)._from_files, (self._files(),)

    def __repr__(self) -> str:
        """Return the name and 12 digits of the fingerprint, which differs for codes of one name."""
        return f"{self.name} ({self.fingerprint()[:12]})"

    def _checked(self, ids: ArrayLike) -> np.ndarray:
        """Return `ids` as an integer array.

        Raises:
            ValueError: an id is not an integer, or outside the vocabulary.
        """
        ids = np.asarray(ids)
        if ids.size == 0:
            return ids.astype(np.int32)
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{self.name}: ids must be integers, not {ids.dtype}.")
        # NumPy would index a table from its end with a negative id, and raise no error.
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise ValueError(
                f"{self.name}: the id {wrong} is outside the vocabulary, [0, {self.vocab_size}). "
                "Use the tokenizer that the ids were made with."
            )
        return ids


class TableTokenizer(Tokenizer):
    """A tokenizer in which every id stands for the same bytes in every context.

    Subclasses set `pieces`: the bytes of each id, b"" for the separator.
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
    """Return the tokenizer that `Tokenizer.save` wrote to `folder`, of any imported kind.

    Raises:
        FingerprintError: the files differ from those that were saved.
        ValueError: the folder is missing or incomplete, or no imported class has its kind.
    """
    kind = read_metadata(folder)["kind"]
    if kind not in Tokenizer.kinds:
        raise ValueError(
            f"{folder} holds a tokenizer of the unknown kind {kind!r}; known are "
            f"{', '.join(Tokenizer.kinds)}. It was saved by another version, or the file that "
            "defines it is not in latent_jax/methods."
        )
    return Tokenizer.kinds[kind].load(folder)
