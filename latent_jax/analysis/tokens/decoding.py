"""Runs of neighbouring ids, decoded without the rest of their text.

Fifty 2025, "Mapping Latent Tokens to English": single latent tokens decode to gibberish, sequences
of them to text. Here every code is tested: a run is cut out of an encoded text and decoded alone,
and the result is compared with the bytes that the run covers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rapidfuzz.distance import Levenshtein

from latent_jax.analysis.codes import Code, Coded, Records
from latent_jax.reports.page.analyses import METHOD, figure_id, is_number, ordered
from latent_jax.reports.page.charts import Axis
from latent_jax.reports.page.charts import lines as page_lines
from latent_jax.reports.page.parts import Figure as PageFigure
from latent_jax.reports.panels import line_panels, plot_lines
from latent_jax.reports.style import label_ends

RUNS = (1, 2, 4, 8, 16, 64)

ERROR = "decoding_error_share"


def decode_each(code: Code, batch: Sequence[np.ndarray]) -> list[bytes | None]:
    """Return the text of each sequence of ids; None for one that does not decode.

    Deflate has such sequences: ids from the middle of its streams mostly do not form a header.
    """
    try:
        return list(code.decode(batch))
    except ValueError:
        return [_decode_one(code, ids) for ids in batch]


def _decode_one(code: Code, ids: np.ndarray) -> bytes | None:
    try:
        return code.decode([ids])[0]
    except ValueError:
        return None


def decoding_scores(
    code: Code,
    texts: Sequence[bytes],
    coded: Sequence[Coded],
    *,
    runs: Sequence[int] = RUNS,
    n_samples: int = 200,
    from_windows: bool = False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the errors of runs that are decoded alone, for each length of runs.

    The error is the Levenshtein distance in bytes between the decoded text and the bytes that the
    run covers, as a share of the longer of the two; both are summed over runs. 0 is right; 1 has
    nothing in common or cannot be decoded.

    Args:
        code: of the texts.
        texts: documents.
        coded: the texts in the code.
        runs: lengths of runs in ids.
        n_samples: runs of each length, drawn with replacement from all runs.
        from_windows: whether to draw only runs that begin with a window.
        seed: of the places.

    Returns:
        Records of "run_tokens", "decoding_error_share", "exact_share" (among runs that cover at
        least one byte) and "undecodable_share"; lengths that no text has are left out.
    """
    generator = np.random.default_rng(seed)
    step = code.window_tokens if from_windows else 1
    records = []
    for run in runs:
        places = [-(-max(len(c.ids) - run + 1, 0) // step) for c in coded]
        ends = np.cumsum(places)
        if not len(ends) or ends[-1] == 0:
            continue
        drawn = generator.integers(ends[-1], size=n_samples)
        owners = np.searchsorted(ends, drawn, side="right")
        firsts = (drawn - (ends - places)[owners]) * step
        pieces, covers = [], []
        for owner, first in zip(owners, firsts, strict=True):
            lengths = coded[owner].byte_lengths
            start = int(lengths[:first].sum(dtype=np.int64))
            stop = start + int(lengths[first : first + run].sum(dtype=np.int64))
            pieces.append(coded[owner].ids[first : first + run])
            covers.append(texts[owner][start:stop])
        decoded = decode_each(code, pieces)
        records.append({"run_tokens": run, **_errors(decoded, covers)})
    return records


def _errors(decoded: Sequence[bytes | None], covers: Sequence[bytes]) -> dict[str, float | None]:
    wrong = total = 0
    for text, cover in zip(decoded, covers, strict=True):
        longer = max(len(text or b""), len(cover))
        wrong += longer if text is None else Levenshtein.distance(text, cover)
        total += longer
    exact = [text == cover for text, cover in zip(decoded, covers, strict=True) if cover]
    return {
        "decoding_error_share": wrong / total if total else 0.0,
        "exact_share": float(np.mean(exact)) if exact else None,
        "undecodable_share": float(np.mean([text is None for text in decoded])),
    }


def decoding_records(
    code: Code, texts: Sequence[bytes], coded: Sequence[Coded], n_samples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record for runs that begin anywhere, and one for runs that begin with a window.

    The keys are those of `decoding_scores` with the length of the run, such as
    "decoding_error_share@16".
    """
    records = []
    for from_windows in (False, True) if code.window_tokens > 1 else (False,):
        words = dict(n_samples=n_samples, from_windows=from_windows, seed=seed)
        record = {"begins": "with a window" if from_windows else "anywhere"}
        for scores in decoding_scores(code, texts, coded, **words):
            run = scores.pop("run_tokens")
            record |= {f"{key}@{run}": value for key, value in scores.items()}
        records.append(record)
    return records


def exhibit(
    code: Code, sentence: bytes, runs: Sequence[int] = (1, 2, 4, 8)
) -> dict[int, list[bytes | None]]:
    """Return a sentence cut into runs of each length, each run decoded alone; 0 = all ids."""
    ids = code.encode([sentence])[0].ids
    parts = {run: [ids[at : at + run] for at in range(0, len(ids), run)] for run in runs}
    parts[0] = [ids]
    decoded = iter(decode_each(code, [piece for pieces in parts.values() for piece in pieces]))
    return {run: [next(decoded) for _ in pieces] for run, pieces in parts.items()}


def errors_by_run(record: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Return pairs of the length of runs and their error, the shortest first."""
    runs = [(key.partition("@")[2], value) for key, value in record.items() if f"{ERROR}@" in key]
    return sorted((int(run), value) for run, value in runs if is_number(value))


def decoding_figure(records: Records) -> Figure:
    """Draw errors over the length of runs, one line for each code."""
    figure, (axes,) = line_panels(
        "Runs of ids decoded alone",
        "Levenshtein distance to the bytes that they cover, as a share of the longer of the two",
        height=5.2,
    )
    axes.set_xscale("log", base=2)
    lines = {}
    for record in records:
        if points := errors_by_run(record):
            lines[record["method"]] = tuple(zip(*points, strict=True))
    ends = plot_lines(axes, lines)
    axes.set_xticks(sorted({run for runs, _ in lines.values() for run in runs}))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("ids in a run")
    label_ends(axes, ends, size=7.5)
    return figure


def decoding_page_figures(stem: str, records: Records) -> list[PageFigure]:
    """Return the same figure for a page; [] for other records."""
    rows = [
        {METHOD: record[METHOD], "run_tokens": run, ERROR: error}
        for record in records
        for run, error in errors_by_run(record)
    ]
    if not rows:
        return []
    rows = ordered(rows, "run_tokens", ERROR)
    ticks = sorted({row["run_tokens"] for row in rows})
    x = Axis("run_tokens", "tokens in the run", is_log=True, format="d", ticks=ticks)
    y = Axis(ERROR, "share of bytes that come out wrong", format=".0%")
    title = "Tokens decoded without those before them"
    caption = "0 is a code whose ids mean one text."
    return [page_lines(figure_id(stem), title, caption, rows, x, y, METHOD)]
