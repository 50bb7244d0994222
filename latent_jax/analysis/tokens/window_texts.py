"""The windows in which an id stands, by its place in them, with their whole texts.

Lester et al. 2024, appendix D.8: an id at the first place of a window of equal information goes
with windows that begin alike, at a later place with anything. A code without windows has windows of
one token, so the text that the token covers is shown.
"""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np

from latent_jax.analysis.codes import Code, Coded, Records
from latent_jax.reports.page.analyses import METHOD, figure_id, has, ordered
from latent_jax.reports.page.charts import Axis, lines
from latent_jax.reports.page.parts import Figure as PageFigure
from latent_jax.spelling import printable

N_SHOWN = 8
"""Windows of an id that are shown; fewer where they are long."""
MOST_CHARACTERS = 120


def read_ids(words: Sequence[str]) -> list[int]:
    """Return the ids that an option names.

    Raises:
        ValueError: one is no id.
    """
    wrong = next((word for word in words if not (word.isascii() and word.isdigit())), None)
    if wrong is not None:
        raise ValueError(f"--ids={','.join(words)}: {wrong!r} is no id; write --ids=151,185")
    return [*map(int, words)]


def window_text_records(
    code: Code, texts: Sequence[bytes], coded: Sequence[Coded], ids: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Return a record for each id of the code and each place in windows.

    Args:
        code: of the texts.
        texts: documents; each begins with a window.
        coded: the texts in the code.
        ids: the ids; of one that the code does not have, a record says so.
        seed: of the choice of the windows that are shown, in the order of the text.

    Returns:
        Records of "token_id", "window_position" (from 1), "n_windows", "n_window_texts",
        "same_window_probability" (that two of the windows have the same text),
        "shared_window_bytes" (the mean number of bytes with which two of them begin alike) and
        "window_texts". The two means are None for fewer than two windows. Of an id that the texts
        do not have, the text is shown if it has but one.
    """
    places: dict[tuple[int, int], list[bytes]] = {
        (id_, place): [] for id_ in ids if id_ < code.n_ids for place in range(code.window_tokens)
    }
    for text, one in zip(texts, coded, strict=True):
        ends = np.cumsum(one.byte_lengths, dtype=np.int64)
        for at in np.flatnonzero(np.isin(one.ids, ids)).tolist():
            window, place = divmod(at, code.window_tokens)
            first = window * code.window_tokens
            last = min(first + code.window_tokens, len(ends)) - 1
            start = int(ends[first - 1]) if first else 0
            places[int(one.ids[at]), place].append(text[start : int(ends[last])])
    generator = np.random.default_rng(seed)
    records = [
        {
            "token_id": id_,
            "window_position": place + 1,
            "n_windows": len(windows),
            "n_window_texts": len(set(windows)),
            **_likeness(windows),
            "window_texts": _shown(windows, generator) or _meant(code, id_),
        }
        for (id_, place), windows in places.items()
    ]
    absent = {"window_position": 1, "n_windows": 0, "n_window_texts": 0, **_likeness([])}
    said = f"the code has the ids 0 to {code.n_ids - 1}"
    records += [
        {"token_id": id_, **absent, "window_texts": said} for id_ in ids if id_ >= code.n_ids
    ]
    return records


def _likeness(windows: Sequence[bytes]) -> dict[str, float | None]:
    """Return how alike two different windows are on average."""
    n_pairs = len(windows) * (len(windows) - 1)
    if not n_pairs:
        return {"same_window_probability": None, "shared_window_bytes": None}

    def pairs(texts) -> int:
        return sum(count * (count - 1) for count in collections.Counter(texts).values())

    # A pair that begins with n equal bytes is counted once for each of the lengths 1 to n.
    shared = sum(
        pairs(window[:length] for window in windows if len(window) >= length)
        for length in range(1, max(map(len, windows)) + 1)
    )
    return {
        "same_window_probability": pairs(windows) / n_pairs,
        "shared_window_bytes": shared / n_pairs,
    }


def _meant(code: Code, id_: int) -> str:
    return f"[{printable(code.pieces[id_])}]" if code.pieces is not None else ""


def _shown(windows: Sequence[bytes], generator: np.random.Generator) -> str:
    """Return some of the windows in brackets, in the order of the text."""
    n_shown = min(N_SHOWN, len(windows))
    drawn = np.sort(generator.choice(len(windows), n_shown, replace=False)) if n_shown else ()
    shown: list[str] = []
    for i in drawn:
        shown.append(f"[{printable(windows[i])}]")
        if len(" / ".join(shown)) > MOST_CHARACTERS:
            break
    return " / ".join(shown)


def window_page_figures(stem: str, records: Records) -> list[PageFigure]:
    """Return a page's figure of how alike windows with one id begin; [] for other records."""
    if not has(records, METHOD, "window_position", "shared_window_bytes"):
        return []
    found: dict[tuple[str, int], list[float]] = {}
    for record in ordered(records, "window_position", "shared_window_bytes"):
        place = record[METHOD], record["window_position"]
        found.setdefault(place, []).append(record["shared_window_bytes"])
    rows = [
        {METHOD: method, "window_position": place, "shared_window_bytes": float(np.mean(values))}
        for (method, place), values in found.items()
    ]
    ticks = sorted({row["window_position"] for row in rows})
    x = Axis("window_position", "place of the id in its window", format="d", ticks=ticks)
    y = Axis("shared_window_bytes", "bytes with which two windows begin alike", format=".1f")
    title = "What windows with the same id have in common"
    caption = "Mean over the ids of the table below, which has some of the windows."
    return [lines(figure_id(stem), title, caption, rows, x, y, METHOD)]
