"""A few places of a text as a run cuts them, byte by byte: flat records, and pieces to be shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latent_jax.analysis.boundaries.agreement import byte_ends
from latent_jax.analysis.boundaries.seen import Seen
from latent_jax.reports.cut_text import Piece, characters, shown

SHOWN_BYTES = 320
"""Of each place, at most."""

SHOWN_STAGES = 2
"""Chunks have tints, and those of the second stage underlines; later stages have tables only."""

_NOTHING = "-"


def sample_places(texts: Sequence[bytes], n_samples: int) -> list[tuple[int, int]]:
    """Return starts of lines that are spread over a text, as (start, stop) of what is shown.

    Args:
        texts: documents; the places are in all of them joined.
        n_samples: places, at most; 0 = none.
    """
    text = b"".join(texts)
    found = {}
    for number in range(n_samples):
        at = number * len(text) // n_samples
        line_end = text.find(b"\n", max(at - 1, 0), at + SHOWN_BYTES) if at else -1
        start = line_end + 1 if 0 <= line_end < len(text) - 1 else at
        found[start] = min(start + SHOWN_BYTES, len(text))
    return [*found.items()]


def view_records(seen: Seen, places: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return a record for each place: its bytes, where chunks end, nats, and probabilities.

    Lists are texts with spaces between their items; "-" is nothing. Nats of an id of several bytes
    stand at its last one. A chunk that a row cuts off ends there.
    """
    stages = seen.stages[:SHOWN_STAGES]
    nats_T, stops_T = _of_last_bytes(seen, seen.nats_N), _stretch_stops(seen)
    ends = [byte_ends(seen, stage).ends_T | stops_T for stage in stages]
    probabilities = [_of_last_bytes(seen, stage.p_N) for stage in stages]
    records = []
    for number, (start, stop) in enumerate(places, 1):
        record = {
            "sample": number,
            "bytes_hex": seen.text[start:stop].hex(),
            "nats": _listed(nats_T[start:stop]),
        }
        for stage, (ends_T, p_T) in enumerate(zip(ends, probabilities, strict=True), 1):
            at = np.flatnonzero(ends_T[start:stop]) + 1
            record[f"ends_{stage}"] = " ".join(map(str, at))
            record[f"probabilities_{stage}"] = _listed(p_T[start:stop])
        records.append(record)
    return records


def pieces_of(record: Mapping[str, Any]) -> list[Piece]:
    """Return the characters of a record of `view_records`, with what is known of each."""
    text, nats = bytes.fromhex(record["bytes_hex"]), record["nats"].split()
    n_stages = 1 + ("ends_2" in record)
    stages = range(1, n_stages + 1)
    ends = [{int(at) for at in record[f"ends_{stage}"].split()} for stage in stages]
    probabilities = [record[f"probabilities_{stage}"].split() for stage in stages]
    found, chunks = [], [0] * n_stages
    for start, stop in characters(text, ends[0]):
        known = [float(word) for word in nats[start:stop] if word != _NOTHING]
        said = [f"{sum(known):.2f} nats"] if known else []
        for stage, words in enumerate(probabilities, 1):
            if words[stop - 1] != _NOTHING:
                of = f" of stage {stage}" if n_stages > 1 else ""
                said.append(f"boundary{of} behind it: {words[stop - 1]}")
        word, is_mark = shown(text[start:stop])
        outer = chunks[1] if n_stages > 1 else 0
        found.append(Piece(word, chunks[0], outer, ", ".join(said), is_mark))
        for stage, own in enumerate(ends):
            chunks[stage] += stop in own
    return found


def _of_last_bytes(seen: Seen, x_N: np.ndarray) -> np.ndarray:
    """Return the numbers of ids at their last bytes; NaN elsewhere."""
    x_T = np.full(int(seen.bytes_N.sum()), np.nan)
    is_text_N = seen.bytes_N > 0
    x_T[(np.cumsum(seen.bytes_N) - 1)[is_text_N]] = x_N[is_text_N]
    return x_T


def _stretch_stops(seen: Seen) -> np.ndarray:
    """Return bool for each byte, whether a row or a document ends with it."""
    stretch_T = np.repeat(seen.stretch_N, seen.bytes_N)
    return np.append(stretch_T[1:] != stretch_T[:-1], True)


def _listed(x_T: np.ndarray) -> str:
    return " ".join(_NOTHING if np.isnan(x) else f"{x:.2f}" for x in x_T)
