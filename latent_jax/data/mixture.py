"""Several corpora as one, mixed in shares of raw bytes.

Part i, of b_i bytes and share w_i, is repeated r_i times in an epoch. r_i is proportional to
w_i / b_i, and the smallest r_i is 1. For a fractional repetition the first documents of the part
are taken; documents are stored in the order of a hash, so these are a sample. Held-out splits
contain every document of every part once.
"""

import bisect
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latent_jax.contracts import Document
from latent_jax.data.corpus import Corpus, open_one
from latent_jax.data.documents import CorpusError
from latent_jax.data.sources import DataConfig

SMALLEST_SHARE, LARGEST_SHARE = 1e-6, 1e6
"""Of a part; only ratios of shares count."""

MOST_DOCUMENTS = 2**31
"""In an epoch of a mixture, repetitions included."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One entry of `data.mixture`, written NAME=SHARE:FILES.

    Attributes:
        name: the prefix of the part's own metrics.
        share: share of the raw bytes in training, relative to the shares of the other parts.
        files: a path, folder or glob pattern.
    """

    name: str
    share: float
    files: str

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Return the part of an entry.

        Raises:
            CorpusError: the entry is not written NAME=SHARE:FILES, or its share is not above 0.
        """
        match = re.fullmatch(r"(\w+)=([0-9.]+(?:e[+-]?\d+)?):(.+)", text)
        share = float(match[2]) if match and match[2].count(".") < 2 else math.nan
        if not SMALLEST_SHARE <= share <= LARGEST_SHARE:
            raise CorpusError(
                f"data.mixture has {text!r}: write NAME=SHARE:FILES with a share from "
                f"{SMALLEST_SHARE:g} to {LARGEST_SHARE:g}, such as wiki=0.7:enwiki/*.jsonl.xz"
            )
        return cls(match[1], share, match[3])


class MixedRecords(Sequence):
    """The documents of several sequences, each repeated and spread evenly over the whole."""

    def __init__(self, parts: Sequence[Sequence[Document]], repeats: Sequence[float]):
        """Compute the order; `repeats`, the repetitions of each part, may be fractional."""
        self._parts = parts
        counts = [round(len(part) * times) for part, times in zip(parts, repeats, strict=True)]
        # Document j of the n of its part is placed at the fraction (j + 1/2) / n of the whole.
        places = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in counts])
        self._order = np.argsort(places, kind="stable")
        self._starts = [0, *np.cumsum(counts).tolist()]

    def __len__(self) -> int:
        """Return the number of documents, with repetitions."""
        return len(self._order)

    def __getitem__(self, index: int) -> Document:
        """Return a document."""
        place = int(self._order[index])
        number = bisect.bisect_right(self._starts, place) - 1
        part = self._parts[number]
        return part[(place - self._starts[number]) % len(part)]


@dataclasses.dataclass(frozen=True)
class Mixture(Corpus):
    """A corpus made of several others.

    Attributes:
        repeats: repetitions of each part in an epoch of the training split.
    """

    repeats: tuple[float, ...] = ()

    def split(self, name: str) -> MixedRecords:
        """Return random access to the documents of a split.

        Raises:
            CorpusError: a part has no such split.
        """
        records = [part.split(name) for part in self.parts.values()]
        return MixedRecords(records, self.repeats if name == "train" else [1.0] * len(records))


def open_corpus(config: DataConfig) -> Corpus:
    """Return the corpus of a config, single or a mixture; build what the cache does not hold.

    Several processes may call this at the same time. During a build a terminal shows a progress
    bar.

    Raises:
        CorpusError: see `corpus.open_one`; or an entry of a mixture is not written
            NAME=SHARE:FILES, or two entries have the same name.
    """
    return _open_mixture(config) if config.mixture else open_one(config)


def _open_mixture(config: DataConfig) -> Mixture:
    entries = [Part.parse(text) for text in config.mixture]
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise CorpusError(f"data.mixture has a name twice, {', '.join(names)}: name each part")
    parts = {entry.name: _open_part(config, entry) for entry in entries}
    rates = [entry.share / parts[entry.name].n_bytes["train"] for entry in entries]
    repeats = tuple(rate / min(rates) for rate in rates)
    identity = [[parts[e.name].fingerprint, e.share] for e in entries]
    fingerprint = hashlib.sha256(json.dumps(["mixture", identity]).encode()).hexdigest()
    folder = Path(config.cache_dir).expanduser() / fingerprint[:32]
    n_documents = _totals([part.n_documents for part in parts.values()], repeats)
    if n_documents["train"] > MOST_DOCUMENTS:
        often = entries[int(np.argmax(repeats))]
        raise CorpusError(
            f"data.mixture reads {often.name} {max(repeats):.3g} times in an epoch, "
            f"{n_documents['train']:,} documents in all, more than {MOST_DOCUMENTS:,}: give it a "
            "smaller share"
        )
    n_bytes = _totals([part.n_bytes for part in parts.values()], repeats)
    return Mixture(folder, fingerprint, n_documents, n_bytes, parts, repeats)


def _open_part(config: DataConfig, entry: Part) -> Corpus:
    """Return the corpus of a part; its name stands in an error."""
    try:
        return open_one(dataclasses.replace(config, mixture=(), files=(entry.files,)))
    except CorpusError as error:
        raise CorpusError(f"data.mixture, part {entry.name} ({entry.files}): {error}") from error


def _totals(counts: Sequence[dict[str, int]], repeats: Sequence[float]) -> dict[str, int]:
    """Return the sums over all parts by split, those of training with repetitions."""
    once = [1.0] * len(repeats)
    return {
        split: round(
            sum(
                times * count[split]
                for times, count in zip(repeats if split == "train" else once, counts, strict=True)
            )
        )
        for split in counts[0]
    }
