"""Speed of the train step of any config on this machine's devices: no text, tokenizer or files.

The step is the one that `training.train` runs. Its ids are random, and their number follows from
the method's name, so the step is measured before anything has been prepared for it.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from latent_jax.contracts import Batch, Task, Vocabulary
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.costs.memory import settle_remat
from latent_jax.costs.profile import check_traced, describe_profile
from latent_jax.experiments.cores import use_cores
from latent_jax.experiments.study import default_workdir, settled_runs
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.row_codes import config_batch_spec, row_layout
from latent_jax.methods.settings import check_settings, state_rule
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task
from latent_jax.platform import chip
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import kept_records, text_table, write_table
from latent_jax.training import (
    OptimizerConfig,
    TrainingConfig,
    TrainState,
    abstract_state,
    check_batch,
    create_state,
    initial_state,
    make_mesh,
)
from latent_jax.training.profiler import mark_step
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.step import StepMetrics, compile_train_step
from latent_jax.training.task_optimizer import optimizer_of

COLUMNS = (
    "name",
    "n_parameters",
    Column("batch_size", "rows", ",d"),
    Column("row_length", "ids in\na row", ",d"),
    Column("compile_seconds", "compiles\nin s", ",.0f"),
    Column("step_ms", "step\nms", ",.1f"),
    "tokens_per_s",
    Column("model_flops_utilization", "MFU\n%", ".1f", 100.0),
    Column("memory_bytes", "peak memory\nGiB", ".2f", 2.0**-30),
)

N_WARM_UP = 3
N_ROUNDS = 3
"""Timed rounds of `n_steps` steps; their median is reported."""


@dataclasses.dataclass
class PreparedStep:
    """A compiled train step, and the state that it goes on from.

    Attributes:
        config: solved.
        vocabulary: of the ids.
        task: of the config, as the step trains it.
        mesh: of devices.
        state: before the next step.
        compiled: the step.
        compile_seconds: how long that took.
    """

    config: ConfigDict
    vocabulary: Vocabulary
    task: Task
    mesh: Mesh
    state: TrainState
    compiled: Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
    compile_seconds: float

    def put(self, batch: Batch) -> Batch:
        """Return a batch on the devices."""
        return jax.device_put(batch, batch_sharding(self.mesh))

    def take(self, batch: Batch) -> StepMetrics:
        """Take a step; its numbers may still be computed."""
        self.state, metrics = self.compiled(self.state, batch)
        return metrics

    @property
    def n_parameters(self) -> int:
        """Numbers that the model consists of."""
        return count_parameters(self.task, self.config.row_length)["n_parameters"]


def solved_config(config: ConfigDict, bytes_per_token: float) -> tuple[ConfigDict, Vocabulary]:
    """Return a config with row length and width solved, and its vocabulary.

    Args:
        config: as `configs.common.default` makes it.
        bytes_per_token: see `assumed_vocabulary`.

    Raises:
        ValueError: no model can be made from the config.
    """
    state_rule(config)
    check_settings(config)
    vocabulary = assumed_vocabulary(config, bytes_per_token)
    return solve_shape(config, vocabulary), vocabulary


def prepare_step(config: ConfigDict, vocabulary: Vocabulary) -> PreparedStep:
    """Compile the train step of a solved config, with drawn weights.

    Raises:
        ValueError: the devices do not divide the batch.
    """
    training = TrainingConfig(**config.training, seed=config.seed)
    mesh = make_mesh(training.strategy, training.model_parallel)
    check_batch(mesh, config.batch_size, training.accumulation)
    task = make_task(settle_remat(config, vocabulary, mesh), vocabulary)
    spec = config_batch_spec(config)
    optimizer = optimizer_of(task, spec, OptimizerConfig(**config.optimizer), 1_000_000)
    init = initial_state(task, optimizer, spec, config.seed)
    state = create_state(init, abstract_state(init, mesh, training.strategy))
    start = time.perf_counter()
    step = compile_train_step(task, optimizer, state, spec, training.accumulation, mesh)
    seconds = time.perf_counter() - start
    return PreparedStep(config, vocabulary, task, mesh, state, step, seconds)


def benchmark_step(
    config: ConfigDict,
    *,
    name: str,
    n_steps: int = 10,
    bytes_per_token: float = 4.0,
    profile: str | Path | None = None,
    n_traced: int = 10,
) -> dict[str, Any]:
    """Return one flat record: the time and memory of a config's train step on this machine.

    Args:
        config: as `configs.common.default` makes it.
        name: of the config in the table.
        n_steps: steps of a round; the host does not wait between them.
        bytes_per_token: raw bytes per id, for methods whose ids are not bytes; FLOPs per step do
            not depend on it.
        profile: folder for a trace, see `costs.profile`; None = no trace.
        n_traced: steps to trace.

    Raises:
        ValueError: no model can be made from the config, the devices do not divide its batch, or
            `n_steps` or `n_traced` is below 1.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1; got {n_steps}")
    check_traced(profile, n_traced)
    use_cores([config])
    config, vocabulary = solved_config(config, bytes_per_token)
    step = prepare_step(config, vocabulary)
    batch = step.put(random_batch(config, vocabulary))

    def run(n: int) -> float:
        start = time.perf_counter()
        for number in range(n):
            with mark_step(number):
                metrics = step.take(batch)
        loss = float(metrics.loss)
        if not np.isfinite(loss):
            raise ValueError(f"{name}: the loss is {loss} after a few steps on random ids")
        return (time.perf_counter() - start) / n

    run(N_WARM_UP)
    seconds = statistics.median(run(n_steps) for _ in range(N_ROUNDS))
    if profile is not None:
        # `run` waits for the last loss only, and the device may still compute the rest of the step.
        jax.block_until_ready(step.state)
        with jax.profiler.trace(str(profile)):
            run(n_traced)
            jax.block_until_ready(step.state)
    device = step.mesh.devices.flat[0]
    known = chip(device.device_kind)
    bytes_per_step = config.batch_size * config.row_length * vocabulary.bytes_per_token
    per_byte = step.task.train_flops_per_byte - step.task.tokenizer_flops_per_byte
    flops_per_step = per_byte * bytes_per_step
    statistics_of_memory = device.memory_stats() or {}
    return {
        "name": name,
        "method": config.method,
        "device": device.device_kind,
        "device_count": step.mesh.devices.size,
        "jax": jax.__version__,
        "n_parameters": step.n_parameters,
        "batch_size": config.batch_size,
        "row_length": config.row_length,
        "compile_seconds": step.compile_seconds,
        "step_ms": 1e3 * seconds,
        "tokens_per_s": config.batch_size * config.row_length / seconds,
        "bytes_per_s": bytes_per_step / seconds,
        "flops_per_step": flops_per_step,
        "model_flops_utilization": known
        and flops_per_step / seconds / known.flops / step.mesh.devices.size,
        "memory_bytes": statistics_of_memory.get("peak_bytes_in_use"),
    }


def benchmark_step_and_print(
    config: ConfigDict,
    *,
    name: str,
    json_path: str | None = None,
    append: bool = False,
    **words: Any,
) -> None:
    """Print `benchmark_step` of each run of a config file as a table, and the tables of a profile.

    Args:
        config: of one run, or with `config.runs`.
        name: of the config file, with its arguments.
        json_path: file that also gets the unrounded records.
        append: keep the records that the file has, and add these.
        **words: the other arguments of `benchmark_step`.

    Raises:
        ValueError: see `benchmark_step`; or several runs would be traced into one folder.
    """
    earlier = kept_records(json_path, append)
    runs = settled_runs(config, default_workdir(name))
    if words.get("profile") and len(runs) > 1:
        raise ValueError(
            f"--profile traces the step of one run, and {name} has {', '.join(runs)}: leave the "
            "others out by its arguments, or give a config file of one run"
        )
    records = [
        benchmark_step(run_config, name=f"{name}, {run}" if run else name, **words)
        for run, run_config in runs.items()
    ]
    print(text_table(records, COLUMNS))
    if words.get("profile"):
        print(describe_profile(words["profile"]))
    if json_path:
        write_table([*earlier, *records], json_path)


def random_batch(config: ConfigDict, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Return rows of random ids without separators, with the assumed bytes of each row.

    What else a row has is 1 everywhere: the time of a step does not depend on it.
    """
    shape = (config.batch_size, config.row_length)
    ids_BT = np.random.default_rng(0).integers(0, vocabulary.separator_id, shape, dtype=np.int32)
    n_bytes = round(config.row_length * vocabulary.bytes_per_token)
    spec = row_layout(config).batch_spec(config.batch_size)
    ones = {name: np.ones(array.shape, array.dtype) for name, array in spec.items()}
    return {**ones, "ids": ids_BT, "n_bytes": np.full(shape[:1], n_bytes, np.int32)}
