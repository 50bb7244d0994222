"""Vocabularies, for codes whose ids stand for one text each: lengths of texts, and their use."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latent_jax.analysis.codes import Coded, Records
from latent_jax.reports.page.analyses import METHOD, figure_id, has, ordered
from latent_jax.reports.page.charts import Axis, lines
from latent_jax.reports.page.parts import Figure as PageFigure
from latent_jax.reports.panels import note, row_panels
from latent_jax.reports.style import INK, PALETTE


def length_records(
    pieces: Sequence[bytes], coded: Sequence[Coded]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return how many ids and how many tokens of a text have each length in bytes.

    Args:
        pieces: the text of each id.
        coded: a text in that code.

    Returns:
        Records of "piece_bytes", "n_ids", "n_used_ids" and "n_tokens", for each length that occurs;
        and how often each id is used, int64[n_ids].
    """
    ids = np.concatenate([np.zeros(0, np.int64), *(code.ids for code in coded)]).astype(np.int64)
    uses = np.bincount(ids, minlength=len(pieces))
    lengths = np.array([*map(len, pieces)])
    longest = int(lengths.max())
    n_ids = np.bincount(lengths, minlength=longest + 1)
    n_used = np.bincount(lengths[uses > 0], minlength=longest + 1)
    n_tokens = np.bincount(lengths, uses, minlength=longest + 1).astype(np.int64)
    records = [
        {
            "piece_bytes": length,
            "n_ids": int(n_ids[length]),
            "n_used_ids": int(n_used[length]),
            "n_tokens": int(n_tokens[length]),
        }
        for length in range(longest + 1)
        if n_ids[length]
    ]
    return records, uses


def longest_pieces(pieces: Sequence[bytes], n: int) -> list[int]:
    """Return the ids of the `n` longest texts, the lower id first among equals."""
    return sorted(range(len(pieces)), key=lambda id_: (-len(pieces[id_]), id_))[:n]


def most_used_pieces(uses: np.ndarray, n: int) -> list[int]:
    """Return the ids of the `n` most used texts, the lower id first among equals."""
    return np.argsort(-uses, kind="stable")[:n].tolist()


def vocabulary_figure(records: Records) -> Figure:
    """Draw the lengths of the vocabulary's texts and of a text's tokens, a row for each code."""
    methods = list(dict.fromkeys(record["method"] for record in records))
    figure, rows = row_panels(
        "Lengths of the texts that ids stand for",
        "Left: share of the vocabulary. Right: share of the tokens of held-out text",
        n_rows=len(methods),
        row_height=0.9,
        hspace=0.3,
    )
    for index, (method, row) in enumerate(zip(methods, rows, strict=True)):
        own = [record for record in records if record["method"] == method]
        for axes, key in zip(row, ("n_ids", "n_tokens"), strict=True):
            _draw_lengths(axes, own, key, PALETTE[index % len(PALETTE)])
        row[0].set_ylabel(method, rotation=0, ha="right", va="center", color=INK)
    for axes in rows[-1]:
        axes.set_xlabel("bytes")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _draw_lengths(axes: Axes, records: Records, key: str, colour: str) -> None:
    total = max(sum(record[key] for record in records), 1)
    sizes = [record["piece_bytes"] for record in records]
    axes.bar(sizes, [record[key] / total for record in records], 0.8, color=colour)
    note(axes, f"mean {sum(r['piece_bytes'] * r[key] for r in records) / total:.2f}")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def vocabulary_page_figures(stem: str, records: Records) -> list[PageFigure]:
    """Return a page's figure of the share of tokens of each length; [] for other records."""
    if not has(records, METHOD, "piece_bytes", "n_tokens"):
        return []
    totals: dict[str, float] = {}
    for row in records:
        totals[row[METHOD]] = totals.get(row[METHOD], 0) + row["n_tokens"]
    rows = [
        {**row, "tokens_share": row["n_tokens"] / totals[row[METHOD]]}
        for row in ordered(records, "piece_bytes", "n_tokens")
        if totals[row[METHOD]]
    ]
    x = Axis("piece_bytes", "bytes of a token", format="d")
    y = Axis("tokens_share", "share of all tokens", format=".0%")
    title, caption = "How long tokens are", "By use in the text."
    return [lines(figure_id(stem), title, caption, rows, x, y, METHOD, with_values=False)]
