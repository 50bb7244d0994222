"""Measures of a tokenizer on text, before any model is trained: ratios, baselines, speed."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.bars import Bar
from latent_jax.data import Corpus, DataConfig, open_corpus
from latent_jax.methods.family import MethodName
from latent_jax.methods.lester_2024 import DATASETS, JOINED_DOCUMENTS, published
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tasks.losses import perplexity
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.promises import check_encoded
from latent_jax.tokenizers.trivial import bytes_needed, trivial_models

logger = logging.getLogger(__name__)

PART_BYTES = 1 << 22
"""Bytes of a part that a tokenizer without lanes codes between two signs of progress."""

COLUMNS = (
    "method",
    "n_bytes",
    "bytes_per_token",
    "bit_compression_ratio",
    "uniform_bits_per_byte",
    "unigram_bits_per_byte",
    "uniform_perplexity_per_token",
    "unigram_perplexity_per_token",
    "times_ac",
    "paper_times_ac",
    "used_ids_share",
    "longest_token_bytes",
    "lossless_share",
    "encode_mb_per_s",
    "decode_mb_per_s",
)


def measure(tokenizer: Tokenizer, texts: Sequence[bytes]) -> dict[str, Any]:
    """Return the ratios, baselines and speeds of a tokenizer on texts, as one flat record.

    The uniform and unigram models over ids are the paper's "compressors are language models"
    (Lester et al. 2024, table 3), see `tokenizers.trivial`; a text that is too short for a unigram
    model gets none. A perplexity is per token, so it cannot be compared between methods.

    Args:
        tokenizer: any.
        texts: documents; each is encoded and decoded by itself.
    """
    tokenizer.decode_batch([tokenizer.encode(texts[0][:100])])  # so that timing excludes compiling
    start = time.perf_counter()
    encoded = _in_parts(tokenizer, "encode", tokenizer.encode_batch, texts, texts)
    middle = time.perf_counter()
    coded = [ids for ids, _ in encoded]
    decoded = _in_parts(tokenizer, "decode", tokenizer.decode_batch, coded, texts)
    stop = time.perf_counter()
    for text, (ids, lengths) in zip(texts, encoded, strict=True):
        check_encoded(tokenizer, text, ids, lengths)
    n_bytes = sum(map(len, texts))
    ids = np.concatenate([ids for ids, _ in encoded])
    lengths = np.concatenate([lengths for _, lengths in encoded])
    counts = count_ids(tokenizer, ids)
    trivial = trivial_models(counts, n_bytes)
    ratio = n_bytes / len(ids)
    return {
        "method": tokenizer.name,
        "fingerprint": tokenizer.fingerprint(),
        "n_documents": len(texts),
        "n_bytes": n_bytes,
        "n_tokens": len(ids),
        "n_ids": len(counts),
        "bytes_per_token": ratio,
        "bit_compression_ratio": 8 / trivial["uniform_bits_per_byte"],
        **trivial,
        **{
            f"{model}_perplexity_per_token": perplexity(trivial[f"{model}_bits_per_byte"], ratio)
            for model in ("uniform", "unigram")
            if f"{model}_bits_per_byte" in trivial
        },
        "used_ids_share": float((counts > 0).mean()),
        "longest_token_bytes": int(lengths.max()),
        "lossless_share": float(np.mean([a == b for a, b in zip(texts, decoded, strict=True)])),
        "encode_mb_per_s": n_bytes / (middle - start) / 1e6,
        "decode_mb_per_s": n_bytes / (stop - middle) / 1e6,
    }


def _in_parts(
    tokenizer: Tokenizer, verb: str, work: Callable[[list], list], items: list, texts: list[bytes]
) -> list:
    """Return work(items), done in parts, and show how many bytes of the texts are done.

    A part fills the lanes of a coder. Its texts are about equally long, so that at its end no lane
    is left alone with a long one.
    """
    n_bytes = sum(map(len, texts))
    width = tokenizer.encode_width if verb == "encode" else tokenizer.decode_width
    step = width if width > 1 else max(1, len(items) * PART_BYTES // n_bytes)
    order = sorted(range(len(items)), key=lambda i: -len(texts[i]))
    results: list = [None] * len(items)
    with Bar(f"{verb} {tokenizer.name}", n_bytes, "B") as bar:
        for first in range(0, len(order), step):
            part = order[first : first + step]
            for i, result in zip(part, work([items[i] for i in part]), strict=True):
                results[i] = result
            bar.update(sum(len(texts[i]) for i in part))
    return results


def count_ids(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """Return how often each id of a text occurs, int64[ids of the vocabulary but the separator]."""
    counts = np.bincount(ids, minlength=tokenizer.vocab_size)
    return np.delete(counts, tokenizer.separator_id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Which tokenizers are measured, and on what text.

    Attributes:
        names: literature names.
        files: the text: paths, globs or folders.
        text_field: of .jsonl files.
        train_files: text that learned tokenizers are trained on; by default the same text.
        max_bytes: documents are read up to the one that reaches so many raw bytes; 0 = all.
        cut_bytes: cut documents into texts of so many bytes; 0 = do not cut. Coders that run M1 for
            every byte code many texts at once, and are slow on one long text.
        example_bytes: join documents, 128 at a time, and cut them into texts of so many bytes, as
            Lester et al. 2024 do; 0 = do not join.
        train_bytes: raw bytes that tokenizers learn from; 0 = all.
        m1: file of the byte model that drives coders; "" = the one in the package.
        json_path: file that also gets the unrounded records.

    Raises:
        ValueError: texts would be cut in both ways.
    """

    names: Sequence[str]
    files: Sequence[str]
    text_field: str = "text"
    train_files: Sequence[str] = ()
    max_bytes: int = 0
    cut_bytes: int = 0
    example_bytes: int = 0
    train_bytes: int = 0
    m1: str = ""
    json_path: str | Path | None = None

    def __post_init__(self):
        """Check what goes together."""
        if self.cut_bytes and self.example_bytes:
            raise ValueError("example_bytes cuts joined documents: leave cut_bytes 0")

    @property
    def methods(self) -> list[MethodName]:
        """The parsed names; a wrong one raises ValueError."""
        return [parse(name) for name in self.names]

    def corpus(self) -> Corpus:
        """Open the text, with no part held out."""
        return whole_corpus(self.files, self.text_field)

    def texts(self, corpus: Corpus) -> list[bytes]:
        """Return the texts of `corpus`, cut."""
        return read_texts(corpus, self.max_bytes, self.cut_bytes, self.example_bytes)

    def tokenizers(self, methods: Sequence[MethodName]) -> Iterator[Tokenizer]:
        """Make the tokenizers of methods, and yield each as it is made."""
        train = whole_corpus(self.train_files or self.files, self.text_field)
        for method in methods:
            yield make_tokenizer(method, train, m1=self.m1, train_bytes=self.train_bytes)


def measure_and_print(options: MeasureOptions) -> list[dict[str, Any]]:
    """Measure methods on the same text and print a table.

    Returns:
        The records, one for each method.

    Raises:
        ValueError: a name is wrong, the text cannot be read, or a tokenizer cannot be made.
    """
    methods, texts = options.methods, options.texts(options.corpus())
    records = []
    for method, tokenizer in zip(methods, options.tokenizers(methods), strict=True):
        records.append({**measure(tokenizer, texts), **_paper(method)})
        logger.info("measured %s", method)
    _relate_to_ac(records)
    columns = [key for key in COLUMNS if any(key in record for record in records)]
    print(text_table(records, columns))
    for line in why_no_unigram(records):
        print(line)
    if options.json_path:
        write_table(records, options.json_path)
    return records


def why_no_unigram(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line on each record without a unigram model, which says how much text it needs."""
    return [
        f"{r['method']} has no unigram: its {r['n_ids']:,} ids need "
        f"{bytes_needed(r['n_ids']) / 1e6:.2g} MB of text, and this is {r['n_bytes'] / 1e6:.2g} MB"
        for r in records
        if "unigram_bits_per_byte" not in r
    ]


def _paper(method: MethodName) -> dict[str, float]:
    """Return the paper's bits of a method as a multiple of AC's; {} if the paper has none."""
    name = published(method)
    if not name or "v" not in method.options or method.family == "SentencePiece":
        return {}
    ac = DATASETS[f"AC[v={method['v']}]"].bytes_per_token
    return {"paper_times_ac": ac / DATASETS[name].bytes_per_token}


def _relate_to_ac(records: list[dict[str, Any]]) -> None:
    """Add the bits of each method as a multiple of AC's, which needs just the bits of M1."""
    best = [r["uniform_bits_per_byte"] for r in records if r["method"].startswith("AC[")]
    for record in records if best else []:
        record["times_ac"] = record["uniform_bits_per_byte"] / min(best)


def read_texts(
    corpus: Corpus, max_bytes: int, cut_bytes: int, example_bytes: int = 0
) -> list[bytes]:
    """Return the texts of a corpus that is read whole, cut as the arguments say.

    Args:
        corpus: see `whole_corpus`.
        max_bytes: documents are read up to the one that reaches so many raw bytes; 0 = all.
        cut_bytes: see `cut_texts`.
        example_bytes: see `join_and_cut`; 0 = documents are not joined.
    """
    texts = [document.text for document in corpus.documents("train", max_bytes)]
    return join_and_cut(texts, example_bytes) if example_bytes else cut_texts(texts, cut_bytes)


def cut_texts(texts: Sequence[bytes], n_bytes: int) -> list[bytes]:
    """Return the texts in pieces of at most `n_bytes` (0 = whole), without empty ones."""
    step = n_bytes or max(map(len, texts))
    return [text[at : at + step] for text in texts for at in range(0, len(text), step)]


def join_and_cut(texts: Sequence[bytes], n_bytes: int) -> list[bytes]:
    """Return examples of at most `n_bytes` bytes, from documents that are joined and cut."""
    groups = range(0, len(texts), JOINED_DOCUMENTS)
    joined = [b"".join(texts[first : first + JOINED_DOCUMENTS]) for first in groups]
    return cut_texts([text for text in joined if text], n_bytes)


def whole_corpus(files: Sequence[str], text_field: str) -> Corpus:
    """Return the corpus of some files with no part held out."""
    words = dict(source="files", files=tuple(files), text_field=text_field)
    return open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))
