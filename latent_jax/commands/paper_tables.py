"""Tables that follow from what Lester et al. 2024 print, computed and not typed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_jax.methods.lester_2024 import (
    BEST_BITS_PER_BYTE,
    DATASETS,
    NOMINAL_TOKENS,
    PEER_PERPLEXITIES,
    expected_short_share,
)
from latent_jax.reports.command import RESULTS_FOLDER
from latent_jax.reports.results import refresh_tables
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tasks.losses import perplexity

PAPERS = ("lester_2024",)

Records = list[dict[str, Any]]

BEST = "SentencePiece[v=32000]"


def report_paper(
    folders: Sequence[str], paper: str, *, results: str | None = None, readme: str | None = None
) -> None:
    """Print the tables of a paper, keep their records, and refresh those of a page.

    Args:
        folders: none; the paper's own numbers are in the package.
        paper: one of `PAPERS`.
        results: a file NAME.json, or None; the records of each table are written beside it as
            NAME_TABLE.json.
        readme: Markdown page whose marked tables are refreshed, or None.

    Raises:
        ValueError: folders are named.
    """
    if folders:
        raise ValueError(f"--paper={paper} reads no folder: leave out {' '.join(folders)}")
    for name, records in (("datasets", datasets()), ("perplexity", perplexities())):
        print(f"\n{name}\n\n{text_table(records)}")
        if results:
            path = Path(results)
            print(write_table(records, path.with_name(f"{path.stem}_{name}.json")))
    if readme:
        print(f"{readme}: {', '.join(refresh_tables(readme, RESULTS_FOLDER))}")


def datasets() -> Records:
    """Return one row per method: the paper's tokens and bytes, and how many tokens are padding."""
    return [
        {
            "method": method,
            "paper_bytes_per_token": row.bytes_per_token,
            "paper_tokens": row.tokens,
            "paper_bytes": row.bytes,
            "paper_short_share": 1 - row.tokens / NOMINAL_TOKENS,
            "expected_short_share": expected_short_share(row.bytes_per_token),
        }
        for method, row in DATASETS.items()
    ]


def perplexities() -> Records:
    """Return the perplexity of the paper's best model, and those that slides set beside it.

    The slides take 2 to the nats per token, where the base is e, and set it beside perplexities in
    base e. "two_to_the_nats" is that number; "bits_per_byte_at_its_length" is what a model would
    need if its tokens were as long as those of the first row.
    """
    ratio = DATASETS[BEST].bytes_per_token
    told = {f"{BEST} 2b": perplexity(BEST_BITS_PER_BYTE, ratio), **PEER_PERPLEXITIES}
    first = told[f"{BEST} 2b"]
    return [
        {
            "name": name,
            "bits_per_byte_at_its_length": math.log2(value) / ratio,
            "nats_per_token": math.log(value),
            "perplexity_per_token": value,
            "two_to_the_nats": 2 ** math.log(value),
            "times_first": value / first,
        }
        for name, value in told.items()
    ]
