"""A corpus on disk: any source turned into an ArrayRecord dataset with train, validation and test splits.

TFDS writes the files, so that any tool that reads TFDS reads them; Grain reads them back by index.
The split of a document is decided by a hash of its key alone, so it never changes as documents come
and go. Records are stored in the order of a hash (TFDS's shuffle): the first n bytes of a split are
a sample of all of it.

A corpus lives in <cache_dir>/<fingerprint>. The fingerprint is a SHA-256 over keys, texts and the
split percentages, never over paths or times: the same text is the same corpus on every machine. It
is known only once everything has been read, so the corpus is built in a temporary folder beside it
while the hash runs, and renamed at the end: whatever happens on the way, and however many processes
build at once, a folder with a fingerprint for a name is complete. A small index from the stamp of
the source (paths, sizes, times) to the fingerprint spares later runs the reading.
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from tqdm import tqdm

from latent_jax.data.documents import CorpusError, Document, Source, cut
from latent_jax.data.records import SplitRecords
from latent_jax.data.sources import DataConfig, make_source

SPLITS = ("train", "validation", "test")

# Part of every fingerprint: raise it when the files' layout or the rule for splits or cuts changes.
FORMAT_VERSION = 1

# Longer documents are stored in pieces, all in one split, so that no reader ever holds a whole
# library in memory.
MAX_DOCUMENT_BYTES = 1 << 20

# Where TFDS puts version 1.0.0 of a dataset named "corpus": <folder> is a TFDS data_dir.
TFDS_FOLDER = "corpus/1.0.0"

_BUILDING = ".building-"
_DISK_FULL = {
    errno.ENOSPC: "disk is full",
    errno.EDQUOT: "quota is used up",
    errno.EFBIG: "file size limit is reached",
}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus that is complete on disk.

    Attributes:
      folder: Where it lies.
      fingerprint: SHA-256 over its content, hexadecimal.
      n_documents: Stored documents by split; a document longer than MAX_DOCUMENT_BYTES counts once
        for each piece.
      n_bytes: Raw bytes of text by split.
    """

    folder: Path
    fingerprint: str
    n_documents: dict[str, int]
    n_bytes: dict[str, int]

    def split(self, name: str) -> SplitRecords:
        """Returns the documents of a split by index. Raises CorpusError where there is no such split, or no longer."""
        if name not in self.n_documents:
            raise CorpusError(
                f"The corpus has no {name!r} split, only {', '.join(self.n_documents)}: "
                "raise data.validation_percent or data.test_percent above 0."
            )
        return SplitRecords(self.folder / TFDS_FOLDER, name, self.n_documents[name])

    def documents(self, split: str, max_bytes: int = 0) -> Iterator[Document]:
        """Yields the documents of a split as stored, to the one that reaches `max_bytes` raw bytes (0: all of them)."""
        n_bytes = 0
        for document in self.split(split):
            yield document
            n_bytes += len(document.text)
            if 0 < max_bytes <= n_bytes:
                return


def open_corpus(config: DataConfig) -> Corpus:
    """Returns the corpus that the configuration describes, building it where the cache does not hold it.

    Safe to call from many processes at once. While it builds, a terminal shows a progress bar.

    Raises:
      CorpusError: The source cannot be found or read or holds no text, a split is empty, or the
        disk is full. Nothing half-written is left behind.
    """
    cache = Path(config.cache_dir).expanduser()
    source = make_source(config)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        entry = cache / "index" / f"{_stamp_hash(config, source)}.json"
        if entry.exists():
            folder = cache / json.loads(entry.read_text())["folder"]
            if folder.is_dir():
                return load_corpus(folder)
        corpus = _build(source, config, cache)
        entry.parent.mkdir(exist_ok=True)
        _write_atomically(entry, {"folder": corpus.folder.name})
        return corpus
    except (OSError, RuntimeError) as error:  # array_record reports a full disk as a RuntimeError
        reason = _disk_full(error)
        if reason is not None:
            raise CorpusError(
                f"The {reason} while building a corpus in {cache}, and nothing was kept: free some "
                "space, set data.cache_dir "
                "to a larger disk, or read less with data.max_bytes."
            ) from error
        if isinstance(error, PermissionError):
            raise CorpusError(
                f"{cache} may not be written by this user: set data.cache_dir to a folder that may."
            ) from error
        raise


def load_corpus(folder: Path) -> Corpus:
    """Returns the corpus in a folder that `open_corpus` made. Raises CorpusError where it is not one, or damaged."""
    try:
        info = json.loads((folder / "corpus.json").read_text())
        if info["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"format version {info['format_version']}, this program reads {FORMAT_VERSION}"
            )
        return Corpus(folder, info["fingerprint"], info["n_documents"], info["n_bytes"])
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{folder} holds no readable corpus ({error}): delete the folder to have it built "
            "again."
        ) from error


def split_of(key: str, validation_percent: float, test_percent: float) -> str:
    """Returns the split of a document: the first 8 bytes of the SHA-256 of its key, as a percentage of 2**64."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    percent = int.from_bytes(digest[:8], "big") / 2**64 * 100
    if percent < test_percent:
        return "test"
    return "validation" if percent < test_percent + validation_percent else "train"


class _CorpusReader:
    """One pass over a source: yields the documents for training, sets those of the other splits aside, counts, hashes.

    TFDS asks for one split after the other, and a source may take hours to read, hence the files
    for the others.
    """

    def __init__(self, source: Source, config: DataConfig, folder: Path):
        self._source, self._config, self._folder = source, config, folder
        percents = {"validation": config.validation_percent, "test": config.test_percent}
        self.splits = [split for split in SPLITS if percents.get(split, 100) > 0]
        self.n_documents = dict.fromkeys(self.splits, 0)
        self.n_bytes = dict.fromkeys(self.splits, 0)
        self._hash = hashlib.sha256(json.dumps([FORMAT_VERSION, *percents.values()]).encode())

    @property
    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    def train(self) -> Iterator[Document]:
        with contextlib.ExitStack() as stack:
            files = {
                s: stack.enter_context(self._file(s).open("wb"))
                for s in self.splits
                if s != "train"
            }
            progress = stack.enter_context(
                tqdm(
                    desc="building the corpus",
                    total=self._config.max_bytes or None,
                    unit="B",
                    unit_scale=True,
                    disable=None,
                )
            )
            for document in self._source.documents():
                if not document.text:
                    continue
                self._add_to_hash(document)
                progress.update(len(document.text))
                split = split_of(
                    document.key, self._config.validation_percent, self._config.test_percent
                )
                self.n_bytes[split] += len(document.text)
                for piece in _pieces(document):
                    self.n_documents[split] += 1
                    if split == "train":
                        yield piece
                    else:
                        pickle.dump(tuple(piece), files[split], protocol=pickle.HIGHEST_PROTOCOL)
                if 0 < self._config.max_bytes <= sum(self.n_bytes.values()):
                    break
        self._check()

    def set_aside(self, split: str) -> Iterator[Document]:
        with self._file(split).open("rb") as file:
            for _ in range(self.n_documents[split]):
                yield Document(*pickle.load(file))

    def _file(self, split: str) -> Path:
        return self._folder / f"{split}.documents"

    def _add_to_hash(self, document: Document) -> None:
        key = document.key.encode("utf-8", "surrogatepass")
        for part in (key, document.text):
            self._hash.update(struct.pack("<Q", len(part)))
            self._hash.update(part)

    def _check(self) -> None:
        total = sum(self.n_documents.values())
        if not total:
            raise CorpusError(
                f"data.source={self._config.source!r} holds no text: every document is empty, or "
                "there is none."
            )
        for split, count in self.n_documents.items():
            if not count:
                raise CorpusError(
                    f"The {split} split is empty: none of the {total} documents has a key that "
                    "hashes into it. Use more text, "
                    f"or change data.validation_percent={self._config.validation_percent} and "
                    f"data.test_percent={self._config.test_percent} (0 leaves that split out)."
                )


def _pieces(document: Document) -> Iterator[Document]:
    if len(document.text) <= MAX_DOCUMENT_BYTES:
        yield document
    else:
        for number, text in enumerate(cut(document.text, MAX_DOCUMENT_BYTES)):
            yield Document(f"{document.key}#{number}", text)


# Not a dataset for everyone: keep it out of TFDS's registry of names.
with tfds.core.registered.skip_registration():

    class _Builder(tfds.core.GeneratorBasedBuilder):
        """Writes what a _CorpusReader reads."""

        name = "corpus"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = None  # nothing is downloaded: spares TFDS the search for checksums

        def __init__(self, reader: _CorpusReader, data_dir: Path):
            self._reader = reader
            super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

        def _info(self) -> tfds.core.DatasetInfo:
            # Texts are bytes of any encoding, and TFDS's Text stores bytes as they are.
            features = {"key": tfds.features.Text(), "text": tfds.features.Text()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
            # In this order: the pass over the training documents fills the files of the others.
            return {split: self._generate_examples(split) for split in self._reader.splits}

        def _generate_examples(self, split: str) -> Iterator[Any]:
            documents = self._reader.train() if split == "train" else self._reader.set_aside(split)
            for number, document in enumerate(documents):
                # TFDS orders records by a hash of this number; a document's own key need not be
                # unique.
                yield (
                    number,
                    {"key": document.key.encode("utf-8", "surrogatepass"), "text": document.text},
                )


def _build(source: Source, config: DataConfig, cache: Path) -> Corpus:
    """Builds in a temporary folder and renames; a folder that another process finished first wins."""
    _sweep(cache)
    building = Path(
        tempfile.mkdtemp(prefix=f"{_BUILDING}{socket.gethostname()}-{os.getpid()}-", dir=cache)
    )
    try:
        reader = _CorpusReader(source, config, building)
        made = building / "made"
        builder = _Builder(reader, made)
        logging.info("Building a corpus from %s in %s", config.source, cache)
        tfds.disable_progress_bar()  # ours counts bytes
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # TFDS announces downloads that do not take place
            builder.download_and_prepare(
                download_dir=os.fspath(building / "downloads"),
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
        info = {
            "format_version": FORMAT_VERSION,
            "fingerprint": reader.fingerprint,
            "source": config.source,
            "n_documents": reader.n_documents,
            "n_bytes": reader.n_bytes,
        }
        (made / "corpus.json").write_text(json.dumps(info, indent=2))
        folder = cache / reader.fingerprint[:32]
        try:
            made.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        return load_corpus(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Deletes what builders on this machine left behind that were killed."""
    for folder in cache.glob(f"{_BUILDING}{socket.gethostname()}-*"):
        pid = int(folder.name.rsplit("-", 2)[1])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:  # alive, and another user's
            pass


def _stamp_hash(config: DataConfig, source: Source) -> str:
    rule = [FORMAT_VERSION, config.validation_percent, config.test_percent, config.max_bytes]
    return hashlib.sha256(json.dumps([rule, source.stamp()]).encode()).hexdigest()[:32]


def _write_atomically(path: Path, content: Any) -> None:
    temporary = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _disk_full(error: BaseException) -> str | None:
    for number, words in _DISK_FULL.items():
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return words
    return None
