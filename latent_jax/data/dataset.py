"""Any source written as a TFDS ArrayRecord dataset with train, validation and test splits.

Which split a document is in is decided in `splits`. Records are stored in the order of a hash
(TFDS's shuffle), so the first n bytes of a split are a sample of the split. The source is read once
for all splits.
"""

import contextlib
import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from latent_jax.bars import Bar
from latent_jax.contracts import Document, Source
from latent_jax.data.documents import CorpusError, cut
from latent_jax.data.sources import DataConfig
from latent_jax.data.splits import with_splits

SPLITS = ("train", "validation", "test")

# Part of every fingerprint: raise it when the files' layout or the rule for splits or cuts changes.
FORMAT_VERSION = 1

# Longer documents are stored in pieces, all in one split, which bounds the memory of readers.
MAX_DOCUMENT_BYTES = 1 << 20

# The folder in a data_dir where TFDS puts version 1.0.0 of a dataset named "corpus".
TFDS_FOLDER = "corpus/1.0.0"


def write_dataset(
    source: Source, held_out: Source | None, config: DataConfig, data_dir: Path, scratch: Path
) -> Any:
    """Write the dataset to `data_dir`/TFDS_FOLDER, with temporary files in the folder `scratch`.

    Args:
        source: the text.
        held_out: the whole validation split; None = the hash of a key decides.
        config: says how much is read and which shares are held out.
        data_dir: folder of the dataset.
        scratch: folder of temporary files.

    Returns:
        JSON data: "format_version", "fingerprint" (SHA-256 over keys, texts and split percentages,
        hexadecimal), and by split "n_documents" as stored and "n_bytes" of raw text.

    Raises:
        CorpusError: the source cannot be read or holds no text, a split is empty, or a document is
            both held out and trained on.
        OSError: the files cannot be written.
        RuntimeError: array_record cannot write its files.
    """
    reader = _Reader(source, held_out, config, scratch)
    builder = _Builder(reader, data_dir)
    tfds.disable_progress_bar()  # the progress bar of _Reader counts bytes
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints that it downloads; it does not
        builder.download_and_prepare(
            download_dir=os.fspath(scratch / "downloads"),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    return {
        "format_version": FORMAT_VERSION,
        "fingerprint": reader.fingerprint,
        "n_documents": reader.n_documents,
        "n_bytes": reader.n_bytes,
    }


def features() -> tfds.features.FeaturesDict:
    """Return what a record holds: texts are bytes of any encoding, which TFDS's Text keeps."""
    return tfds.features.FeaturesDict({"key": tfds.features.Text(), "text": tfds.features.Text()})


def files_of(folder: Path, split: str) -> list[Path]:
    """Return the files of a split in the order of its records.

    Raises:
        CorpusError: there are none.
    """
    paths = sorted(folder.glob(f"corpus-{split}.array_record-*-of-*"))
    if not paths:
        raise CorpusError(
            f"The corpus in {folder} is damaged (it has no file of its split {split!r}): delete "
            "the folder to have it built again."
        )
    return paths


class _Reader:
    """One pass over a source: it yields training documents, and writes the others to files.

    TFDS asks for one split after the other, and a source may take hours to read, so it is read only
    once. All documents enter the fingerprint.
    """

    def __init__(self, source: Source, held_out: Source | None, config: DataConfig, scratch: Path):
        self._source, self._held_out = source, held_out
        self._config, self._scratch = config, scratch
        percents = {"validation": config.validation_percent, "test": config.test_percent}
        if held_out is not None:
            percents = {"validation": 100, "test": 0}
        self.splits = [split for split in SPLITS if percents.get(split, 100) > 0]
        self.n_documents = dict.fromkeys(self.splits, 0)
        self.n_bytes = dict.fromkeys(self.splits, 0)
        rule = [FORMAT_VERSION, float(config.validation_percent), float(config.test_percent)]
        if held_out is not None:
            rule = [FORMAT_VERSION, "held_out"]
        self._hash = hashlib.sha256(json.dumps(rule).encode())

    @property
    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    def train(self) -> Iterator[Document]:
        config = self._config
        with contextlib.ExitStack() as stack:
            aside = {
                split: stack.enter_context(self._file(split).open("wb"))
                for split in self.splits
                if split != "train"
            }
            progress = stack.enter_context(
                Bar("building the corpus", config.max_bytes or None, "B", stays=True)
            )
            n_bytes = 0  # of those that `max_bytes` limits
            for document, split in with_splits(self._source, self._held_out, config):
                self._add_to_hash(document)
                if self._held_out is not None:
                    self._hash.update(split.encode())
                progress.update(len(document.text))
                self.n_bytes[split] += len(document.text)
                for piece in _pieces(document):
                    self.n_documents[split] += 1
                    if split == "train":
                        yield piece
                    else:
                        key = piece.key.encode("utf-8", "surrogatepass")
                        for part in (key, piece.text):
                            aside[split].write(struct.pack("<Q", len(part)) + part)
                if self._held_out is None or split == "train":
                    n_bytes += len(document.text)
                if 0 < config.max_bytes <= n_bytes:
                    break
        self._check()

    def set_aside(self, split: str) -> Iterator[Document]:
        with self._file(split).open("rb") as file:
            for _ in range(self.n_documents[split]):
                key, text = (file.read(*struct.unpack("<Q", file.read(8))) for _ in range(2))
                yield Document(key.decode("utf-8", "surrogatepass"), text)

    def _file(self, split: str) -> Path:
        return self._scratch / f"{split}.documents"

    def _add_to_hash(self, document: Document) -> None:
        key = document.key.encode("utf-8", "surrogatepass")
        for part in (key, document.text):
            self._hash.update(struct.pack("<Q", len(part)))
            self._hash.update(part)

    def _check(self) -> None:
        total = sum(self.n_documents.values())
        if not total:
            raise CorpusError(
                f"data.source={self._config.source!r} holds no text: there is no document, or all "
                "are empty. Point it at some text."
            )
        for split, count in self.n_documents.items():
            if not count and self._held_out is not None:
                where = "data.held_out" if split == "validation" else "the text to train on"
                raise CorpusError(
                    f"The {split} split is empty: {where} has no document that is not empty."
                )
            if not count:
                raise CorpusError(
                    f"The {split} split is empty: none of the {total} documents has a key that "
                    "hashes into it. Use more text, or change data.validation_percent="
                    f"{self._config.validation_percent} and data.test_percent="
                    f"{self._config.test_percent} (0 leaves that split out)."
                )


def _pieces(document: Document) -> Iterator[Document]:
    if len(document.text) <= MAX_DOCUMENT_BYTES:
        yield document
    else:
        for number, text in enumerate(cut(document.text, MAX_DOCUMENT_BYTES)):
            yield Document(f"{document.key}#{number}", text)


# Other code must not find this dataset by its name: keep it out of TFDS's registry.
with tfds.core.registered.skip_registration():

    class _Builder(tfds.core.GeneratorBasedBuilder):
        """A TFDS builder that writes the documents of a `_Reader`."""

        name = "corpus"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = None  # nothing is downloaded, so TFDS need not search for checksums

        def __init__(self, reader: _Reader, data_dir: Path):
            self._reader = reader
            super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(builder=self, features=features())

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
            # "train" comes first, because its pass writes the documents of the other splits.
            return {split: self._generate_examples(split) for split in self._reader.splits}

        def _generate_examples(self, split: str) -> Iterator[Any]:
            reader = self._reader
            documents = reader.train() if split == "train" else reader.set_aside(split)
            for number, (key, text) in enumerate(documents):
                # TFDS stores records in the order of a hash of this number. It needs a unique key,
                # and a document's own key may not be unique.
                yield number, {"key": key.encode("utf-8", "surrogatepass"), "text": text}
