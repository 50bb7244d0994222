"""Speed of writing, in raw bytes per second, of trained runs of any method, in turns."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from latent_jax.commands.generate import Request, generate
from latent_jax.experiments.evaluate import Run, load_run
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

PROMPTS = (b"The history of the city begins with",)


def benchmark_writing(
    workdirs: Sequence[str | Path], *, lanes: Sequence[int], n_bytes: int, n_steps: int
) -> Iterator[dict[str, Any]]:
    """Yield one flat record for each number of lanes and each run.

    `latency_ms` is the time until all texts are there, and `speed_ratio` compares each run with the
    first run of the same number of lanes. A text that ends early counts with the bytes that it has.
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
            _, record = generate(run, request)
            if step:
                records.append(record)
    first = [record["new_bytes_per_s"] for record in turns[0]]
    return [
        {
            **{key: value for key, value in records[0].items() if key not in ("seed", "seconds")},
            "lanes": n_lanes,
            "n_new_bytes": sum(record["n_new_bytes"] for record in records) / n_steps,
            **{
                key: statistics.median(record[key] for record in records)
                for key in ("bytes_per_id", "new_bytes_per_s", "generation_flops_per_byte")
            },
            "latency_ms": 1e3 * statistics.median(record["seconds"] for record in records),
            "speed_ratio": statistics.median(
                record["new_bytes_per_s"] / other
                for record, other in zip(records, first, strict=True)
            ),
        }
        for records in turns
    ]


def benchmark_writing_and_print(
    workdirs: Sequence[str | Path],
    *,
    lanes: Sequence[int],
    n_bytes: int,
    n_steps: int,
    json_path: str | None = None,
) -> None:
    """Print `benchmark_writing` as a table, and keep the records if a path is given."""
    records = benchmark_writing(workdirs, lanes=lanes, n_bytes=n_bytes, n_steps=n_steps)
    print(text_table(keep_each(records, json_path), COLUMNS))
