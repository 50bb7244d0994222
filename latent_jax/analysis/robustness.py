"""Bits per byte of any run under noise: records of the analysis `robustness`.

All runs read the same noised bytes, so that their bits per raw byte of the noised text can be
compared, whatever their ids are. Intervals are over documents: these are divided into groups, each
of which begins a row of its own, and each group is one observation of a ratio estimator (the random
groups of Wolter 2007, "Introduction to Variance Estimation", chapter 2), with Student's t because
groups are few. What noise adds is measured on the same groups with and without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latent_jax.analysis.boundaries.figures import draw_all
from latent_jax.analysis.boundaries.shown import show_parts
from latent_jax.analysis.codes import Records, Tables
from latent_jax.analysis.intervals import added_error, ratio_error
from latent_jax.reports.paired import students_t

MOST_GROUPS = 32
"""Of documents. More would leave more rows half empty, and make intervals little better."""


class Scored(NamedTuple):
    """What a run needs for each of G groups of documents.

    Attributes:
        bits_G: float64.
        bytes_G: int64, raw bytes, of the noised text.
    """

    bits_G: np.ndarray
    bytes_G: np.ndarray


def grouped(texts: Sequence[bytes]) -> list[list[bytes]]:
    """Return the documents in order, in at most `MOST_GROUPS` groups of about as many bytes.

    None is empty; a group has at least one document.
    """
    ends_N = np.cumsum([len(text) for text in texts], dtype=np.int64)
    middles_N = ends_N - np.array([len(text) for text in texts]) / 2
    group_N = np.minimum(middles_N * MOST_GROUPS // max(int(ends_N[-1]), 1), MOST_GROUPS - 1)
    found: dict[int, list[bytes]] = {}
    for group, text in zip(group_N, texts, strict=True):
        found.setdefault(int(group), []).append(text)
    return [*found.values()]


def robustness_records(
    scored: Mapping[str, Scored], n_documents: int, seed: int
) -> list[dict[str, Any]]:
    """Return a record for each noise: bits per byte, and what the noise adds, with 95 % intervals.

    The ends of the interval of "x" are "x_low" and "x_high", which a single group does not have.

    Args:
        scored: noise -> bits of all groups, in one order; "none" among them.
        n_documents: of the text.
        seed: of the noise.
    """
    plain = scored["none"]
    records = []
    for noise, own in scored.items():
        measured = {
            "bits_per_byte": ratio_error(own.bits_G, own.bytes_G),
            "added_bits_per_byte": added_error(*own, *plain),
        }
        record: dict[str, Any] = {"part": "noise", "noise": noise}
        record |= {"n_documents": n_documents, "n_groups": len(own.bits_G)}
        record["n_noised_bytes"] = int(own.bytes_G.sum())
        for name, (mean, error) in measured.items():
            record[name] = mean
            if error is not None:
                half = students_t(len(own.bits_G)) * error
                record |= {f"{name}_low": mean - half, f"{name}_high": mean + half}
        records.append(record | {"seed": seed})
    return records


def show(tables: Tables) -> str:
    """Return a table with a row for each run and text, and what the intervals are of."""
    records: Records = tables["robustness"]
    n_groups = min(record["n_groups"] for record in records)
    said = "One document has no interval: give a text of several, or more of it by --max_bytes."
    if n_groups > 1:
        said = f"±: half of a 95 % interval over documents, in {n_groups} groups or more"
    return f"{show_parts(records)}\n\n{said}"


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw bits per byte with and without noise."""
    return draw_all(tables["robustness"], folder, "robustness")
