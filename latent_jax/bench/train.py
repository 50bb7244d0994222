"""Training throughput of the GPT, compared with the same model in PyTorch in one process.

The two take turns, step by step, so that other load of the machine slows both. The results are
medians, and the median of the ratios of neighbouring steps.
"""

import dataclasses
import importlib.metadata
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from latent_jax.costs.profile import check_traced, describe_profile
from latent_jax.data import batch_spec
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.platform import Platform
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.training import (
    OptimizerConfig,
    abstract_state,
    create_state,
    initial_state,
    make_mesh,
    share_heap,
    spread_over_cores,
)
from latent_jax.training.optimizer import make_optimizer
from latent_jax.training.profiler import mark_step
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.step import compile_train_step

LEARNING_RATE = 3e-4

COLUMNS = (
    "peer",
    Column("version", "version"),
    Column("vocab_size", "vocabulary", ",d"),
    "n_parameters",
    "tokens_per_s",
    Column("step_ms", "step\nms", ",.0f"),
    Column("speed_ratio", "speed over\nPyTorch", ".2f"),
)

Step = Callable[[np.ndarray, np.ndarray], Any]
"""(inputs int32[B, T], targets int32[B, T]) -> loss in nats, after one optimizer step: a scalar
that may still be computed; float() waits for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainBenchmark:
    """The settings of the benchmark: the shapes of model and batch, and the number of steps.

    The defaults are 3.3M parameters over bytes; AdamW, gradients clipped at norm 1. Both sides
    compute in the dtype of the platform: float32 on CPU, bfloat16 on a GPU.
    """

    vocab_size: int = 257
    row_length: int = 512
    batch_size: int = 32
    n_layers: int = 4
    d_model: int = 256
    n_heads: int = 4
    n_steps: int = 5
    steps_per_turn: int = 1

    def __post_init__(self):
        """Check values that the model does not check."""
        for field in ("row_length", "batch_size", "n_steps", "steps_per_turn"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1; got {getattr(self, field)}")

    @property
    def model(self) -> GPTConfig:
        """The GPT that both sides train."""
        platform = Platform.current()
        return GPTConfig(
            vocab_size=self.vocab_size,
            max_length=self.row_length,
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            dtype=platform.dtype,
            attention_implementation="auto",
            scan_unroll=0,
        ).resolved(platform)


def benchmark_training(
    benchmark: TrainBenchmark, profile: str | Path | None = None, n_traced: int = 5
) -> list[dict[str, Any]]:
    """Return one flat record for each side, PyTorch first.

    Args:
        benchmark: the settings.
        profile: folder for the traces, each in a folder named like the side; see `costs.profile`.
            None = no trace.
        n_traced: steps to trace.

    Raises:
        ValueError: PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise ValueError(
            "this measures against PyTorch, which is not installed: "
            "python -m pip install -e '.[benchmark]'"
        )
    from latent_jax.bench.torch_gpt import make_torch_step

    theirs = make_torch_step(benchmark.model, LEARNING_RATE)
    rows = _rows(np.random.default_rng(0), benchmark)
    float(theirs(*rows))
    # Compile one after the other, because both time kernels on the GPU while they compile.
    steps = {"PyTorch": theirs, "latent_jax": make_jax_step(benchmark)}
    seconds = time_in_turns(steps, benchmark)
    if profile is not None:
        for peer, step in steps.items():
            trace_steps(step, benchmark, Path(profile) / peer, n_traced)
    ratios = [
        theirs / ours
        for theirs, ours in zip(seconds["PyTorch"], seconds["latent_jax"], strict=True)
    ]
    versions = {
        "PyTorch": f"torch {importlib.metadata.version('torch')}",
        "latent_jax": f"jax {jax.__version__}",
    }
    return [
        {
            "peer": peer,
            "version": versions[peer],
            **dataclasses.asdict(benchmark),
            "n_parameters": _n_parameters(benchmark.model),
            "tokens_per_s": benchmark.batch_size
            * benchmark.row_length
            / statistics.median(seconds[peer]),
            "step_ms": 1e3 * statistics.median(seconds[peer]),
            "device": jax.devices()[0].device_kind,
            "speed_ratio": statistics.median(ratios) if peer == "latent_jax" else 1.0,
        }
        for peer in steps
    ]


def benchmark_and_print(
    benchmark: TrainBenchmark,
    json_path: str | None = None,
    profile: str | Path | None = None,
    n_traced: int = 5,
) -> None:
    """Print `benchmark_training` as a table, and the tables of profiles; keep records if asked to.

    Raises:
        ValueError: see `benchmark_training`; or there are no steps to trace.
    """
    check_traced(profile, n_traced)
    # PyTorch needs memory of the same GPU, and JAX takes three quarters of it by default.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    n_devices = spread_over_cores([benchmark.batch_size])
    n_positions = benchmark.batch_size * benchmark.row_length / max(n_devices, 1)
    words = dict(n_heads=benchmark.n_heads, row_length=benchmark.row_length, n_devices=n_devices)
    share_heap(n_positions, benchmark.d_model, benchmark.n_layers, **words)
    records = benchmark_training(benchmark, profile, n_traced)
    if json_path:
        write_table(records, json_path)
    print(text_table(records, COLUMNS))
    if profile is not None:
        for record in records:
            print(f"\n{record['peer']}: {describe_profile(Path(profile) / record['peer'])}")


def make_jax_step(benchmark: TrainBenchmark) -> Step:
    """Return the train step of this project as a `Step`: the one that `training.train` runs."""
    spec = batch_spec(benchmark.batch_size, benchmark.row_length)
    task = LanguageModeling(
        benchmark.model,
        separator_id=benchmark.vocab_size - 1,
        row_length=benchmark.row_length,
        bytes_per_token=1.0,
        head=Platform.current().head(benchmark.vocab_size),
    )
    optimizer = make_optimizer(
        OptimizerConfig(learning_rate=LEARNING_RATE, schedule="constant", warmup_steps=0),
        total_steps=1,
    )
    mesh = make_mesh("pmap", 1)
    init = initial_state(task, optimizer, spec, seed=0)
    state = create_state(init, abstract_state(init, mesh, "pmap"))
    train_step = compile_train_step(task, optimizer, state, spec, 1, mesh)
    rows = batch_sharding(mesh)

    def step(inputs_BT: np.ndarray, targets_BT: np.ndarray) -> jax.Array:
        # The task shifts the row itself.
        del inputs_BT
        nonlocal state
        batch = {
            "ids": targets_BT,
            "weights": np.ones(targets_BT.shape, np.float32),
            "n_bytes": np.full(len(targets_BT), targets_BT.shape[1], np.int32),
        }
        state, metrics = train_step(state, jax.device_put(batch, rows))
        return metrics.loss

    return step


def time_in_turns(steps: dict[str, Step], benchmark: TrainBenchmark) -> dict[str, list[float]]:
    """Return seconds per step for each of `steps`, which take turns on the same random rows.

    A turn is `steps_per_turn` steps, after which the clock waits for the last loss.
    """
    draw = np.random.default_rng(0)
    seconds = {name: [] for name in steps}
    n_warm_up = 2
    for i in range(n_warm_up + benchmark.n_steps):
        rows = _rows(draw, benchmark)
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(benchmark.steps_per_turn):
                loss = step(*rows)
            float(loss)
            if i >= n_warm_up:
                seconds[name].append((time.perf_counter() - start) / benchmark.steps_per_turn)
    return seconds


def trace_steps(step: Step, benchmark: TrainBenchmark, folder: Path, n_steps: int) -> None:
    """Trace `n_steps` steps of one side into a folder."""
    rows = _rows(np.random.default_rng(0), benchmark)
    float(step(*rows))
    with jax.profiler.trace(str(folder)):
        for number in range(n_steps):
            with mark_step(number):
                loss = step(*rows)
        float(loss)
        # The loss is ready before its step ends: give the device time to finish the step.
        time.sleep(0.5)


def _rows(draw: np.random.Generator, benchmark: TrainBenchmark) -> tuple[np.ndarray, np.ndarray]:
    """Return random inputs and targets, int32[B, T] each."""
    shape = (benchmark.batch_size, benchmark.row_length)
    targets_BT = draw.integers(0, benchmark.vocab_size, shape, dtype=np.int32)
    separator_id = benchmark.vocab_size - 1
    inputs_BT = np.pad(targets_BT[:, :-1], ((0, 0), (1, 0)), constant_values=separator_id)
    return inputs_BT, targets_BT


def _n_parameters(config: GPTConfig) -> int:
    ids = jax.ShapeDtypeStruct((1, 1), np.int32)
    variables = jax.eval_shape(GPT(config).init, jax.random.key(0), ids)
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
