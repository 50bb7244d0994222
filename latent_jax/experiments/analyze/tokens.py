"""What a token stands for, under any number of codes on the same text."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from latent_jax.analysis.codes import Code, Coded
from latent_jax.analysis.contingency import agreement, conditional_entropy_bits, row_sums
from latent_jax.analysis.decoding import decoding_scores, exhibit
from latent_jax.analysis.token_map import (
    TokenMap,
    map_records,
    map_tokens,
    printable,
    token_scores,
)
from latent_jax.analysis.vocabulary import length_records, longest_pieces, most_used_pieces
from latent_jax.experiments.analyze.opening import open_codes, open_text, read_texts
from latent_jax.reports.tables import text_table, write_json
from latent_jax.reports.token_figures import write_token_figures

logger = logging.getLogger(__name__)

COLUMNS = (
    "method",
    "n_tokens",
    "bytes_per_token",
    "n_used_ids",
    "repeated_ids_share",
    "texts_per_id",
    "one_text_ids_share",
    "same_text_probability",
    "same_id_probability",
    "text_bits",
    "text_given_shuffled_id_bits",
    "text_given_id_bits",
    "id_given_text_bits",
)

N_SHOWN = 8
"""Rows of the tables that show ids and their texts."""
TEXTS_SHOWN = 3
POSITIONS_SHOWN = 4


def tokens_and_print(
    methods: Sequence[str],
    workdirs: Sequence[str] = (),
    *,
    files: Sequence[str],
    text_field: str = "text",
    train_bytes: int = 0,
    max_bytes: int = 0,
    cut_bytes: int = 0,
    sentence: str,
    n_samples: int = 200,
    m1: str = "",
    seed: int = 0,
    json_path: str | None = None,
    out: str = "",
) -> list[dict[str, Any]]:
    """Print what ids cover in held-out text, what they decode to alone, and vocabularies.

    Args:
        methods: literature names of tokenizers.
        workdirs: trained runs.
        files: the text; tokenizers that learn read 90 percent of its documents, all codes are
            looked at on the others.
        text_field: of .jsonl files.
        train_bytes: tokenizers learn from so many bytes; 0 = all.
        max_bytes: look at so many; 0 = all.
        cut_bytes: cut documents into texts of so many bytes; 0 = none.
        sentence: is decoded id by id, and in longer and longer runs.
        n_samples: runs of ids of each length that are decoded alone.
        m1: file of the byte model of coders; empty is the shipped one.
        seed: of the runs' places, and of the shuffle that shows the bias of entropies.
        json_path: also write one unrounded record for each code there.
        out: folder for pictures and for the whole maps as JSON; empty makes none.

    Returns:
        The records.

    Raises:
        ValueError: a name is wrong, or the text or a run cannot be read.
    """
    corpus = open_text(files, text_field)
    codes = open_codes(methods, workdirs, corpus=corpus, train_bytes=train_bytes, m1=m1)
    texts = read_texts(corpus, "validation", max_bytes, cut_bytes)
    n_bytes = sum(map(len, texts))
    records, decodings, windows, vocabularies, shown, slugs = [], [], [], [], [], set()
    for code in tqdm(codes, unit=" codes", leave=False):
        coded = code.encode(texts)
        tokens = map_tokens(texts, coded, code.window_tokens)
        decoded = _decoding(code, texts, coded, n_samples, seed)
        anywhere = decoded[0]
        records.append(
            {
                "method": code.name,
                "n_bytes": n_bytes,
                "bytes_per_token": n_bytes / len(tokens.ids),
                **token_scores(tokens, seed),
                **{key: value for key, value in anywhere.items() if "@" in key},
                "seed": seed,
            }
        )
        decodings += decoded
        windows += _positions(code, tokens)
        shown.append(_exhibits(code, coded, tokens, sentence))
        if code.pieces is not None:
            lengths, _ = length_records(code.pieces, coded)
            vocabularies += [{"method": code.name, **record} for record in lengths]
        if out:
            path = Path(out) / f"map-{_slug(code.name, slugs)}.json"
            shown[-1] += f"\n\nAll {len(tokens.ids):,} tokens by id and text: {path}"
            write_json(map_records(tokens), path)
        logger.info("looked at %s", code.name)
    print("\n\n".join(shown), end="\n\n")
    if windows:
        print("Places in windows", text_table(windows), sep="\n\n", end="\n\n")
    errors = [key for key in dict.fromkeys(k for d in decodings for k in d) if "error" in key]
    print("How much of a run of ids is wrong that is decoded alone, by its length", end="\n\n")
    print(text_table(decodings, ["method", "begins", *errors]), end="\n\n")
    print(f"{n_bytes:,} bytes of held-out text", text_table(records, COLUMNS), sep="\n\n")
    if json_path:
        write_json(records, json_path)
    if out:
        tables = {"decoding": decodings, "windows": windows, "vocabulary": vocabularies}
        for name, table in tables.items():
            if table:
                print(write_json(table, Path(out) / f"{name}.json"))
        for path in write_token_figures(records, vocabularies, out):
            print(path)
    return records


def _decoding(
    code: Code, texts: Sequence[bytes], coded: Sequence[Coded], n_samples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record for runs that begin anywhere, and one for runs that begin with a window."""
    records = []
    for from_windows in (False, True) if code.window_tokens > 1 else (False,):
        words = dict(n_samples=n_samples, from_windows=from_windows, seed=seed)
        record = {"method": code.name, "begins": "with a window" if from_windows else "anywhere"}
        for scores in decoding_scores(code, texts, coded, **words):
            run = scores.pop("run_tokens")
            record |= {f"{key}@{run}": value for key, value in scores.items()}
        records.append(record)
    return records


def _positions(code: Code, tokens: TokenMap) -> list[dict[str, Any]]:
    """Return for each place in the windows of a code how sure the text of its ids is."""
    if code.window_tokens == 1:
        return []
    records = []
    for position in range(code.window_tokens):
        part = tokens.at(position)
        table = part.table
        n_bytes = sum(len(part.spellings[label]) for label in part.labels)
        records.append(
            {
                "method": code.name,
                "position": position,
                "bytes_per_token": n_bytes / max(len(part.ids), 1),
                "n_used_ids": len(row_sums(table)[0]),
                "texts_per_id": len(table.counts) / max(len(row_sums(table)[0]), 1),
                "same_text_probability": agreement(table),
                "text_given_id_bits": conditional_entropy_bits(table),
            }
        )
    return records


def _exhibits(code: Code, coded: Sequence[Coded], tokens: TokenMap, sentence: str) -> str:
    """Return for people: a sentence in runs of ids, the most used ids, and the vocabulary."""
    parts = [code.name, "=" * len(code.name)]
    lines = [
        {
            "ids at a time": "all" if run == 0 else str(run),
            "decoded": "|".join("?" if piece is None else printable(piece) for piece in pieces),
        }
        for run, pieces in exhibit(code, sentence.encode()).items()
    ]
    parts += [text_table(lines), "", _window_table(code, tokens)]
    if code.pieces is not None:
        lengths, uses = length_records(code.pieces, coded)
        parts += ["", text_table(lengths)]
        for title, ids in (
            ("longest texts", longest_pieces(code.pieces, N_SHOWN)),
            ("most used texts", most_used_pieces(uses, N_SHOWN)),
        ):
            rows = [
                {"id": str(i), "n_tokens": int(uses[i]), title: _quoted(code.pieces[i])}
                for i in ids
            ]
            parts += ["", text_table(rows)]
    return "\n".join(parts)


def _window_table(code: Code, tokens: TokenMap) -> str:
    """Return the most used ids, and what they cover at each place of a window."""
    places = [tokens.at(i) for i in range(min(code.window_tokens, POSITIONS_SHOWN))]
    ids, counts = row_sums(tokens.table)
    rows = []
    for i in (-counts).argsort(kind="stable")[:N_SHOWN]:
        row = {"id": str(ids[i]), "n_tokens": int(counts[i])}
        for position, part in enumerate(places):
            found = part.texts_of(ids[i])
            texts = ", ".join(f"{_quoted(t)} x{n}" for t, n in found[:TEXTS_SHOWN])
            rest = len(found) - TEXTS_SHOWN
            title = "covers" if code.window_tokens == 1 else f"at place {position} of the window"
            row[title] = texts + (f", {rest} more" if rest > 0 else "")
        rows.append(row)
    return text_table(rows)


def _quoted(text: bytes) -> str:
    """Return a text on one line whose spaces at the ends are seen."""
    return f"'{printable(text)}'"


def _slug(name: str, taken: set[str]) -> str:
    """Return a name for a file that no other code has."""
    plain = re.sub(r"\W+", "_", name).strip("_")
    number, slug = 1, plain
    while slug in taken:
        number += 1
        slug = f"{plain}_{number}"
    taken.add(slug)
    return slug
