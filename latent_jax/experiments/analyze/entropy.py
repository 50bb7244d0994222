"""The entropy of text in every code: n-gram estimates, and what a trained model needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from latent_jax.analysis.codes import Code
from latent_jax.analysis.kneser_ney import KneserNey
from latent_jax.analysis.ngrams import conditional_entropy, count_ngrams
from latent_jax.data import Corpus
from latent_jax.experiments.analyze.opening import (
    encode_texts,
    open_codes,
    open_texts,
    read_texts,
    run_words,
)
from latent_jax.experiments.evaluate import load_run, read_config, score_corpus
from latent_jax.methods.names import parse
from latent_jax.reports.entropy_figures import write_entropy_figure
from latent_jax.reports.tables import text_table, write_json

COLUMNS = (
    "text",
    "method",
    "run",
    "model",
    "n_samples",
    "n_contexts",
    "plug_in_bits_per_token",
    "miller_madow_bits_per_token",
    "held_out_bits_per_token",
    "plug_in_bits_per_byte",
    "miller_madow_bits_per_byte",
    "held_out_bits_per_byte",
    "reconstruction_bits_per_byte",
    "held_out_bits_per_character",
)

SUMMARY_COLUMNS = (
    "text",
    "method",
    "run",
    "seed",
    "beta",
    "lm_gradient",
    "train_bytes",
    "bytes_per_token",
    "n_samples",
    "n_contexts",
    "uniform_bits_per_byte",
    "plug_in_bits_per_byte",
    "miller_madow_bits_per_byte",
    "held_out_bits_per_byte",
    "held_out_bits_per_character",
    "best_n",
    "best_bits_per_byte",
    "language_model_bits_per_byte",
    "reconstruction_bits_per_byte",
    "paper_bits_per_character",
)

ORIGIN = ("text", "method", "run")
"""What tells the codes of a table apart."""

RUN_WORDS = ("seed", "beta", "lm_gradient")

LANGUAGE_MODEL = "language model"

SUMMARY_N = 4
"""The n of Fifty 2025, "Language, Entropy, and Language Modeling"."""

FIFTY_2025 = (
    {"text": "OpenWebText", "method": "English", "paper_bits_per_character": 1.8},
    {
        "text": "OpenWebText",
        "method": "latent language, c=2",
        "paper_bits_per_character": 3.0,
    },
)
"""What the blog states of its 4-grams, to stand below what is measured here."""


def entropy_records(
    code: Code,
    train: Sequence[bytes],
    validation: Sequence[bytes],
    max_n: int,
    bar: tqdm | None = None,
) -> list[dict[str, Any]]:
    """Return one record for each n = 1, ..., `max_n`.

    Plug-in and Miller-Madow are those of the training text, per n-gram whose context lies in one
    text, and its bytes. "Held out" is what the n-gram model of the training text (`KneserNey`)
    needs for the validation text: each of its ids, all of its bytes. Characters are code points.

    Args:
        code: any.
        train: texts to count in.
        validation: texts to score.
        max_n: the longest n-grams.
        bar: counts the raw bytes encoded.

    Raises:
        ValueError: no training text has `max_n` ids.
    """
    on_encoded = bar.update if bar is not None else lambda _: None
    counted = encode_texts(code, train, on_encoded)
    scored = encode_texts(code, validation, on_encoded)
    tables = count_ngrams([coded.ids for coded in counted], code.n_ids, max_n)
    held_out_nats = KneserNey(tables).nats([coded.ids for coded in scored])
    held_out_bits = held_out_nats.sum(axis=1) / np.log(2)
    n_bytes, n_characters = sum(map(len, validation)), count_characters(validation)
    n_tokens = sum(len(coded.ids) for coded in scored)
    shared = {
        "method": code.name,
        "n_ids": code.n_ids,
        "train_bytes": sum(map(len, train)),
        "n_bytes": n_bytes,
        "n_tokens": n_tokens,
        "bytes_per_token": n_bytes / n_tokens,
        "bytes_per_character": n_bytes / n_characters,
        "uniform_bits_per_byte": float(np.log2(code.n_ids) * n_tokens / n_bytes),
    }
    records = []
    for estimate, bits in zip(map(conditional_entropy, tables), held_out_bits, strict=True):
        ngram_bytes = sum(int(coded.byte_lengths[estimate.n - 1 :].sum()) for coded in counted)
        record = {
            **shared,
            "model": f"{estimate.n}-gram",
            "n": estimate.n,
            "n_samples": estimate.n_samples,
            "n_contexts": estimate.n_contexts,
            "n_grams": estimate.n_grams,
        }
        for name, nats in (
            ("plug_in", estimate.plug_in_nats),
            ("miller_madow", estimate.miller_madow_nats),
        ):
            per_token = nats / np.log(2)
            record[f"{name}_bits_per_token"] = float(per_token)
            record[f"{name}_bits_per_byte"] = float(per_token * estimate.n_samples / ngram_bytes)
        record["held_out_bits_per_token"] = float(bits / n_tokens)
        record["held_out_bits_per_byte"] = float(bits / n_bytes)
        record["held_out_bits_per_character"] = float(bits / n_characters)
        records.append(record)
    return records


def language_model_record(
    workdir: str | Path, corpus: Corpus, ngram_record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a run's own language model needs for the text that `ngram_record` is about.

    Of latents it is the model over the codes; what the codes leave open stands beside it.
    """
    metrics = score_corpus(load_run(workdir), corpus, "validation", ngram_record["n_bytes"])
    bits = metrics.get("language_model_bits_per_byte", metrics["bits_per_byte"])
    kept = ("method", "n_ids", "n_tokens", "bytes_per_token", "bytes_per_character")
    record = {
        **{key: ngram_record[key] for key in kept},
        "n_bytes": metrics["n_bytes"],
        "model": LANGUAGE_MODEL,
        "held_out_bits_per_token": bits * ngram_record["bytes_per_token"],
        "held_out_bits_per_byte": bits,
        "held_out_bits_per_character": bits * ngram_record["bytes_per_character"],
    }
    if "reconstruction_bits_per_byte" in metrics:
        record["reconstruction_bits_per_byte"] = metrics["reconstruction_bits_per_byte"]
    return record


def summarize(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one record for each text and code: n = 4, the best n, and the language model."""
    rows: dict[tuple[str | None, ...], dict[str, Any]] = {}
    for record in records:
        key = tuple(record.get(name) for name in ORIGIN)
        told = (*ORIGIN, *RUN_WORDS)
        row = rows.setdefault(key, {name: record[name] for name in told if name in record})
        if record["model"] == LANGUAGE_MODEL:
            row["language_model_bits_per_byte"] = record["held_out_bits_per_byte"]
            if "reconstruction_bits_per_byte" in record:
                row["reconstruction_bits_per_byte"] = record["reconstruction_bits_per_byte"]
            continue
        if record["held_out_bits_per_byte"] < row.get("best_bits_per_byte", np.inf):
            row["best_n"] = record["n"]
            row["best_bits_per_byte"] = record["held_out_bits_per_byte"]
        if record["n"] == SUMMARY_N:
            kept = (*SUMMARY_COLUMNS, "n_bytes")
            row.update({name: record[name] for name in kept if name in record})
    return [*rows.values(), *map(dict, FIFTY_2025)]


def entropy_and_print(
    methods: Sequence[str],
    workdirs: Sequence[str],
    *,
    files: Sequence[str] = (),
    texts: Sequence[str] = (),
    text_field: str = "text",
    max_n: int = 6,
    train_bytes: int = 0,
    validation_bytes: int = 0,
    cut_bytes: int = 0,
    m1: str = "",
    json_path: str | None = None,
    summary_path: str | None = None,
    out: str = "",
) -> list[dict[str, Any]]:
    """Estimate the entropy of every text in every code and print a table, and one of n = 4.

    Args:
        methods: literature names of tokenizers; those that learn, learn from the training text.
        workdirs: run folders.
        files: one text, or
        texts: several, each NAME=FILES.
        text_field: of .jsonl files.
        max_n: the longest n-grams.
        train_bytes: count in so many raw bytes of the training split; 0 = all.
        validation_bytes: score so many of the validation split; 0 = all.
        cut_bytes: cut documents into texts of so many bytes; 0 = none. Coders that run M1 for every
            byte code many texts at once, and are slow on one long text.
        m1: file of the byte model of coders; empty is the one that the package carries.
        json_path: also write the unrounded records there, after every code: a command that is
            stopped has lost one.
        summary_path: also write those of the second table there.
        out: folder for a picture; empty draws none.

    Raises:
        ValueError: a name or a folder is wrong, or a text cannot be read or is too short.
    """
    if summary_path and max_n < SUMMARY_N:
        raise ValueError(f"--summary is about {SUMMARY_N}-grams: set --n to {SUMMARY_N} or more")
    methods = [str(parse(name)) for name in methods]
    records = []
    for text, corpus in open_texts(files, texts, text_field).items():
        codes = open_codes(methods, workdirs, corpus=corpus, train_bytes=train_bytes, m1=m1)
        train = read_texts(corpus, "train", train_bytes, cut_bytes)
        validation = read_texts(corpus, "validation", validation_bytes, cut_bytes)
        n_bytes = len(codes) * sum(map(len, (*train, *validation)))
        with tqdm(total=n_bytes, unit="B", unit_scale=True, desc=text, leave=False) as bar:
            for index, code in enumerate(codes):
                bar.set_postfix_str(code.name)
                found = entropy_records(code, train, validation, max_n, bar)
                origin = {"text": text}
                if index >= len(methods):
                    workdir = workdirs[index - len(methods)]
                    origin |= {"run": str(workdir), **run_words(read_config(Path(workdir)))}
                    found.append(language_model_record(workdir, corpus, found[0]))
                records += [{**origin, **record} for record in found]
                if json_path:
                    write_json(records, json_path)
    print(text_table(records, [c for c in COLUMNS if any(c in record for record in records)]))
    if max_n >= SUMMARY_N:
        rows = summarize(records)
        print(f"\n{SUMMARY_N}-grams, and what Fifty 2025 states of its own:\n")
        print(text_table(rows, [c for c in SUMMARY_COLUMNS if any(c in row for row in rows)]))
        if summary_path:
            write_json(rows, summary_path)
    if out:
        print(write_entropy_figure(records, Path(out) / "entropy.png"))
    return records


def count_characters(texts: Sequence[bytes]) -> int:
    """Return how many code points UTF-8 texts have: bytes that continue none."""
    return sum(int(((np.frombuffer(text, np.uint8) & 0xC0) != 0x80).sum()) for text in texts)
