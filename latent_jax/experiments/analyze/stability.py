"""How stable codes are: small changes of a text, and the same words in other places."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from latent_jax.analysis.boundaries import Places, alignment, space_places, token_places
from latent_jax.analysis.codes import Code
from latent_jax.analysis.consistency import word_table
from latent_jax.analysis.contingency import agreement
from latent_jax.analysis.stability import Changes, Distances, change_test, common_words, prefix_test
from latent_jax.analysis.token_map import map_tokens
from latent_jax.experiments.analyze.opening import open_codes, open_text, read_texts
from latent_jax.reports.stability_figures import write_stability_figures
from latent_jax.reports.tables import text_table, write_json

logger = logging.getLogger(__name__)

COLUMNS = {
    "One sentence behind other words, and one byte changed": (
        "method",
        "prefix_distance_tokens",
        "prefix_distance_share",
        "sentence_distance_tokens",
        "sentence_distance_share",
        "changed_tokens",
        "changed_tokens_share",
        "stays_share",
        "travel_bytes_median",
        "back_bytes_median",
        "reaches_end_share",
    ),
    "The same tokens, the same words, and where tokens end": (
        "method",
        "same_text_probability",
        "same_ids_probability",
        "space_recall_share",
        "random_space_recall_share",
        "space_precision_share",
        "random_space_precision_share",
        "piece_recall_share",
        "random_piece_recall_share",
        "piece_precision_share",
        "random_piece_precision_share",
    ),
}

N_COMMON_WORDS = 3000
"""Prefixes are drawn from so many, as in Lester et al. 2024, section 6.1."""


def stability_and_print(
    methods: Sequence[str],
    workdirs: Sequence[str] = (),
    *,
    files: Sequence[str],
    sentence: str,
    text_field: str = "text",
    train_bytes: int = 0,
    max_bytes: int = 0,
    cut_bytes: int = 0,
    n_prefixes: int = 500,
    n_changes: int = 200,
    pieces: str = "",
    m1: str = "",
    seed: int = 0,
    json_path: str | None = None,
    out: str = "",
) -> list[dict[str, Any]]:
    """Print how much codes change with the text, and draw the distributions.

    Args:
        methods: literature names of tokenizers.
        workdirs: trained runs.
        files: the text; tokenizers that learn read 90 percent of its documents, all codes are
            measured on the others.
        sentence: stands behind every prefix.
        text_field: of .jsonl files.
        train_bytes: tokenizers learn from so many bytes; 0 = all.
        max_bytes: measure on so many; 0 = all.
        cut_bytes: cut documents into texts of so many bytes; 0 = none.
        n_prefixes: words, drawn from the 3,000 most common ones of what tokenizers learn from.
        n_changes: bytes that are changed, one at a time.
        pieces: literature name of the tokenizer whose pieces token boundaries are compared with;
            empty compares with spaces alone.
        m1: file of the byte model of coders; empty is the shipped one.
        seed: of prefixes, and of places and values of changed bytes.
        json_path: also write the unrounded records there.
        out: folder for pictures; empty makes none.

    Returns:
        One record for each code.

    Raises:
        ValueError: a name is wrong, or the text or a run cannot be read, or it is too short.
    """
    if n_prefixes < 2 or n_changes < 1:
        raise ValueError(
            f"distances need two prefixes and a change to follow; got {n_prefixes} and {n_changes}"
        )
    corpus = open_text(files, text_field)
    opened = dict(corpus=corpus, train_bytes=train_bytes, m1=m1)
    codes = open_codes(methods, workdirs, **opened)
    texts = read_texts(corpus, "validation", max_bytes, cut_bytes)
    learned = [document.text for document in corpus.documents("train", 1 << 22)]
    prefixes = common_words(learned, N_COMMON_WORDS, n_prefixes, seed)
    places = {"space": [space_places(text) for text in texts]}
    if pieces:
        (reference,) = open_codes([pieces], **opened)
        places["piece"] = [token_places(coded) for coded in reference.encode(texts)]
    records, histograms = [], []
    for code in tqdm(codes, unit=" codes", leave=False):
        record, distributions = _measure(
            code, texts, places, prefixes, sentence.encode(), n_changes, seed
        )
        records.append({**record, "pieces": pieces or None})
        histograms += [{"method": code.name, **entry} for entry in distributions]
        logger.info("measured %s", code.name)
    known = {key for record in records for key in record}
    for title, columns in COLUMNS.items():
        chosen = [column for column in columns if column in known]
        print(f"\n{title}\n\n{text_table(records, chosen)}")
    if json_path:
        write_json(records, json_path)
    if out:
        print()
        print(write_json(histograms, f"{out}/histograms.json"))
        for path in write_stability_figures(records, histograms, out):
            print(path)
    return records


def _measure(
    code: Code,
    texts: Sequence[bytes],
    places: dict[str, list[Places]],
    prefixes: Sequence[bytes],
    sentence: bytes,
    n_changes: int,
    seed: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the record of a code, and its histograms as records."""
    coded = code.encode(texts)
    distances = prefix_test(code, prefixes, sentence)
    changes = change_test(code, texts, coded, n_changes, seed)
    record = {
        "method": code.name,
        "n_bytes": sum(map(len, texts)),
        "n_texts": len(texts),
        "n_prefixes": len(prefixes),
        "n_changes": n_changes,
        "seed": seed,
        **_prefix_scores(distances),
        **_change_scores(changes),
        "same_text_probability": agreement(map_tokens(texts, coded).table),
        "same_ids_probability": agreement(word_table(texts, coded)),
    }
    for name, own in places.items():
        for key, value in alignment(coded, own).items():
            is_random = key.startswith("random_")
            plain = key.removeprefix("random_")
            record[f"{'random_' if is_random else ''}{name}_{plain}"] = value
    histograms = [
        *_histogram(
            "prefix_distance_tokens", distances.whole, np.arange(distances.whole.max() + 2)
        ),
        *_histogram("travel_bytes", changes.travel_bytes, TRAVEL_EDGES),
    ]
    return record, histograms


def _prefix_scores(distances: Distances) -> dict[str, float]:
    return {
        "prefix_distance_tokens": float(distances.whole.mean()),
        "prefix_distance_share": float(distances.whole.sum() / distances.n_whole.sum()),
        "sentence_distance_tokens": float(distances.sentence.mean()),
        "sentence_distance_share": float(distances.sentence.sum() / distances.n_sentence.sum()),
    }


def _change_scores(changes: Changes) -> dict[str, float]:
    stays = (changes.travel_bytes == 0) & (changes.back_bytes == 0)
    return {
        "changed_tokens": float(changes.changed_tokens.mean()),
        "changed_tokens_share": float(changes.changed_tokens.sum() / changes.n_tokens.sum()),
        "stays_share": float(stays.mean()),
        "travel_bytes_median": float(np.median(changes.travel_bytes)),
        "back_bytes_median": float(np.median(changes.back_bytes)),
        "left_bytes_median": float(np.median(changes.left_bytes)),
        "reaches_end_share": float(changes.reaches_end.mean()),
    }


TRAVEL_EDGES = np.array([0, 1, *(2**k for k in range(1, 21))])
"""Of the histogram of distances in bytes: 0, 1, 2 and 3, 4 to 7, ..."""


def _histogram(quantity: str, values: np.ndarray, edges: np.ndarray) -> list[dict[str, Any]]:
    """Return one record for each bin that is not empty; a bin holds its start and not its stop."""
    counts, _ = np.histogram(values, edges)
    return [
        {"quantity": quantity, "start": int(a), "stop": int(b), "share": float(n / len(values))}
        for a, b, n in zip(edges, edges[1:], counts, strict=False)
        if n
    ]
