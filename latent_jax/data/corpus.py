"""A corpus on disk, in a cache that is keyed by content.

A corpus lives in <cache_dir>/<fingerprint>: a TFDS dataset (any tool that reads TFDS reads it) and
`corpus.json`. The fingerprint is a hash over keys, texts and the split percentages, never over
paths or times: the same text is the same corpus on every machine. It is known only once everything
has been read, so the corpus is built in a temporary folder beside it and renamed at the end.
Whatever happens on the way, and however many processes build at once, a folder with a fingerprint
for a name is complete. An index from the stamp of the source (paths, sizes, times) to the
fingerprint spares later runs the reading.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from latent_jax.contracts import Document, Source
from latent_jax.data.dataset import FORMAT_VERSION, TFDS_FOLDER, write_dataset
from latent_jax.data.documents import CorpusError
from latent_jax.data.records import SplitRecords
from latent_jax.data.sources import DataConfig, make_source
from latent_jax.paths import is_remote

_BUILDING = ".building-"
_DISK_FULL = {
    errno.ENOSPC: "disk is full",
    errno.EDQUOT: "disk quota is used up",
    errno.EFBIG: "file size limit is reached",
}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus that is complete on disk.

    Attributes:
        folder: Where it lies; also a TFDS data_dir that holds the dataset "corpus".
        fingerprint: SHA-256 over its content, hexadecimal.
        n_documents: Stored documents by split. One that is longer than 1 MiB counts once per piece.
        n_bytes: Raw bytes of text by split.
        parts: The corpora that it is made of, by name; {} where it is none but itself.
    """

    folder: Path
    fingerprint: str
    n_documents: dict[str, int]
    n_bytes: dict[str, int]
    parts: Mapping[str, "Corpus"] = dataclasses.field(default_factory=dict)

    def split(self, name: str) -> Sequence[Document]:
        """Return the documents of a split by index. Raises CorpusError where there is none."""
        if name not in self.n_documents:
            raise CorpusError(
                f"The corpus has no {name!r} split, only {', '.join(self.n_documents)}: "
                "raise data.validation_percent or data.test_percent above 0."
            )
        return SplitRecords(self.folder / TFDS_FOLDER, name, self.n_documents[name])

    def documents(self, split: str, max_bytes: int = 0) -> Iterator[Document]:
        """Yield the documents of a split, up to the one that reaches `max_bytes` raw bytes.

        For what needs text outside training, such as learning a vocabulary. Zero stands for all.
        """
        n_bytes = 0
        for document in self.split(split):
            yield document
            n_bytes += len(document.text)
            if 0 < max_bytes <= n_bytes:
                return


def open_one(config: DataConfig) -> Corpus:
    """Return the corpus of one source, building it where the cache does not hold it.

    Safe to call from many processes at once. While it builds, a terminal shows a progress bar.

    Raises:
        CorpusError: The source cannot be found or read or holds no text, a split is empty, or the
            disk is full. Nothing half-written is left behind.
    """
    if is_remote(config.cache_dir):
        raise CorpusError(
            f"data.cache_dir is {config.cache_dir}, and a corpus lies on a disk: each machine of a "
            "run builds its own copy"
        )
    cache = Path(config.cache_dir).expanduser()
    source = make_source(config)
    try:
        (cache / "index").mkdir(parents=True, exist_ok=True)
        entry = cache / "index" / f"{_stamp_hash(config, source)}.json"
        if entry.exists():
            folder = cache / json.loads(entry.read_text())["folder"]
            if folder.is_dir():
                return load_corpus(folder)
        corpus = _build(source, config, cache)
        _write_atomically(entry, {"folder": corpus.folder.name})
        return corpus
    except (OSError, RuntimeError) as error:
        reason = _disk_full(error)
        if reason is not None:
            raise CorpusError(
                f"The {reason} while a corpus was built in {cache}; nothing half-written is left. "
                "Free some space, set data.cache_dir to a larger disk, or read less with "
                "data.max_bytes."
            ) from error
        if not isinstance(error, RuntimeError) and not (cache / "index").is_dir():
            raise CorpusError(
                f"{cache} is no folder that this user may write to ({error}): set data.cache_dir."
            ) from error
        raise


def load_corpus(folder: Path) -> Corpus:
    """Return the corpus in a folder of the cache. Raises CorpusError where it is damaged."""
    try:
        info = json.loads((folder / "corpus.json").read_text())
        if info["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format is {info['format_version']}, not {FORMAT_VERSION}")
        return Corpus(folder, info["fingerprint"], info["n_documents"], info["n_bytes"])
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"{folder} holds no corpus that can be read ({error}): delete the folder to have it "
            "built again."
        ) from error


def _build(source: Source, config: DataConfig, cache: Path) -> Corpus:
    """Build in a temporary folder and renames; a folder that another process made first stays."""
    _sweep(cache)
    mine = f"{_BUILDING}{socket.gethostname()}-{os.getpid()}-"
    building = Path(tempfile.mkdtemp(prefix=mine, dir=cache))
    logging.info("Building a corpus from %s in %s", config.source, cache)
    try:
        made = building / "corpus"
        info = write_dataset(source, config, made, building)
        (made / "corpus.json").write_text(json.dumps({"source": config.source, **info}, indent=2))
        folder = cache / info["fingerprint"][:32]
        try:
            made.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        return load_corpus(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Delete what builders on this machine left behind when they were killed."""
    for folder in cache.glob(f"{_BUILDING}{socket.gethostname()}-*"):
        with contextlib.suppress(PermissionError):  # alive, and another user's
            try:
                os.kill(int(folder.name.split("-")[-2]), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)


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
    # array_record raises a RuntimeError that quotes the system's words.
    for number, words in _DISK_FULL.items():
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return words
    return None
