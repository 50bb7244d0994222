"""Speed of the train step of any config on the devices at hand: no text, no tokenizer, no files.

The step is the one that `training.train` runs. Its ids are random, and the number of ids is the one
that the method's name promises, so a program is measured before anything has been prepared for it.
"""

import concurrent.futures
import dataclasses
import re
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.costs.memory import settle_remat
from latent_jax.costs.profile import describe_profile
from latent_jax.data import batch_spec
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task
from latent_jax.platform import chip
from latent_jax.reports.tables import Column, kept_records, text_table, write_json
from latent_jax.training import (
    OptimizerConfig,
    TrainingConfig,
    abstract_state,
    check_batch,
    create_state,
    initial_state,
    make_mesh,
    spread_over_cores,
)
from latent_jax.training.optimizer import make_optimizer
from latent_jax.training.profiler import mark_step
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.state import TrainState
from latent_jax.training.step import CompiledStep, compile_train_step

COLUMNS = (
    "name",
    "n_parameters",
    Column("batch_size", "rows", ",d"),
    Column("row_length", "ids in\na row", ",d"),
    Column("compile_seconds", "compiles\nin s", ",.0f"),
    Column("step_ms", "step\nms", ",.1f"),
    "tokens_per_s",
    Column("model_flops_utilization", "MFU\n%", ".1f", 100.0),
    Column("memory_bytes", "memory\nGiB", ".2f", 2.0**-30),
)

N_WARM_UP = 3
N_ROUNDS = 3
"""The rounds' median is reported: each is so many steps between two looks at the clock."""


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A config's step, compiled, and what it starts from."""

    config: ConfigDict
    vocabulary: Vocabulary
    task: Task
    mesh: Mesh
    state: TrainState
    step: CompiledStep
    compile_seconds: float


def benchmark_steps(
    configs: Mapping[str, ConfigDict],
    *,
    n_steps: int = 10,
    bytes_per_token: float = 4.0,
    profile: str | Path | None = None,
    n_traced: int = 10,
) -> Iterator[dict[str, Any]]:
    """Yield one flat record for each config: what a step of it takes here.

    All are compiled at once, in threads; then each is timed by itself.

    Args:
        configs: as `configs.common.default` makes them, by what the table calls them.
        n_steps: steps of a round; the host does not wait between them.
        bytes_per_token: raw bytes per id, where ids are no bytes; FLOPs per step do not depend on
            it.
        profile: folder for traces, one below it for each config, see `costs.profile`.
        n_traced: steps of one.

    Raises:
        ValueError: a config describes no network, the devices do not divide its batch, or there
            are no steps to time or to trace.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1; got {n_steps}")
    if profile is not None and n_traced < 1:
        raise ValueError(f"profile must be at least 1, or left out for no trace; got {n_traced}")
    spread_over_cores(
        [config.batch_size // config.training.accumulation for config in configs.values()]
    )
    with concurrent.futures.ThreadPoolExecutor() as threads:
        compiling = [threads.submit(_prepare, c, bytes_per_token) for c in configs.values()]
        prepared = [future.result() for future in compiling]
    for name in configs:
        folder = None if profile is None else profile_folder(profile, name)
        # Popped, so that the memory of one is free for the next.
        yield _measure(name, prepared.pop(0), n_steps, folder, n_traced)


def profile_folder(profile: str | Path, name: str) -> Path:
    """Return the folder of a config's trace."""
    return Path(profile) / re.sub(r"[^\w=.,-]+", "_", name)


def _prepare(config: ConfigDict, bytes_per_token: float) -> _Prepared:
    training = TrainingConfig(**config.training, seed=config.seed)
    vocabulary = assumed_vocabulary(config, bytes_per_token)
    config = solve_shape(config, vocabulary)
    mesh = make_mesh(training.strategy, training.model_parallel)
    check_batch(mesh, config.batch_size, training.accumulation)
    task = make_task(settle_remat(config, vocabulary, mesh), vocabulary)
    optimizer = make_optimizer(OptimizerConfig(**config.optimizer), total_steps=1_000_000)
    spec = batch_spec(config.batch_size, config.row_length)
    init = initial_state(task, optimizer, spec, config.seed)
    state = create_state(init, abstract_state(init, mesh, training.strategy))
    start = time.perf_counter()
    step = compile_train_step(task, optimizer, state, spec, training.accumulation, mesh)
    seconds = time.perf_counter() - start
    return _Prepared(config, vocabulary, task, mesh, state, step, seconds)


def _measure(
    name: str, prepared: _Prepared, n_steps: int, profile: Path | None, n_traced: int
) -> dict[str, Any]:
    config, mesh, task = prepared.config, prepared.mesh, prepared.task
    state, step = prepared.state, prepared.step
    batch = jax.device_put(_random_batch(config, prepared.vocabulary), batch_sharding(mesh))

    def run(n: int) -> float:
        nonlocal state
        start = time.perf_counter()
        for number in range(n):
            with mark_step(number):
                state, metrics = step(state, batch)
        loss = float(metrics.loss)
        if not np.isfinite(loss):
            raise ValueError(f"{name}: the loss is {loss} after a few steps on random ids")
        return (time.perf_counter() - start) / n

    run(N_WARM_UP)
    seconds = statistics.median(run(n_steps) for _ in range(N_ROUNDS))
    if profile is not None:
        # The loss of the last step is there, and the rest of it may not be.
        jax.block_until_ready(state)
        with jax.profiler.trace(str(profile)):
            run(n_traced)
            jax.block_until_ready(state)
    device = mesh.devices.flat[0]
    known = chip(device.device_kind)
    bytes_per_step = config.batch_size * config.row_length * prepared.vocabulary.bytes_per_token
    per_byte = task.train_flops_per_byte - task.tokenizer_flops_per_byte
    flops_per_step = per_byte * bytes_per_step
    memory = step.compiled.memory_analysis()
    return {
        "name": name,
        "method": config.method,
        "device": device.device_kind,
        "device_count": mesh.devices.size,
        "jax": jax.__version__,
        "n_parameters": count_parameters(task, config.row_length)["n_parameters"],
        "batch_size": config.batch_size,
        "row_length": config.row_length,
        "compile_seconds": prepared.compile_seconds,
        "step_ms": 1e3 * seconds,
        "tokens_per_s": config.batch_size * config.row_length / seconds,
        "bytes_per_s": bytes_per_step / seconds,
        "flops_per_step": flops_per_step,
        "model_flops_utilization": known
        and flops_per_step / seconds / known.flops / mesh.devices.size,
        "memory_bytes": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes,
    }


def benchmark_steps_and_print(
    configs: Mapping[str, ConfigDict],
    *,
    json_path: str | None = None,
    append: bool = False,
    profile: str | Path | None = None,
    **words: Any,
) -> None:
    """Print `benchmark_steps` as a table, and what profiles show; keep the records if asked to.

    With `append` they come after the records that the file has.
    """
    records = kept_records(json_path, append)
    n_kept = len(records)
    for record in benchmark_steps(configs, profile=profile, **words):
        records.append(record)
        if json_path:
            write_json(records, json_path)
    print(text_table(records[n_kept:], COLUMNS))
    if profile:
        for name in configs:
            print(f"\n{name}: {describe_profile(profile_folder(profile, name))}")


def _random_batch(config: ConfigDict, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Return rows of ids without separators, each of the bytes that its ids are assumed to be."""
    shape = (config.batch_size, config.row_length)
    ids_BT = np.random.default_rng(0).integers(0, vocabulary.separator_id, shape, dtype=np.int32)
    n_bytes = round(config.row_length * vocabulary.bytes_per_token)
    return {
        "ids": ids_BT,
        "weights": np.ones(shape, np.float32),
        "n_bytes": np.full(shape[:1], n_bytes, np.int32),
    }
