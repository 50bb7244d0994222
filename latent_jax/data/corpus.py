"""A corpus on disk, in a cache that is keyed by content.

A corpus is the folder <cache_dir>/<fingerprint>. It holds a TFDS dataset, which any tool for TFDS
can read, and `corpus.json`. The fingerprint is a hash over keys, texts and the split percentages,
never over paths or times, so the same text is the same corpus on every machine. The fingerprint is
known only when all text has been read. So the corpus is built in a temporary folder beside the
target and renamed at the end. A folder whose name is a fingerprint is therefore always complete,
even after a crash or when several processes build at once. An index from the stamp of the source
(paths, sizes, times) to the fingerprint saves later runs from reading the source.
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
        folder: its folder, which is also a TFDS data_dir with the dataset "corpus".
        fingerprint: SHA-256 over its content, hexadecimal.
        n_documents: stored documents by split. Longer ones than 1 MiB count once per piece.
        n_bytes: raw bytes of text by split.
        parts: the corpora of a mixture, by name; {} for a single corpus.
    """

    folder: Path
    fingerprint: str
    n_documents: dict[str, int]
    n_bytes: dict[str, int]
    parts: Mapping[str, "Corpus"] = dataclasses.field(default_factory=dict)

    def split(self, name: str) -> Sequence[Document]:
        """Return random access to the documents of a split.

        Raises:
            CorpusError: the corpus has no such split.
        """
        if name not in self.n_documents:
            raise CorpusError(
                f"The corpus has no {name!r} split, only {', '.join(self.n_documents)}: "
                "raise data.validation_percent or data.test_percent above 0."
            )
        return SplitRecords(self.folder / TFDS_FOLDER, name, self.n_documents[name])

    def documents(self, split: str, max_bytes: int = 0) -> Iterator[Document]:
        """Yield documents of a split until their raw bytes reach `max_bytes`; 0 = all documents.

        This is for uses of text outside of training, such as training a tokenizer.
        """
        n_bytes = 0
        for document in self.split(split):
            yield document
            n_bytes += len(document.text)
            if 0 < max_bytes <= n_bytes:
                return


def open_one(config: DataConfig) -> Corpus:
    """Return the corpus of one source; build it if the cache does not hold it.

    Several processes may call this at the same time. During a build a terminal shows a progress
    bar.

    Raises:
        CorpusError: the source cannot be found or read or holds no text, a split is empty, or the
            disk is full. No partial corpus is left behind.
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
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise CorpusError(
                f"{cache} is no folder that this user may write to ({error}): set data.cache_dir."
            ) from error
        raise


def load_corpus(folder: Path) -> Corpus:
    """Return the corpus in a folder of the cache.

    Raises:
        CorpusError: the folder is damaged, or of another format version.
    """
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
    """Build in a temporary folder and rename it, unless another process has built it first."""
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
    """Delete the temporary folders of builders on this machine that were killed."""
    for folder in cache.glob(f"{_BUILDING}{socket.gethostname()}-*"):
        with contextlib.suppress(PermissionError):  # the process lives, under another user
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
    # array_record raises a RuntimeError that contains the text of the system's error.
    for number, words in _DISK_FULL.items():
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return words
    return None
