"""`launch/analyze.py zipf`: how often the symbols of each code are used, beside words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.analysis.codes import Code
from latent_jax.analysis.zipf import exponent, rank_frequencies, word_ids
from latent_jax.experiments.analyze.opening import open_codes, open_text, read_texts
from latent_jax.reports.inside_figures import write_zipf_figure
from latent_jax.reports.tables import text_table, write_json

COLUMNS = (
    "code",
    "n_tokens",
    "n_ids",
    "used_ids_share",
    "top_share",
    "entropy_bits_per_token",
    "zipf_exponent",
)


def zipf(codes: Sequence[Code], texts: Sequence[bytes]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return a record and the shares by rank of words and of each code on the same texts."""
    named = [("words", *word_ids(texts))]
    for code in codes:
        ids = np.concatenate([coded.ids for coded in code.encode(texts)])
        named.append((code.name, ids, code.n_ids))
    found = []
    for name, ids, n_ids in named:
        shares = rank_frequencies(ids, n_ids)
        record = {
            "code": name,
            "n_tokens": len(ids),
            "n_ids": n_ids,
            "used_ids_share": len(shares) / n_ids,
            "top_share": float(shares[0]),
            "entropy_bits_per_token": float(-(shares * np.log2(shares)).sum()),
            "zipf_exponent": exponent(shares),
        }
        found.append((record, shares))
    return found


def zipf_and_print(
    methods: Sequence[str],
    workdirs: Sequence[str | Path],
    files: Sequence[str],
    *,
    text_field: str = "text",
    train_bytes: int = 0,
    max_bytes: int = 0,
    cut_bytes: int = 0,
    m1: str = "",
    json_path: str | None = None,
    out: str = "",
) -> None:
    """Print `zipf`, and draw it into the folder `out` where one is named.

    Raises:
        ValueError: see `open_codes` and `open_text`.
    """
    corpus = open_text(files, text_field)
    codes = open_codes(methods, workdirs, corpus=corpus, train_bytes=train_bytes, m1=m1)
    found = zipf(codes, read_texts(corpus, "validation", max_bytes, cut_bytes))
    records = [record for record, _ in found]
    print(text_table(records, COLUMNS))
    if json_path:
        write_json(records, json_path)
    if out:
        shares = {record["code"]: shares for record, shares in found}
        print(write_zipf_figure(shares, Path(out) / "zipf.png"))
