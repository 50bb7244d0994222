"""Speed of the second phase of latent reasoning: how long it writes, and how long it learns.

Each turn is what training does: one roll-out, then all updates on it. The table of FLOPs beside the
times is the ledger's, see `tasks.policy.Policy.component_flops`.
"""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from latent_jax.experiments.cores import use_cores
from latent_jax.experiments.evaluate import load_run, read_config
from latent_jax.experiments.run import prepare
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.row_codes import config_batch_spec
from latent_jax.paths import open_path
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import kept_records, text_table, write_table
from latent_jax.training import (
    abstract_state,
    create_state,
    initial_state,
)
from latent_jax.training.feed import Feed
from latent_jax.training.step import compile_train_step
from latent_jax.training.task_optimizer import optimizer_of

COLUMNS = (
    "name",
    Column("n_solutions", "solutions of\na roll-out", ",d"),
    Column("n_tokens", "tokens of\na roll-out", ",.0f"),
    Column("updates", "updates\non it", ",d"),
    Column("rollout_seconds", "roll-out\ns", ",.3g"),
    Column("update_seconds", "update\ns", ",.3g"),
    Column("rollout_time_share", "roll-outs\n% of time", ".1f", 100.0),
    Column("rollout_tokens_per_s", "tokens/s\nof roll-outs", ",.0f"),
)

FLOPS = "_flops"
"""Behind the name of a component, in a record."""

AT_ROLL_OUT = ("rollout", "old", "reference")
"""Components that are spent when solutions are written; the others are those of an update."""


def benchmark_rollout(
    config: ConfigDict | None, *, name: str = "", workdir: str | Path = "", n_steps: int = 5
) -> dict[str, Any]:
    """Return one flat record: the time of roll-outs and updates, and their FLOPs.

    Times are medians over `n_steps` turns after one that compiles; tokens are those that solutions
    hold, prompts apart. "X_flops" are those of component X in one turn, forward. An update's
    backward pass costs twice its forward pass.

    Args:
        config: of a second phase, or of several runs of which one is; its weights are drawn, and
            such a model writes until its row is full. None = that of `workdir`.
        name: in the table; "" = the run's.
        workdir: folder of a trained second phase, whose weights write; "" = there is none.
        n_steps: turns.

    Raises:
        ValueError: neither or both are given, there is no second phase, or `n_steps` is below 1.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1; got {n_steps}")
    if bool(workdir) == (config is not None):
        raise ValueError(
            "rollout needs a second phase: --config configs/latent_reasoning.py, or the --workdir "
            "of a trained one"
        )
    config = _second_phase(read_config(open_path(workdir)) if workdir else config)
    use_cores([config])
    experiment = prepare(config)
    config, task, mesh = experiment.config, experiment.task, experiment.mesh
    spec = config_batch_spec(config)
    optimizer = optimizer_of(task, spec, experiment.optimizer, experiment.total_steps)
    init = initial_state(task, optimizer, spec, config.seed)
    state = create_state(init, abstract_state(init, mesh, experiment.training.strategy))
    if workdir:
        state = state.with_variables(load_run(workdir, "latest").variables)
    step = compile_train_step(task, optimizer, state, spec, config.training.accumulation, mesh)
    known, updates = family(parse(config.method).family), config.policy.updates
    problems = experiment.reading.train(
        seed=config.seed,
        num_workers=config.data.num_workers,
        **(experiment.batches | {"batch_size": known.rows_read(config)}),
    )
    turns = []
    with problems:
        stream = known.make_stream(config, task, experiment.reading.tokenizer, problems)
        feed, number = Feed(stream, mesh, spec), 0
        for _ in range(1 + n_steps):
            start = time.perf_counter()
            batch = jax.block_until_ready(feed.next(number, state))
            written = time.perf_counter()
            for update in range(updates):
                if update:
                    batch = feed.next(number, state)
                state, _ = step(state, batch)
                number += 1
            jax.block_until_ready(state)
            turns.append((written - start, (time.perf_counter() - written) / updates))
            if len(turns) == 1:  # it compiled
                n_tokens = 0
            else:
                text = slice(0, task.model_config.layout.text_end)
                n_tokens += int((batch["segment"][:, text] > 0).sum())
    seconds, update_seconds = zip(*turns[1:], strict=True)
    rollout_seconds, update_seconds = map(statistics.median, (seconds, update_seconds))
    per_turn = config.batch_size * config.row_length * experiment.reading.bytes_per_token * updates
    device = mesh.devices.flat[0]
    return {
        "name": name or config.name or config.method,
        "method": config.method,
        "device": device.device_kind,
        "device_count": mesh.devices.size,
        "jax": jax.__version__,
        "n_parameters": count_parameters(task, config.row_length)["n_parameters"],
        "n_solutions": config.batch_size,
        "n_tokens": n_tokens / n_steps,
        "updates": updates,
        "rollout_seconds": rollout_seconds,
        "update_seconds": update_seconds,
        "rollout_time_share": rollout_seconds / (rollout_seconds + updates * update_seconds),
        "rollout_tokens_per_s": n_tokens / sum(seconds),
        "train_flops": task.train_flops_per_byte * per_turn,
        **{
            f"{part}{FLOPS}": flops * per_turn
            for part, flops in sorted(task.component_flops.items(), key=lambda item: -item[1])
        },
    }


def describe_rollout(record: Mapping[str, Any]) -> str:
    """Return the tables of a record: its times, and the FLOPs of each component."""
    parts = [
        {
            "component": key.removesuffix(FLOPS),
            "flops": flops,
            "at": "roll-out" if key.removesuffix(FLOPS) in AT_ROLL_OUT else "update",
        }
        for key, flops in record.items()
        if key.endswith(FLOPS) and key != f"train{FLOPS}"
    ]
    columns = (
        Column("component", "component"),
        Column("at", "spent at"),
        Column("flops", "forward FLOPs\nof a turn", ".3g"),
    )
    return f"{text_table([record], COLUMNS)}\n\n{text_table(parts, columns)}"


def benchmark_rollout_and_print(
    config: ConfigDict | None = None,
    *,
    json_path: str | None = None,
    append: bool = False,
    **words: Any,
) -> None:
    """Print `describe_rollout`.

    Args:
        config: see `benchmark_rollout`.
        json_path: file that also gets the unrounded record.
        append: keep the records that the file has, and add this one.
        **words: the other arguments of `benchmark_rollout`.
    """
    earlier = kept_records(json_path, append)
    record = benchmark_rollout(config, **words)
    print(describe_rollout(record))
    if json_path:
        write_table([*earlier, record], json_path)


def _second_phase(config: ConfigDict) -> ConfigDict:
    """Return a copy of the one run of a config that is a second phase, with weights of its own.

    Raises:
        ValueError: there is none, or more than one.
    """
    runs = dict(config.runs.items()) if "runs" in config else {"": config}
    found = [run for run in runs.values() if run.policy.group]
    if len(found) != 1:
        raise ValueError(
            f"rollout measures one second phase of latent reasoning, a run with policy.group; "
            f"of {len(runs)} there are {len(found)}: name another config or run folder"
        )
    (one,) = found
    one = ConfigDict(one.to_dict())
    one.training.init_from = ""
    return one
