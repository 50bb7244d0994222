"""The ids of methods, counted on as much text as a unigram model of them needs; resumable.

This is table 3 of Lester et al. 2024. Where M1 runs for every byte, a method of 65,536 ids needs
minutes of it. So methods that differ in the width of their tokens only are counted in one pass, and
the counts are kept after each stretch of text: the same command goes on where it stopped.
"""

import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.bars import Bar
from latent_jax.codec.measure import MeasureOptions, count_ids, why_no_unigram
from latent_jax.folder_lock import hold
from latent_jax.json_files import Kind, read_json, write_sealed
from latent_jax.methods.family import MethodName
from latent_jax.methods.lester_2024 import DATASETS, TRIVIAL, published
from latent_jax.methods.names import with_options
from latent_jax.methods.registry import family
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.bit_tokenizer import encode_batches
from latent_jax.tokenizers.trivial import bytes_needed, trivial_models

logger = logging.getLogger(__name__)

TEXTS = 128
"""Texts that are counted between two writes: as many as M1 reads side by side on two cores."""

COLUMNS = (
    *("method", "n_bytes", "tokens_per_id", "bytes_per_token", "paper_bytes_per_token"),
    *("uniform_bits_per_byte", "unigram_bits_per_byte", "unigram_gain_bits_per_byte"),
    *("paper_uniform_bits_per_byte", "paper_unigram_bits_per_byte"),
    "paper_unigram_gain_bits_per_byte",
)

_COUNTS = Kind(
    keys={"text": str, "tokenizers": list, "n_texts": int, "n_bytes": int, "counts": list},
    maybe={"seconds": float},
    way_out="remove it, and its ids are counted again",
)


def count_and_print(options: MeasureOptions, counts: str | Path) -> list[dict[str, Any]]:
    """Count the ids of methods, or go on where an earlier call stopped, and print a table.

    Methods that M1 drives read as much of the text as their unigram model needs, see
    `tokenizers.trivial`; all others read the whole text.

    Args:
        options: the methods and the text. The file of records is written after each group of
            methods.
        counts: folder that keeps the counts.

    Returns:
        The records, one for each method, in the order of the names.

    Raises:
        ValueError: a name is wrong, the text cannot be read, a tokenizer cannot be made, or the
            folder holds counts of another text or tokenizer.
    """
    folder, methods, corpus = Path(counts), options.methods, options.corpus()
    texts, cuts = options.texts(corpus), (options.max_bytes, options.cut_bytes)
    stated = " ".join(map(str, (corpus.fingerprint, *cuts, options.example_bytes)))
    found: dict[str, dict[str, Any]] = {}
    with hold(folder, "the counts of one text"):
        for group in _groups(methods):
            made = [*options.tokenizers(group)]
            kept = _count(folder, stated, group, made, texts)
            for method, tokenizer, ids in zip(group, made, kept["counts"], strict=True):
                found[str(method)] = _record(method, tokenizer, np.array(ids), kept)
            if options.json_path:
                known = [found[name] for m in methods if (name := str(m)) in found]
                write_table(known, options.json_path)
    records = [found[str(method)] for method in methods]
    columns = [key for key in COLUMNS if any(key in record for record in records)]
    print(text_table(records, columns))
    for line in why_no_unigram(records):
        print(line)
    return records


def _groups(methods: Sequence[MethodName]) -> list[list[MethodName]]:
    """Return the methods that one pass of M1 codes together; any other stands alone."""
    by_coder: dict[str, list[MethodName]] = {}
    for method in methods:
        is_driven = family(method.family).is_driven(method)
        coder = str(with_options(method, v=0)) if is_driven else str(method)
        by_coder.setdefault(coder, []).append(method)
    return [*by_coder.values()]


def _count(
    folder: Path,
    stated: str,
    group: Sequence[MethodName],
    made: Sequence[Tokenizer],
    texts: Sequence[bytes],
) -> dict[str, Any]:
    """Return what the file of a group holds when enough text is counted; see `_COUNTS`."""
    path = folder / (re.sub(r"[^\w=,.\-]+", "_", "+".join(map(str, group))) + ".json")
    begun = {
        "text": stated,
        "tokenizers": [tokenizer.fingerprint() for tokenizer in made],
        "n_texts": 0,
        "n_bytes": 0,
        "seconds": 0.0,
        "counts": [[0] * (tokenizer.vocab_size - 1) for tokenizer in made],
    }
    kept = read_json(path, _COUNTS) if path.exists() else begun
    different = [key for key in ("text", "tokenizers") if kept[key] != begun[key]]
    if different:
        raise ValueError(
            f"{path} holds counts of other {' and '.join(different)}: choose another --counts, or "
            "remove it"
        )
    needed = sum(map(len, texts))
    if family(group[0].family).is_driven(group[0]):
        needed = min(needed, max(bytes_needed(tokenizer.vocab_size - 1) for tokenizer in made))
    with Bar(str(group[0]), needed, "B", initial=kept["n_bytes"]) as bar:
        while kept["n_bytes"] < needed:
            began, chunk = time.monotonic(), texts[kept["n_texts"] :][:TEXTS]
            encoded = (
                [made[0].encode_batch(chunk)] if len(made) == 1 else encode_batches(made, chunk)
            )
            for number, (tokenizer, pieces) in enumerate(zip(made, encoded, strict=True)):
                ids = np.concatenate([ids for ids, _ in pieces])
                added = count_ids(tokenizer, ids) + np.array(kept["counts"][number])
                kept["counts"][number] = added.tolist()
            n_bytes = sum(map(len, chunk))
            kept["n_texts"] += len(chunk)
            kept["n_bytes"] += n_bytes
            kept["seconds"] += time.monotonic() - began
            write_sealed(path, kept)
            bar.update(n_bytes)
    logger.info("counted %s: %.0f s", " and ".join(map(str, group)), kept["seconds"])
    return kept


def _record(
    method: MethodName, tokenizer: Tokenizer, counts: np.ndarray, kept: dict[str, Any]
) -> dict[str, Any]:
    n_tokens, n_bytes = int(counts.sum()), kept["n_bytes"]
    found = trivial_models(counts, n_bytes)
    if "unigram_bits_per_byte" in found:
        found["unigram_gain_bits_per_byte"] = (
            found["uniform_bits_per_byte"] - found["unigram_bits_per_byte"]
        )
    record = {
        "method": str(method),
        "fingerprint": tokenizer.fingerprint(),
        "n_bytes": n_bytes,
        "n_tokens": n_tokens,
        "n_ids": len(counts),
        "tokens_per_id": n_tokens / len(counts),
        "used_ids_share": float((counts > 0).mean()),
        "bytes_per_token": n_bytes / n_tokens,
        **found,
        "count_seconds": kept["seconds"],
    }
    if row := DATASETS.get(published(method)):
        record["paper_bytes_per_token"] = row.bytes_per_token
    if paper := TRIVIAL.get(published(method)):
        record |= {
            "paper_uniform_bits_per_byte": paper.uniform,
            "paper_unigram_bits_per_byte": paper.unigram,
            "paper_unigram_gain_bits_per_byte": paper.uniform - paper.unigram,
        }
    return record
