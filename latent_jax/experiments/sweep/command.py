"""The work of `launch/sweep.py`: plan a sweep, train its cells, print the results."""

import contextlib
import dataclasses
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from latent_jax.experiments.sweep.expected import Speed, expect, spoken
from latent_jax.experiments.sweep.live import Live
from latent_jax.experiments.sweep.loading import load_sweep
from latent_jax.experiments.sweep.local import LocalEngine
from latent_jax.experiments.sweep.plan import Record, encodings, plan
from latent_jax.experiments.sweep.schedule import Schedule
from latent_jax.experiments.sweep.worker import share_compiled
from latent_jax.folder_lock import hold
from latent_jax.methods.lester_2024 import expected_short_share
from latent_jax.nearest import check_word
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table, write_table
from latent_jax.training.host import n_cores
from latent_jax.training.run_files import check_path, named_errors

logger = logging.getLogger(__name__)

ENGINES = ("local", "ray")

PLAN_COLUMNS = (
    "name",
    "n_parameters",
    "bytes_per_token",
    "planned_steps",
    "planned_tokens_seen",
    "planned_problems_seen",
    "planned_bytes_seen",
    "planned_train_flops",
    "memory_bytes",
    Column("expected", "expected\ntime"),
)
RESULT_COLUMNS = (
    "name",
    "bytes_per_token",
    "uniform_bits_per_byte",
    "unigram_bits_per_byte",
    "bits_per_byte",
    "paper_bits_per_byte",
    "bytes_per_chunk_1",
    "bytes_per_chunk_2",
    "result_nats_per_token_with",
    "use_nats_per_token",
    "lost_right_share",
    "right_share",
    "seconds",
    "wall_seconds",
)

SHOWN_EVERY = 2.0
"""Seconds between two updates of the table of running cells."""


def sweep_and_print(
    words: str,
    *,
    workdir: str | Path = "",
    engine: str = "local",
    n_workers: int = 0,
    dry_run: bool = False,
    retries: int = 2,
    address: str = "",
    json_path: str | None = None,
) -> list[Record]:
    """Plan a sweep and train the cells that are not finished.

    Args:
        words: NAME or NAME:ARGUMENTS of a file in configs/sweeps.
        workdir: folder of the sweep; by default runs/sweeps/NAME.
        engine: one of `ENGINES`.
        n_workers: cells trained at the same time; 0 = one for each core. With accelerators, give
            their number.
        dry_run: print the plan and train nothing.
        retries: how many times a cell that failed is started again.
        address: of a Ray cluster; empty starts one on this machine.
        json_path: file that also gets the unrounded records.

    Returns:
        The records of the plan, or of all cells.

    Raises:
        ValueError: the sweep is wrong, its folder holds another one or another process works in
            it, no cluster answers, or cells failed.
    """
    check_word("engine", engine, ENGINES)
    if address and engine != "ray":
        raise ValueError(f"--address={address} is that of a Ray cluster: add --engine=ray")
    # A plan needs no accelerator, and the first process that asks for one takes its memory, which
    # the workers need.
    jax.config.update("jax_platforms", "cpu")
    name, sweep = load_sweep(words)
    folder = Path(workdir or Path("runs") / "sweeps" / name).absolute()
    check_path(folder)
    with named_errors(folder, "the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    n_workers = n_workers or n_cores()
    programs = share_compiled(folder)
    if dry_run:
        records = plan(sweep, folder, is_dry=True)
        _print_plan(records, expect(records, folder, n_workers))
        if any("paper_tokens" in record for record in records):
            print(_beside_the_paper(records))
        if sweep.follow_up is not None:
            print("When these cells are finished, their results decide which others are added.")
        if json_path:
            write_table(records, json_path)
        return records
    began = time.monotonic()
    words_of_engine = (engine, folder, n_workers, address)
    with contextlib.ExitStack() as opened:
        with named_errors(folder, "the folder"):
            opened.enter_context(hold(folder, "one sweep"))
        # The plan as well: it reads, and adds to, what another process might be writing.
        records = plan(sweep, folder)
        expect(records, folder, n_workers)
        with named_errors(folder, "the folder"):
            schedule = Schedule(words, sweep, folder, records, retries)
            schedule = _run(schedule, folder, words_of_engine)
            if sweep.follow_up is not None and not schedule.unfinished:
                more = sweep.follow_up([schedule.results[record["name"]] for record in records])
                sweep = dataclasses.replace(sweep, cells=[*sweep.cells, *more], follow_up=None)
                records = plan(sweep, folder)
                expect(records, folder, n_workers)
                schedule = Schedule(words, sweep, folder, records, retries)
                schedule = _run(schedule, folder, words_of_engine)
        if programs is not None and not schedule.unfinished:
            shutil.rmtree(programs, ignore_errors=True)  # nothing is left to compile
    results = [result for result in schedule.results.values() if result is not None]
    if results:
        print(text_table(results, _known(RESULT_COLUMNS, results)))
        print(_overhead(results))
    if json_path and results:
        write_table(results, json_path)
    print(f"{folder}: {len(results)} of {len(records)} cells, {time.monotonic() - began:.0f} s")
    if schedule.unfinished:
        reasons = "".join(f"\n  {cell}: {error}" for cell, error in schedule.failed.items())
        raise ValueError(
            f"{len(schedule.unfinished)} cells are not finished: "
            f"{', '.join(schedule.unfinished)}{reasons}\nthe same command tries them again"
        )
    return results


def _run(schedule: Schedule, folder: Path, words_of_engine: tuple) -> Schedule:
    """Do all jobs of the schedule that can be done, and return it."""
    with Live(schedule, folder) as live, _engine(*words_of_engine) as workers:
        for ended in workers.run(schedule.next, SHOWN_EVERY):
            if ended is not None:
                job, error = ended
                is_over = schedule.ended(job, error)
                live.ended(job, error, is_over)
            live.show()
    return schedule


def _engine(engine: str, folder: Path, n_workers: int, address: str) -> Any:
    if engine == "local":
        return LocalEngine(folder, n_workers)
    try:
        from latent_jax.experiments.sweep.ray_engine import RayEngine
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--engine=ray needs a package that is not installed ({error}): "
            '.venv/bin/python -m pip install -e ".[ray]"'
        ) from error
    return RayEngine(n_workers, address)


def _known(columns: Sequence[str | Column], records: Sequence[Record]) -> list[str | Column]:
    """Return the columns that a record has: problems have no tokens, and thoughts no unigram."""
    keys = {key for record in records for key in record}
    return [c for c in columns if (c.key if isinstance(c, Column) else c) in keys]


def _print_plan(records: Sequence[Record], speed: Speed) -> None:
    """Print the cells, where their FLOPs go, and how long all of them take."""
    shown = [{**record, "expected": spoken(record["expected_seconds"])} for record in records]
    print(text_table(shown, _known(PLAN_COLUMNS, shown)))
    parts = dict.fromkeys(key for record in records for key in record)
    parts = [key for key in parts if key.endswith("_flops_per_byte")]
    parts = [key for key in parts if any(record.get(key) for record in records)]
    print("\nForward FLOPs per raw byte, by component:\n")
    shown = {(record["method"], record["size"]): record for record in reversed(records)}
    print(text_table([*reversed(shown.values())], ["method", "size", *parts]))
    seconds = sum(record["expected_seconds"] for record in records) / speed.n_workers
    n_coders, flops = len(encodings(records)), sum(r["planned_train_flops"] for r in records)
    encoded = f"; rows of {n_coders} coder{'s are' if n_coders > 1 else ' is'} encoded first"
    print(
        f"\n{len(records)} cells, {flops:.3g} training FLOPs, about {spoken(seconds)} with "
        f"{speed.n_workers} workers{encoded * bool(n_coders)}\n{speed}"
    )


def _beside_the_paper(records: Sequence[Record]) -> str:
    """Return the tokens and bytes of each method beside those that the paper states."""
    rows = [
        {
            **record,
            "paper_short_share": 1 - record["paper_tokens"] / record["planned_tokens_seen"],
            "expected_short_share": expected_short_share(record["paper_bytes_per_token"]),
        }
        for record in {record["method"]: record for record in records}.values()
    ]
    columns = (
        "method",
        "paper_bytes_per_token",
        Column("planned_tokens_seen", "planned\ntokens", ",d"),
        Column("planned_bytes_seen", "planned\nbytes", ",d"),
        "paper_tokens",
        "paper_bytes",
        "paper_short_share",
        "expected_short_share",
    )
    return (
        f"\nTokens and bytes of a cell beside the paper's:\n\n"
        f"{text_table(rows, columns)}\n\n"
        "Ratios are the paper's: no text was read. Its tokens are fewer than planned, because 128\n"
        "documents are joined and cut into examples of 10,240 bytes, and a row is the first 512\n"
        "tokens of an example: the last piece is short, and its row padded. Expected is the share\n"
        "of padding that lengths between 0 and 10,240 bytes give."
    )


def _overhead(results: Sequence[Record]) -> str:
    """Return a line on the time that compiling, evaluating, saving and reading took."""
    seconds = sum(result["seconds"] for result in results)
    wall = sum(max(result["wall_seconds"], result["seconds"]) for result in results)
    return (
        f"training took {seconds:.0f} s of workers' time; compiling, evaluating, saving and "
        f"reading {wall - seconds:.0f} s besides, {100 * (wall - seconds) / seconds:.0f} % of it"
    )
