"""How often each symbol of a code is used, by rank (Zipf 1949)."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latent_jax.analysis.codes import Code, Tables, encode_texts
from latent_jax.analysis.options import CodeOptions
from latent_jax.reports import panels, style
from latent_jax.reports.tables import text_table

COLUMNS = (
    *("code", "n_tokens", "n_ids", "used_ids_share", "top_share"),
    *("entropy_bits_per_token", "zipf_exponent"),
)

N_DRAWN = 1000
"""Ranks of a code that are drawn; on a logarithmic axis more cannot be seen."""


@dataclasses.dataclass(frozen=True)
class ZipfOptions(CodeOptions):
    """Options of the analysis `zipf`; it adds none."""


def measure(code: Code, texts: Sequence[bytes]) -> Tables:
    """Return `measure_ids` of the ids of texts in a code."""
    ids = np.concatenate([coded.ids for coded in encode_texts(code, texts)])
    return measure_ids(code.name, ids, code.n_ids)


def measure_ids(name: str, ids: np.ndarray, n_ids: int) -> Tables:
    """Return a record of "zipf" for symbols, and "ranks", the shares of some of them by rank.

    Args:
        name: of the code.
        ids: int32[n], in [0, n_ids).
        n_ids: how many ids there are.
    """
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
    ranks = np.unique(np.geomspace(1, len(shares), N_DRAWN).astype(int))
    drawn = [{"code": name, "rank": int(n), "share": float(shares[n - 1])} for n in ranks]
    return {"zipf": [record], "ranks": drawn}


def rank_frequencies(ids: np.ndarray, n_ids: int) -> np.ndarray:
    """Return the shares of the ids that occur, largest first, float64[used]; they add up to 1."""
    counts = np.sort(np.bincount(ids, minlength=n_ids))[::-1]
    return counts[counts > 0] / max(1, len(ids))


def word_ids(texts: Sequence[bytes]) -> tuple[np.ndarray, int]:
    """Return the words of texts as ids, int32[n], grouped by word, and how many different words.

    A word is a run of letters, digits and underscores, or one other character that is no space.
    """
    found = Counter(re.findall(r"\w+|[^\w\s]", b"\n".join(texts).decode("utf-8", "replace")))
    counts = np.array([*found.values()], np.int64)
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts), len(counts)


def exponent(shares: np.ndarray, first: int = 10, last: int = 1000) -> float | None:
    """Return s of share ~ rank^-s: least squares in logarithms over ranks `first` to `last`.

    Ranks are weighted by 1 / rank, so that each octave counts the same. The result is None if fewer
    than two of these ranks are used.
    """
    ranks = np.arange(first, min(last, len(shares)) + 1)
    if len(ranks) < 2:
        return None
    x, y, w = np.log(ranks), np.log(shares[ranks - 1]), 1 / ranks
    x_mean, y_mean = np.average(x, weights=w), np.average(y, weights=w)
    return float(-np.sum(w * (x - x_mean) * (y - y_mean)) / np.sum(w * (x - x_mean) ** 2))


def show(tables: Tables) -> str:
    """Return the table of all codes."""
    return text_table(tables["zipf"], COLUMNS)


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw the share of every symbol against its rank, both logarithmic."""
    ranks = tables["ranks"]
    with style.house_style():
        figure, (axes,) = panels.line_panels(
            "Symbols by rank", "the share of each symbol of a code, largest first"
        )
        axes.set(xscale="log", yscale="log", xlabel="rank")
        ends = panels.plot_lines(axes, panels.lines_of(ranks, "code", "rank", "share"), marker="")
        first, last = max(record["share"] for record in ranks), max(r["rank"] for r in ranks)
        axes.plot([1, last], [first, first / last], color=style.QUIET, linewidth=0.8, linestyle=":")
        axes.annotate("1 / rank", (last**0.5, first / last**0.5), color=style.QUIET, size=8)
        axes.set_ylim(bottom=min(record["share"] for record in ranks) / 2)
        style.label_ends(axes, ends)
        return [style.save(figure, folder / "zipf.png")]
