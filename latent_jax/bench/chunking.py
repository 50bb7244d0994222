"""Training speed per FLOP of models that cut bytes into chunks, compared with the GPT over bytes.

All models train on the same rows, in turns in one process, so that other load of the machine slows
all of them. A turn is a few steps. The order of the models rotates from turn to turn, because a
model may pay for threads that the one before it has left busy. FLOPs are those of the ledger: of a
model that makes chunks, those of all chunks that a row has room for, because they are computed.
Weights are drawn, also those of BLT's entropy model, of which the network alone is read.

Where the package h-net-dynamic-chunking (PyTorch) is installed, its H-Net trains too, and beside it
the one of this project that has the same shape, whose encoder and decoder are attention.
"""

import dataclasses
import importlib.util
import logging
import os
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from latent_jax.bench.chunking_sides import (
    PEER,
    PEER_MODULE,
    OurSide,
    PeerSide,
    Side,
    Turn,
    take_turns,
)
from latent_jax.bench.step import prepare_step, solved_config
from latent_jax.bench.tokenizers import read_texts
from latent_jax.contracts import Vocabulary
from latent_jax.experiments.cores import use_cores
from latent_jax.experiments.entropy_runs import settle_entropy_model
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tokenizers import Bytes
from latent_jax.training.host import n_cores

logger = logging.getLogger(__name__)

METHODS = (
    "Bytes",
    "HNet[n=4]",
    "HNet[n=4,router=stride]",
    "HNet[n=2,stages=2]",
    "TokenPooling[n=4]",
)
"""Those that are measured by default; the first one is always the first row."""

BY_ENTROPY = "BLT[n=4]"
"""Measured too where there is a byte model."""

TWIN_METHOD = "HNet[n=4]"
"""The method of the pair: the peer's model, and ours of the same shape."""

NO_PEER = (
    f"{PEER} is not installed, so its H-Net is left out: python -m pip install -e '.[benchmark]'"
)

COLUMNS = (
    "name",
    Column("outer", "outer\nblocks"),
    Column("width", "width", ",d"),
    "n_parameters",
    "bytes_per_chunk",
    Column("train_flops_per_byte", "training\nFLOPs/byte", ".2e"),
    Column("step_ms", "step\nms", ",.1f"),
    "bytes_per_s",
    Column("train_flops_per_s", "GFLOP/s", ".2f", 1e-9),
    Column("per_flop_ratio", "per FLOP, times\nthe first row", ".2f"),
    Column("per_flop_ratio_low", "turns\nfrom", ".2f"),
    Column("per_flop_ratio_high", "\nto", ".2f"),
)
PEER_COLUMNS = (Column("peer_per_flop_ratio", "per FLOP, times\nthe peer's speed", ".2f"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChunkingBenchmark:
    """The settings of the benchmark.

    Attributes:
        n_steps: turns that count.
        steps_per_turn: steps of a turn, after which the clock waits for the last one.
        files: text; () = random bytes.
        text_field: of .jsonl files.
        max_bytes: of the text; 0 = all.
    """

    n_steps: int = 5
    steps_per_turn: int = 1
    files: Sequence[str] = ()
    text_field: str = "text"
    max_bytes: int = 0

    def __post_init__(self):
        """Check ranges."""
        for field in ("n_steps", "steps_per_turn"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1; got {getattr(self, field)}")


def benchmark_chunking(
    configs: Mapping[str, ConfigDict], twin: ConfigDict, benchmark: ChunkingBenchmark
) -> list[dict[str, Any]]:
    """Return one flat record for each model, in order; the first one is what others are held to.

    Args:
        configs: name of a row -> config, all with the same batch and row length.
        twin: of the model that the peer is compared with, see `twin_config`; where the peer is not
            installed, it is not measured.
        benchmark: the settings.

    Raises:
        ValueError: a model cannot be made or does not read bytes, rows differ, the text is shorter
            than a row, or a loss is not finite.
    """
    has_peer = importlib.util.find_spec(PEER_MODULE) is not None
    name = f"{twin.method}, attention"
    measured = {**configs, **({name: twin} if has_peer else {})}
    if has_peer:
        # PyTorch needs memory of the same GPU, and JAX takes three quarters of it by default.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    use_cores([*measured.values()])
    solved = _solved(measured)
    first, _ = next(iter(solved.values()))
    draw_rows = _row_source(benchmark, first.batch_size, first.row_length)
    prepared = {}
    for key, each in solved.items():
        prepared[key] = prepare_step(*each)
        logger.info("%s is compiled, in %.0f s", key, prepared[key].compile_seconds)
    sides: dict[str, Side] = {key: OurSide(step) for key, step in prepared.items()}
    if has_peer:
        sides[PEER] = PeerSide(prepared[name])
    turns = take_turns(sides, draw_rows, benchmark.n_steps, benchmark.steps_per_turn)
    shared = {
        "device": jax.devices()[0].device_kind,
        "device_count": len(jax.devices()),
        "cores": n_cores(),
        "dtype": str(getattr(prepared[next(iter(prepared))].task.model_config, "dtype", "float32")),
        "batch_size": first.batch_size,
        "row_length": first.row_length,
        "n_steps": benchmark.n_steps,
        "steps_per_turn": benchmark.steps_per_turn,
        "text": ",".join(benchmark.files) or "random bytes",
        **({} if has_peer else {"no_peer": NO_PEER}),
    }
    n_bytes = first.batch_size * first.row_length
    return [
        {
            "name": key,
            **side.record(),
            **_speeds(turns, key, n_bytes, next(iter(sides)), has_peer),
            **shared,
        }
        for key, side in sides.items()
    ]


def benchmark_chunking_and_print(
    configs: Mapping[str, ConfigDict],
    twin: ConfigDict,
    benchmark: ChunkingBenchmark,
    json_path: str | None = None,
) -> None:
    """Print `benchmark_chunking` as a table, and keep the records if a path is given."""
    records = benchmark_chunking(configs, twin, benchmark)
    if json_path:
        write_table(records, json_path)
    missing = records[0].get("no_peer")
    print(text_table(records, COLUMNS if missing else COLUMNS + PEER_COLUMNS))
    if missing:
        print(f"\n{missing}")


def names_of(methods: str, has_entropies: bool) -> list[str]:
    """Return the methods that are measured, Bytes first, each once.

    Args:
        methods: names with commas between them; commas in square brackets are part of a name.
        has_entropies: whether there is a byte model whose entropies BLT can read, which adds it.
    """
    found = [name.strip() for name in re.split(r",(?![^\[]*\])", methods)]
    found = [METHODS[0], *filter(None, found), *[BY_ENTROPY] * has_entropies]
    return [*dict.fromkeys(found)]


def twin_config(config: ConfigDict) -> ConfigDict:
    """Return a config of H-Net with attention in encoder and decoder, as the peer has them.

    One block stands for two of Mamba-2, which have no feed-forward part.
    """
    twin = ConfigDict(config.to_dict())
    twin.hierarchy.update(outer="attention", layers=1)
    return twin


def _speeds(
    turns: Mapping[str, Sequence[Turn]], name: str, n_bytes: int, first: str, has_peer: bool
) -> dict[str, Any]:
    """Return medians over the turns of a model, and of its ratios to others in the same turn."""
    rates = {key: [n_bytes * turn.flops / turn.seconds for turn in turns[key]] for key in turns}
    own = turns[name]

    def ratios(other):
        return [a / b for a, b in zip(rates[name], rates[other], strict=True)]

    seconds = statistics.median(turn.seconds for turn in own)
    chunks = [turn.bytes_per_chunk for turn in own]
    of_first = ratios(first)
    return {
        "bytes_per_chunk": None if chunks[0] is None else statistics.median(chunks),
        "train_flops_per_byte": statistics.median(turn.flops for turn in own),
        "step_ms": 1e3 * seconds,
        "step_ms_low": 1e3 * min(turn.seconds for turn in own),
        "step_ms_high": 1e3 * max(turn.seconds for turn in own),
        "bytes_per_s": n_bytes / seconds,
        "train_flops_per_s": statistics.median(rates[name]),
        "per_flop_ratio": statistics.median(of_first),
        "per_flop_ratio_low": min(of_first),
        "per_flop_ratio_high": max(of_first),
        **({"peer_per_flop_ratio": statistics.median(ratios(PEER))} if has_peer else {}),
    }


def _solved(configs: Mapping[str, ConfigDict]) -> dict[str, tuple[ConfigDict, Vocabulary]]:
    """Return solved configs, which all read the same rows of bytes."""
    solved = {}
    for name, config in configs.items():
        if not family(parse(config.method).family).ids_are_bytes:
            raise ValueError(
                f"{config.method} does not read bytes, of which all rows of this benchmark are: "
                "leave it out of --methods"
            )
        settle_entropy_model(config, {})
        solved[name] = solved_config(config, 1.0)
    shapes = {name: (one.batch_size, one.row_length) for name, (one, _) in solved.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"all models read the same rows; got {shapes}")
    return solved


def _row_source(
    benchmark: ChunkingBenchmark, batch_size: int, row_length: int
) -> Callable[[], np.ndarray]:
    """Return a function that draws rows int32[B, T], of random bytes or anywhere in the text."""
    draw, shape = np.random.default_rng(0), (batch_size, row_length)
    if not benchmark.files:
        return lambda: draw.integers(0, 256, shape, dtype=np.int32)
    code = Bytes()
    texts = read_texts(benchmark.files, benchmark.text_field, benchmark.max_bytes)
    ends = np.array([code.separator_id], np.int32)
    ids = np.concatenate([part for text in texts for part in (code.encode(text), ends)])
    if len(ids) < row_length:
        raise ValueError(f"the text has {len(ids)} bytes, and a row {row_length}: give more --data")

    def rows() -> np.ndarray:
        starts_B = draw.integers(0, len(ids) - row_length + 1, batch_size)
        return ids[starts_B[:, None] + np.arange(row_length)[None]].astype(np.int32)

    return rows
