"""A corpus on disk, in a cache that is keyed by content.

A corpus is the folder <cache_dir>/<fingerprint>. It holds a TFDS dataset, which any tool for TFDS
can read, and `corpus.json`. The fingerprint is a hash over keys, texts and the split percentages,
never over paths or times, so the same text is the same corpus on every machine. The fingerprint is
known only when all text has been read. So the corpus is built in a temporary folder beside the
target and renamed at the end. A folder whose name is a fingerprint is therefore always complete,
even after a crash or when several processes build at once. An index from the stamp of the source
(paths, sizes, times) to the fingerprint saves later runs from reading the source.
"""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from latent_jax.contracts import Document, Source
from latent_jax.data.dataset import FORMAT_VERSION, SPLITS, TFDS_FOLDER, files_of, write_dataset
from latent_jax.data.documents import CorpusError
from latent_jax.data.record_files import check_files, describe_files
from latent_jax.data.records import DELETE, SplitRecords
from latent_jax.data.sources import DataConfig, make_held_out, make_source
from latent_jax.json_files import Kind, check, read_sealed, write_sealed
from latent_jax.paths import is_remote
from latent_jax.processes import host, why_gone
from latent_jax.system_errors import AwayError, away, is_away

logger = logging.getLogger(__name__)

_BUILDING = ".building-"
_INFO = Kind(
    keys={"format_version": int, "fingerprint": str, "n_documents": dict, "n_bytes": dict},
    maybe={"files": dict},
)
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
    cache = _expanded(config.cache_dir)
    source, held_out = make_source(config), make_held_out(config)
    try:
        _make(cache)
        entry = cache / "index" / f"{_stamp_hash(config, source, held_out)}.json"
        folder = _indexed(entry, cache)
        if folder is not None:
            return load_corpus(folder)
        corpus = _build(source, held_out, config, cache)
        write_sealed(entry, {"folder": corpus.folder.name, "stamp": entry.stem})
        return corpus
    except (OSError, RuntimeError) as error:
        reason = _disk_full(error)
        if reason is not None:
            raise CorpusError(
                f"The {reason} while a corpus was built in {cache}; nothing half-written is left. "
                "Free some space, set data.cache_dir to a larger disk, or read less with "
                "data.max_bytes."
            ) from error
        if isinstance(error, AwayError):
            raise
        if str(getattr(error, "filename", "")).startswith(str(cache)):
            raise _unwritable(cache, error) from error
        raise


def _expanded(cache_dir: str) -> Path:
    try:
        return Path(cache_dir).expanduser()
    except RuntimeError as error:  # a home that is not known
        raise _unwritable(Path(cache_dir), error) from error


def _make(cache: Path) -> None:
    try:
        (cache / "index").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(cache, error) from error


def _unwritable(cache: Path, error: Exception) -> CorpusError:
    return CorpusError(
        f"{cache} is no folder that this user may write to ({error}): set data.cache_dir."
    )


def own_cache(cache_dir: str) -> str:
    """Return a cache of corpora that this user may be led to by a configuration of others.

    A configuration that is read from a run folder says where its corpus was kept. That is believed
    where this user has such a cache there; else nothing is written but to the user's own.
    """
    usual = DataConfig.cache_dir
    if cache_dir == usual:
        return cache_dir
    index = Path(cache_dir).expanduser() / "index"
    try:
        if not is_remote(cache_dir) and index.is_dir():
            owners = {path.stat().st_uid for path in (index, index.parent)}
            if not hasattr(os, "getuid") or owners == {os.getuid()}:
                return cache_dir
    except OSError as error:
        if is_away(error) and error.errno not in (errno.EACCES, errno.EPERM):
            raise  # else the text would be read again, into another cache
    logger.warning(
        "data.cache_dir is %s, which is no cache of this user: %s is used", cache_dir, usual
    )
    return usual


def load_corpus(folder: Path) -> Corpus:
    """Return the corpus in a folder of the cache.

    Raises:
        CorpusError: the folder is damaged, or of another format version.
        AwayError: the system failed to read it.
    """
    path, files = folder / "corpus.json", folder / TFDS_FOLDER
    try:
        info, is_sealed = read_sealed(path, _INFO)
        if info["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format is {info['format_version']}, not {FORMAT_VERSION}")
        for key in ("n_documents", "n_bytes"):
            check(info[key], f"{key!r} of {path}", Kind(items=int))
        if not info["n_documents"].keys() <= set(SPLITS) or "train" not in info["n_documents"]:
            raise ValueError(f"its splits are {', '.join(info['n_documents'])}")
        if is_sealed:
            check_files(files, info["files"], DELETE)
        else:
            logger.warning("%s carries no digest: damage to it would not be noticed", path)
        return Corpus(folder, info["fingerprint"], info["n_documents"], info["n_bytes"])
    except (OSError, ValueError) as error:
        if is_away(error):
            raise away(getattr(error, "filename", None) or folder, error) from error
        raise CorpusError(
            f"{folder} holds no corpus that can be read ({error}): {DELETE}."
        ) from error


def _indexed(entry: Path, cache: Path) -> Path | None:
    """Return the folder of a corpus that was built before; None where none is known.

    The index only spares reading the source: an entry that is damaged, or another's, is made anew.
    """
    if not _is_there(entry):
        return None
    try:
        known, is_sealed = read_sealed(entry, Kind(keys={"folder": str}))
        if is_sealed and known.get("stamp") != entry.stem:
            raise ValueError(f"{entry} is that of another source")
        if not re.fullmatch(r"[0-9a-f]{32}", known["folder"]):
            raise ValueError(f"{entry} names {known['folder']!r}, which is no corpus of the cache")
    except ValueError as error:
        logger.warning("%s: the text is read again", error)
        return None
    folder = cache / known["folder"]
    return folder if _is_there(folder) and folder.is_dir() else None


def _is_there(path: Path) -> bool:
    """Return whether a path exists. A system that cannot say is no reason to build a corpus."""
    try:
        return path.exists()
    except OSError as error:
        raise away(path, error) from error


def _build(source: Source, held_out: Source | None, config: DataConfig, cache: Path) -> Corpus:
    """Build in a temporary folder and rename it, unless another process has built it first."""
    _sweep(cache)
    mine = f"{_building_here()}{os.getpid()}-"
    building = Path(tempfile.mkdtemp(prefix=mine, dir=cache))
    logger.debug("Building a corpus from %s in %s", config.source, cache)
    try:
        made = building / "corpus"
        data = made / TFDS_FOLDER
        info = write_dataset(source, held_out, config, made, building)
        files = [path for split in info["n_documents"] for path in files_of(data, split)]
        info = {"source": config.source, **info, "files": describe_files(files)}
        write_sealed(made / "corpus.json", info)
        folder = cache / info["fingerprint"][:32]
        try:
            made.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        return load_corpus(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _building_here() -> str:
    """Return how names of temporary folders of this machine, or container, begin."""
    return f"{_BUILDING}{hashlib.sha256(host().encode()).hexdigest()[:16]}-"


def _sweep(cache: Path) -> None:
    """Delete the temporary folders of builders on this machine that were killed."""
    for folder in cache.glob(f"{_building_here()}*"):
        number = folder.name.split("-")[-2]
        if number.isdecimal() and why_gone(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _stamp_hash(config: DataConfig, source: Source, held_out: Source | None) -> str:
    rule = [FORMAT_VERSION, config.validation_percent, config.test_percent, config.max_bytes]
    stamps = [rule, source.stamp()]
    if held_out is not None:
        stamps.append(["held_out", held_out.stamp()])
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:32]


def _disk_full(error: BaseException) -> str | None:
    # array_record raises a RuntimeError that contains the text of the system's error.
    for number, words in _DISK_FULL.items():
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return words
    return None
