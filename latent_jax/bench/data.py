"""Speed of the data pipeline by itself, compared with Grain's own packing, in turns on one text."""

import dataclasses
import importlib.metadata
import itertools
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from latent_jax.contracts import Document
from latent_jax.data import Corpus, DataConfig, open_corpus, train_batches
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import bytes_per_token, make_tokenizer
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tokenizers import Tokenizer

logger = logging.getLogger(__name__)

METHODS = ("Bytes", "BPE[v=4096]", "EqualInfoAC[b=16,v=65k]")
N_TURNS = 2
WARM_UP = 0.25
"""Share of a measurement's seconds that is read before it, so that all workers run and have cached
common words."""

COLUMNS = (
    "method",
    Column("n_workers", "workers", "d"),
    "bytes_per_token",
    Column("mb_per_s", "MB/s", ".1f"),
    Column("main_mb_per_cpu_s", "MB per CPU s of\nthe main process", ".1f"),
    Column("peer_mb_per_s", "Grain's packing\nMB/s", ".1f"),
    Column("speed_ratio", "speed over\nGrain's", ".2f"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataBenchmark:
    """The settings of the benchmark.

    Attributes:
        row_length: ids in a row.
        batch_size: rows of a batch.
        workers: numbers of worker processes; each is one row of the table for each method.
        seconds: of one measurement; a row of the table takes `N_TURNS` of ours and of Grain's.

    Raises:
        ValueError: a number is out of range.
    """

    row_length: int = 1024
    batch_size: int = 32
    workers: tuple[int, ...] = (0, 1, 2, 4, 8)
    seconds: float = 3.0

    def __post_init__(self):
        """Check values that the pipeline does not check."""
        if not self.workers or min(self.workers) < 0:
            raise ValueError(f"workers={self.workers}: give numbers of processes, such as 0,4,8")
        if min(self.row_length, self.batch_size) < 1 or self.seconds <= 0:
            raise ValueError(
                f"row_length={self.row_length}, batch_size={self.batch_size} and seconds="
                f"{self.seconds} must be positive"
            )
        if max(self.workers) > self.batch_size:
            raise ValueError(
                f"workers={self.workers}: each worker makes rows of the batch, and batch_size="
                f"{self.batch_size} has fewer than {max(self.workers)}"
            )

    @property
    def row_seconds(self) -> float:
        """Seconds for a row of the table, without the start of its processes."""
        return N_TURNS * 2 * (1 + WARM_UP) * self.seconds


def benchmark_data(
    benchmark: DataBenchmark,
    files: Sequence[str],
    *,
    text_field: str = "text",
    max_bytes: int = 0,
    vocab_file: str = "",
    merges_file: str = "",
    cache_dir: str = DataConfig.cache_dir,
    json_path: str | None = None,
) -> list[dict[str, Any]]:
    """Print and return raw text per second for each tokenizer and number of workers.

    Each row is printed, and written to `json_path`, as soon as it is known.

    Args:
        benchmark: the settings.
        files: the text.
        text_field: of .jsonl files.
        max_bytes: of the text; 0 = all.
        vocab_file: GPT-2's vocab.json; without the two files a BPE of 4,096 ids is trained.
        merges_file: GPT-2's merges.txt.
        cache_dir: folder that the corpus is built in.
        json_path: file that also gets the unrounded records.

    Raises:
        ValueError: a file cannot be read.
    """
    n_rows = len(METHODS) * len(benchmark.workers)
    logger.info(
        "%d rows of %.0f s each, %.1f minutes in all; text, tokenizers and processes come on top",
        n_rows,
        benchmark.row_seconds,
        n_rows * benchmark.row_seconds / 60,
    )
    words = dict(source="files", files=tuple(files), text_field=text_field, cache_dir=cache_dir)
    corpus = open_corpus(
        DataConfig(**words, max_bytes=max_bytes, validation_percent=0.0, test_percent=0.0)
    )
    records = []
    for method in METHODS:
        logger.info("%s: making the tokenizer", method)
        if method.startswith("BPE") and (vocab_file or merges_file):
            # `make_tokenizer` refuses files that are no BPE, and one file without the other.
            files = dict(vocab_file=vocab_file, merges_file=merges_file)
            tokenizer = make_tokenizer(parse("BPE[v=50257]"), **files)
        else:
            tokenizer = make_tokenizer(parse(method), corpus)
        id_bytes = bytes_per_token(tokenizer, corpus)
        for n_workers in benchmark.workers:
            records.append(_measure(benchmark, corpus, tokenizer, id_bytes, n_workers))
            logger.info("%s", _line(records[-1], f"{len(records)}/{n_rows}"))
            if json_path:
                write_table(records, json_path)
    print(text_table(records, COLUMNS))
    return records


def _line(record: dict[str, Any], place: str) -> str:
    return (
        f"{place} {record['method']}, {record['n_workers']} workers: {record['mb_per_s']:.1f} MB/s,"
        f" Grain's packing {record['peer_mb_per_s']:.1f} MB/s"
    )


def _measure(
    benchmark: DataBenchmark,
    corpus: Corpus,
    tokenizer: Tokenizer,
    id_bytes: float,
    n_workers: int,
) -> dict[str, Any]:
    rates, main_rates, peer_rates = [], [], []
    for _ in range(N_TURNS):
        ours = train_batches(
            corpus,
            tokenizer,
            batch_size=benchmark.batch_size,
            row_length=benchmark.row_length,
            seed=0,
            num_workers=n_workers,
        )
        n_bytes, seconds, cpu_seconds = _read(
            (int(batch["n_bytes"].sum()) for batch in ours), benchmark.seconds
        )
        ours.close()
        rates.append(n_bytes / seconds)
        main_rates.append(n_bytes / cpu_seconds)
        theirs = grain_batches(benchmark, corpus, tokenizer, n_workers)
        n_ids, seconds, _ = _read((batch["ids"].size for batch in theirs), benchmark.seconds)
        theirs.close()
        peer_rates.append(n_ids * id_bytes / seconds)
    return {
        "method": tokenizer.name,
        "n_workers": n_workers,
        "row_length": benchmark.row_length,
        "batch_size": benchmark.batch_size,
        "n_bytes": corpus.n_bytes["train"],
        "bytes_per_token": id_bytes,
        "mb_per_s": statistics.median(rates) / 1e6,
        "main_mb_per_cpu_s": statistics.median(main_rates) / 1e6,
        "peer": f"grain {importlib.metadata.version('grain')}",
        "peer_mb_per_s": statistics.median(peer_rates) / 1e6,
        "speed_ratio": statistics.median(
            ours / theirs for ours, theirs in zip(rates, peer_rates, strict=True)
        ),
    }


def grain_batches(
    benchmark: DataBenchmark, corpus: Corpus, tokenizer: Tokenizer, n_workers: int
) -> grain.DatasetIterator:
    """Return batches of the same documents, made by Grain's own packing.

    Documents are joined and cut into rows. Each worker makes whole batches of its share of the
    documents, so a batch holds few documents, one after the other.

    Returns:
        An iterator over {"ids": int32[B, L]}, and the keys that Grain's packing adds.
    """
    rows = grain.experimental.ConcatThenSplitIterDataset(
        grain.MapDataset.source(corpus.split("train"))
        .seed(0)
        .shuffle()
        .repeat()
        .map(_Encode(tokenizer))
        .to_iter_dataset(),
        length_struct={"ids": benchmark.row_length},
    )
    batches = rows.batch(benchmark.batch_size)
    if n_workers:
        batches = batches.mp_prefetch(
            grain.multiprocessing.MultiprocessingOptions(
                num_workers=n_workers, per_worker_buffer_size=2
            )
        )
    return iter(grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=2))


class _Encode:
    """Maps a Document to its ids and a separator, as Grain's packing takes them."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer

    def __call__(self, document: Document) -> dict[str, np.ndarray]:
        ids = self._tokenizer.encode(document.text)
        return {"ids": np.append(ids, np.int32(self._tokenizer.separator_id))}


def _read(amounts: Iterator[int], seconds: float) -> tuple[int, float, float]:
    """Read for some seconds, after the warm-up.

    Returns:
        The sum of the amounts, the seconds that passed, and CPU seconds of this process.
    """
    for _ in _during(amounts, WARM_UP * seconds):
        pass
    start, cpu_start = time.perf_counter(), time.process_time()
    total = sum(_during(amounts, seconds))
    return total, time.perf_counter() - start, time.process_time() - cpu_start


def _during(amounts: Iterator[int], seconds: float) -> Iterator[int]:
    first = next(amounts)
    end = time.perf_counter() + seconds
    return itertools.chain(
        [first], itertools.takewhile(lambda _: time.perf_counter() < end, amounts)
    )
