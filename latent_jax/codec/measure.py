"""Measures of a tokenizer on text, before any model is trained: ratios, baselines, speed."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from latent_jax.data import Corpus, DataConfig, open_corpus
from latent_jax.methods.family import MethodName
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.reports.tables import text_table, write_json
from latent_jax.tokenizers import Tokenizer

logger = logging.getLogger(__name__)

COLUMNS = (
    "method",
    "n_bytes",
    "bytes_per_token",
    "bit_compression_ratio",
    "uniform_bits_per_byte",
    "unigram_bits_per_byte",
    "times_ac",
    "paper_times_ac",
    "used_ids_share",
    "longest_token_bytes",
    "lossless_share",
    "encode_mb_per_s",
    "decode_mb_per_s",
)

PAPER_BYTES_PER_TOKEN = {
    ("AC", 0, 256): 5.49,
    ("AC", 0, 65536): 10.98,
    ("StaticAC", 0, 256): 1.73,
    ("StaticAC", 0, 65536): 3.46,
    ("GZip", 0, 256): 2.23,
    ("GZip", 0, 65536): 4.47,
    ("EqualInfoAC", 16, 256): 2.66,
    ("EqualInfoAC", 32, 256): 3.49,
    ("EqualInfoAC", 64, 256): 4.16,
    ("EqualInfoAC", 128, 256): 4.61,
    ("EqualInfoAC", 16, 65536): 5.31,
    ("EqualInfoAC", 32, 65536): 6.97,
    ("EqualInfoAC", 64, 65536): 8.33,
    ("EqualInfoAC", 128, 65536): 9.22,
}
"""(Family, b or 0, v) -> bytes per token on C4 (Lester et al. 2024, table 12)."""


def measure(tokenizer: Tokenizer, texts: Sequence[bytes]) -> dict[str, Any]:
    """Return the ratios, baselines and speeds of a tokenizer on texts, as one flat record.

    The uniform and unigram models over ids are the paper's "compressors are language models"
    (Lester et al. 2024, table 3); the unigram model has the frequencies of the text itself.

    Args:
        tokenizer: any.
        texts: documents; each is encoded and decoded by itself.
    """
    tokenizer.decode_batch([tokenizer.encode(texts[0][:100])])  # so that timing excludes compiling
    start = time.perf_counter()
    encoded = tokenizer.encode_batch(texts)
    middle = time.perf_counter()
    decoded = tokenizer.decode_batch([ids for ids, _ in encoded])
    stop = time.perf_counter()
    n_bytes = sum(map(len, texts))
    ids = np.concatenate([ids for ids, _ in encoded])
    lengths = np.concatenate([lengths for _, lengths in encoded])
    n_ids = tokenizer.vocab_size - 1  # the separator stands between texts
    counts = np.bincount(ids, minlength=n_ids)
    p = counts[counts > 0] / len(ids)
    uniform_bits = np.log2(n_ids) * len(ids)
    unigram_bits = -(p * np.log2(p)).sum() * len(ids)
    return {
        "method": tokenizer.name,
        "fingerprint": tokenizer.fingerprint(),
        "n_documents": len(texts),
        "n_bytes": n_bytes,
        "n_tokens": len(ids),
        "bytes_per_token": n_bytes / len(ids),
        "bit_compression_ratio": 8 * n_bytes / uniform_bits,
        "uniform_bits_per_byte": uniform_bits / n_bytes,
        "unigram_bits_per_byte": unigram_bits / n_bytes,
        "used_ids_share": float((counts > 0).mean()),
        "longest_token_bytes": int(lengths.max()),
        "lossless_share": float(np.mean([a == b for a, b in zip(texts, decoded, strict=True)])),
        "encode_mb_per_s": n_bytes / (middle - start) / 1e6,
        "decode_mb_per_s": n_bytes / (stop - middle) / 1e6,
    }


def measure_and_print(
    names: Sequence[str],
    *,
    files: Sequence[str],
    text_field: str = "text",
    train_files: Sequence[str] = (),
    max_bytes: int = 0,
    cut_bytes: int = 0,
    m1: str = "",
    json_path: str | None = None,
) -> list[dict[str, Any]]:
    """Measure methods on the same text and print a table.

    Args:
        names: literature names.
        files: the text: paths, globs or folders.
        text_field: of .jsonl files.
        train_files: text that learned tokenizers are trained on; by default the same text.
        max_bytes: documents are read up to the one that reaches so many raw bytes; 0 = all.
        cut_bytes: cut documents into texts of so many bytes; 0 = do not cut. Coders that run M1 for
            every byte code many texts at once, and are slow on one long text.
        m1: file of the byte model that drives coders; "" = the one in the package.
        json_path: file that also gets the unrounded records.

    Returns:
        The records, one for each method.

    Raises:
        ValueError: a name is wrong, or the text cannot be read.
    """
    methods = [parse(name) for name in names]
    documents = _corpus(files, text_field).documents("train", max_bytes)
    texts = cut_texts([document.text for document in documents], cut_bytes)
    train = _corpus(train_files or files, text_field)
    records = []
    for method in methods:
        tokenizer = make_tokenizer(method, train, m1=m1)
        records.append({**measure(tokenizer, texts), **_paper(method)})
        logger.info("measured %s", method)
    _relate_to_ac(records)
    columns = [key for key in COLUMNS if any(key in record for record in records)]
    print(text_table(records, columns))
    if json_path:
        write_json(records, json_path)
    return records


def _paper(method: MethodName) -> dict[str, float]:
    """Return the paper's bits of a method as a multiple of AC's; {} if the paper has none."""
    options = method.options
    usual = (options.get("reset", "every"), options.get("header", "yes")) == ("every", "yes")
    vocab = options.get("v")
    ratio = PAPER_BYTES_PER_TOKEN.get((method.family, options.get("b", 0), vocab))
    if ratio is None or not usual:
        return {}
    return {"paper_times_ac": PAPER_BYTES_PER_TOKEN["AC", 0, vocab] / ratio}


def _relate_to_ac(records: list[dict[str, Any]]) -> None:
    """Add the bits of each method as a multiple of AC's, which needs just the bits of M1."""
    best = [r["uniform_bits_per_byte"] for r in records if r["method"].startswith("AC[")]
    for record in records if best else []:
        record["times_ac"] = record["uniform_bits_per_byte"] / min(best)


def cut_texts(texts: Sequence[bytes], n_bytes: int) -> list[bytes]:
    """Return the texts in pieces of at most `n_bytes` (0 = whole), without empty ones."""
    step = n_bytes or max(map(len, texts))
    return [text[at : at + step] for text in texts for at in range(0, len(text), step)]


def _corpus(files: Sequence[str], text_field: str) -> Corpus:
    words = dict(source="files", files=tuple(files), text_field=text_field)
    return open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))
