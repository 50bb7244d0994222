"""Speed of writing, in raw bytes per second, of trained runs of any method, in turns.

A run that cuts bytes into chunks pays for its main network as often as it cuts. So its FLOPs per
byte are those of the chunks that it made of the prompt and of what it wrote, and not those of the
rate that it was trained for.
"""

import itertools
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.bench.chunk_rates import first_positions, flops_at_rates
from latent_jax.commands.generate import Request, generate
from latent_jax.contracts import Written
from latent_jax.experiments.evaluate import Run, load_run
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.models.hierarchy_config import HierarchicalConfig
from latent_jax.reports.tables import keep_each, text_table

COLUMNS = (
    "name",
    "lanes",
    "bytes_per_id",
    "n_new_bytes",
    "latency_ms",
    "new_bytes_per_s",
    "generation_flops_per_byte",
    "speed_ratio",
)

MEDIANS = (
    *("bytes_per_id", "new_bytes_per_s", "generation_flops_per_byte"),
    *("bytes_per_chunk", "main_steps_share"),
)
"""Keys of numbers whose median over the turns is reported."""

CHUNK_COLUMNS = (
    "bytes_per_chunk",
    "main_steps_share",
)
"""Of runs that cut bytes into chunks."""

PROMPTS = (b"The history of the city begins with",)


def benchmark_writing(
    workdirs: Sequence[str | Path], *, lanes: Sequence[int], n_bytes: int, n_steps: int
) -> Iterator[dict[str, Any]]:
    """Yield one flat record for each number of lanes and each run.

    `latency_ms` is the time until all texts are there, and `speed_ratio` compares each run with the
    first run of the same number of lanes. A text that ends early counts with the bytes that it has.
    Of a run that cuts bytes into chunks, `bytes_per_chunk` is of the new text, and
    `main_steps_share` the share of steps in which some lane began a chunk, so that the main network
    ran, for all of them.
    The time includes encoding prompts and decoding texts, but not compilation.

    Args:
        workdirs: run folders.
        lanes: numbers of texts that are drawn at the same time.
        n_bytes: new bytes in each text, at most.
        n_steps: turns; each run writes once per turn.

    Raises:
        ValueError: a folder holds no run, a number is below 1, or a run's rows are too short.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1; got {n_steps}")
    runs = [load_run(workdir, "best") for workdir in workdirs]
    for n_lanes in lanes:
        yield from _written(runs, n_lanes, n_bytes, n_steps)


def _written(runs: Sequence[Run], n_lanes: int, n_bytes: int, n_steps: int) -> list[dict[str, Any]]:
    """Return the records of one number of lanes."""
    turns: list[list[dict[str, Any]]] = [[] for _ in runs]
    for step in range(1 + n_steps):
        # Another seed each time, because the lengths of texts are random.
        request = Request(PROMPTS, n_samples=n_lanes, n_bytes=n_bytes, seed=step)
        for run, records in zip(runs, turns, strict=True):
            groups, record = generate(run, request)
            if step:
                written = [one for group in groups for one in group]
                records.append(record | _cut(run, written, n_bytes))
    first = [record["new_bytes_per_s"] for record in turns[0]]
    return [
        {
            **{key: value for key, value in records[0].items() if key not in ("seed", "seconds")},
            "lanes": n_lanes,
            "n_new_bytes": sum(record["n_new_bytes"] for record in records) / n_steps,
            **{
                key: statistics.median(record[key] for record in records)
                for key in MEDIANS
                if key in records[0]
            },
            "latency_ms": 1e3 * statistics.median(record["seconds"] for record in records),
            "speed_ratio": statistics.median(
                record["new_bytes_per_s"] / other
                for record, other in zip(records, first, strict=True)
            ),
        }
        for records in turns
    ]


def _cut(run: Run, written: Sequence[Written], n_bytes: int) -> dict[str, Any]:
    """Return what a run that makes chunks of bytes made of what it wrote; {} for other runs."""
    config = getattr(run.task, "model_config", None)
    is_byte_model = family(parse(run.config.method).family).ids_are_bytes
    if not (isinstance(config, HierarchicalConfig) and is_byte_model):
        return {}
    n_new = sum(len(one.text) for one in written)
    # One program serves all turns, which write texts of several lengths.
    length = 1 + max(len(one.kept) for one in written) + n_bytes
    texts = [one.kept + one.text for one in written]
    firsts = first_positions(config, run.variables, texts, length)
    counts = [sum(map(len, texts)) + len(texts), *(int(first_BT.sum()) for first_BT in firsts)]
    rates = [n / max(below, 1) for n, below in itertools.pairwise(counts)]
    # Prompts are read at once. Step j reads the byte that the step before drew.
    new = [row[1 + len(one.kept) :] for row, one in zip(firsts[-1], written, strict=True)]
    runs_BN = np.zeros((len(written), n_bytes), bool)
    for runs_N, row, one in zip(runs_BN, new, written, strict=True):
        runs_N[: len(one.text)] = row[: len(one.text)]
    n_most = max(len(one.text) for one in written)
    flops = sum(len(text) * flops_at_rates(config, len(text), rates) for text in texts)
    return {
        "bytes_per_chunk": n_new / max(int(runs_BN.sum()), 1),
        "main_steps_share": float(runs_BN.any(axis=0).sum() / max(n_most, 1)),
        "generation_flops_per_byte": flops / max(n_new, 1),
    }


def benchmark_writing_and_print(
    workdirs: Sequence[str | Path],
    *,
    lanes: Sequence[int],
    n_bytes: int,
    n_steps: int,
    json_path: str | None = None,
) -> None:
    """Print `benchmark_writing` as a table, and keep the records if a path is given."""
    found = benchmark_writing(workdirs, lanes=lanes, n_bytes=n_bytes, n_steps=n_steps)
    records = keep_each(found, json_path)
    has_chunks = any("bytes_per_chunk" in record for record in records)
    print(text_table(records, COLUMNS + CHUNK_COLUMNS * has_chunks))
