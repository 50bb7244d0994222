"""What models that cut their text by themselves cut: records of all questions, and of each run.

Each question is one kind of records, told apart by "part": how long chunks are ("chunks",
"lengths"), whether they end where words, pieces and morphemes do ("agreement"), what ids behind
boundaries cost ("surprisal", "places"), what another run cuts ("pair"), what noise costs ("noise"),
and a few places to look at ("view").
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.analysis.boundaries.agreement import (
    ByteEnds,
    Reference,
    agreement_records,
    byte_ends,
    pair_record,
)
from latent_jax.analysis.boundaries.figures import draw_all
from latent_jax.analysis.boundaries.seen import Seen, SeenStage, chunk_lengths
from latent_jax.analysis.boundaries.shown import show_parts
from latent_jax.analysis.boundaries.surprisal import enrichment_record, place_records
from latent_jax.analysis.boundaries.view import view_records
from latent_jax.analysis.codes import Records, Tables
from latent_jax.analysis.options import (
    NoisedTextOptions,
    option,
    tokenizer_option,
    train_bytes_option,
)

PIECES = "BPE[v=1024]"
"""The tokenizer whose pieces are compared with where none is named."""

LONGEST = 32
"""Bytes of a chunk from which on lengths share a record."""


@dataclasses.dataclass(frozen=True)
class BoundariesOptions(NoisedTextOptions):
    """Options of the analysis `boundaries`.

    Raises:
        ValueError: a number is below 0.
    """

    tokenizer: tuple[str, ...] = tokenizer_option()
    train_bytes: int = train_bytes_option()
    morphemes: str = option(
        "", "File of words in pieces, one word a line, as in un|break|able; empty = none."
    )
    shown: int = option(3, "Places of each text to show with their chunks.", lower_bound=0)


def measure(
    seen: Seen, references: Sequence[Reference], places: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Return the records of one run on one text, but for noise and other runs.

    Args:
        seen: what it cuts.
        references: of the same text.
        places: to be shown, see `view.sample_places`.
    """
    records = []
    for number, stage in enumerate(seen.stages, 1):
        ends = byte_ends(seen, stage)
        lengths = chunk_lengths(seen, stage)
        own = [("chunks", chunk_record(seen, stage, lengths))]
        own += [("lengths", record) for record in length_records(lengths)]
        own += [("agreement", r) for each in references for r in agreement_records(ends, each)]
        own += [("surprisal", enrichment_record(seen, stage))]
        own += [("places", record) for record in place_records(seen, stage)]
        records += [{"part": part, "stage": number, **record} for part, record in own]
    return records + [{"part": "view", **record} for record in view_records(seen, places)]


def chunk_record(seen: Seen, stage: SeenStage, lengths: np.ndarray) -> dict[str, Any]:
    """Return how long chunks are, and the share of boundaries that found no room.

    "bytes_per_chunk" counts all chunks, as the metrics of a run do. The coefficient of variation,
    standard deviation over mean, and the median are of chunks that begin and end by a decision.

    Args:
        seen: what a run cuts.
        stage: of it.
        lengths: from `chunk_lengths`.
    """
    is_there = len(lengths) > 0
    asked = stage.n_chunks + stage.n_dropped
    return {
        "n_bytes": int(seen.bytes_N.sum()),
        "n_chunks": stage.n_chunks,
        "bytes_per_chunk": float(seen.bytes_N.sum() / max(stage.n_chunks, 1)),
        "n_whole_chunks": len(lengths),
        "whole_chunk_bytes": float(lengths.mean()) if is_there else None,
        "whole_chunk_bytes_median": float(np.median(lengths)) if is_there else None,
        "whole_chunk_bytes_largest": int(lengths.max()) if is_there else None,
        "variation_ratio": float(lengths.std() / lengths.mean()) if is_there else None,
        "overflow_share": float(stage.n_dropped / max(asked, 1)),
    }


def length_records(lengths: np.ndarray) -> list[dict[str, Any]]:
    """Return the share of chunks of each length; those of `LONGEST` bytes and more share one."""
    counts = np.bincount(np.minimum(lengths, LONGEST), minlength=LONGEST + 1)
    last = min(int(lengths.max(initial=0)), LONGEST)
    return [
        {
            "length_bytes": length,
            "is_this_and_longer": length == LONGEST,
            "chunks_share": float(counts[length] / len(lengths)),
        }
        for length in range(1, last + 1)
    ]


def pair_records(ends: Mapping[str, Sequence[ByteEnds]]) -> list[dict[str, Any]]:
    """Return a record for each pair of runs on one text and each stage that both have.

    Args:
        ends: run folder -> the ends of its chunks by stage.
    """
    records = []
    runs = [*ends]
    for index, one in enumerate(runs):
        for other in runs[index + 1 :]:
            for stage, pair in enumerate(zip(ends[one], ends[other], strict=False), 1):
                origin = {"part": "pair", "run": one, "other_run": other, "stage": stage}
                records.append(origin | pair_record(*pair))
    return records


def noise_records(metrics: Mapping[str, Mapping[str, Any]], seed: int) -> Records:
    """Return a record for each noise: bits per byte of the noised text, and what it adds.

    Args:
        metrics: noise -> metrics of the run on the noised text, with "n_bytes"; "none" first.
        seed: of the noise.
    """
    records = []
    for noise, found in metrics.items():
        bits = found["bits_per_byte"]
        added = bits - metrics["none"]["bits_per_byte"]
        lengths = {key: found[key] for key in found if key.startswith("bytes_per_chunk")}
        record = {"noise": noise, "n_noised_bytes": found["n_bytes"], "bits_per_byte": bits}
        records.append(
            {"part": "noise", **record, "added_bits_per_byte": added, **lengths, "seed": seed}
        )
    return records


def show(tables: Tables) -> str:
    """Return the tables of all runs, and the places in colour where the terminal has it."""
    return show_parts(tables["boundaries"])


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw chunks, agreement, noise and the places."""
    return draw_all(tables["boundaries"], folder, "boundaries")
