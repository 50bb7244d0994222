"""The two jobs of a worker: encode the rows of a coder, or train and score one cell.

A job is a dictionary of plain values, so that it can be sent to another process or machine. Its
inputs and results lie in the folder of the sweep. A job that was cut off continues when it is
started again.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from latent_jax.codec.encode import EncodeConfig, encode_corpora
from latent_jax.contracts import Evaluation, Vocabulary
from latent_jax.data import data_config
from latent_jax.experiments.entropy_runs import settle_entropy_model
from latent_jax.experiments.run import Experiment, run
from latent_jax.experiments.sweep.loading import config_of
from latent_jax.experiments.sweep.paper import paper_evaluation
from latent_jax.experiments.sweep.plan import Record, rows_folder
from latent_jax.json_files import Kind, read_json, write_sealed
from latent_jax.methods.cells import Sweep
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.solve import solve_shape

RESULT = "cell.json"
"""File in the run folder of a finished cell, with its record."""

_RESULT = Kind(
    keys={"name": str, "config": str},
    maybe={"seconds": float, "wall_seconds": float, "bytes_seen": int, "bits_per_byte": float},
    way_out="remove the file, and the cell is read from its checkpoint and scored again",
)

SPLIT_MARGIN = 1.1
"""Factor on the bytes that a budget, or the batches of the paper's protocol, need on average."""


def cell_folder(folder: Path, name: str) -> Path:
    """Return the run folder of a cell."""
    return folder / "cells" / name


def read_result(folder: Path, name: str) -> Record | None:
    """Return the record of a finished cell, or None."""
    path = cell_folder(folder, name) / RESULT
    return read_json(path, _RESULT) if path.exists() else None


def encode_cells(sweep: Sweep, folder: Path, records: Sequence[Record]) -> None:
    """Make the rows of cells whose methods differ in the width of tokens only.

    The training text is as long as the largest budget needs, or as the sweep allows. The validation
    text is the same raw bytes for every method. The test text is as long as the batches of the
    paper's protocol need.
    """
    configs = [config_of(sweep, record["config"]) for record in records]
    configs = [_solved(c, r) for c, r in zip(configs, records, strict=True)]
    test_bytes = max(
        sweep.paper_batches * c.batch_size * c.row_length * r["bytes_per_token"] * SPLIT_MARGIN
        for c, r in zip(configs, records, strict=True)
    )
    train_bytes = int(SPLIT_MARGIN * max(record["planned_bytes_seen"] for record in records))
    split_bytes = {
        "train": min(train_bytes, sweep.train_bytes or train_bytes),
        "validation": configs[0].evaluation_bytes,
        "test": int(test_bytes),
    }
    encodings = [
        EncodeConfig(
            tokenizer=config.method,
            row_length=config.row_length,
            cut_bytes=sweep.cut_bytes,
            example_bytes=sweep.example_bytes,
            split_bytes=split_bytes,
            m1=config.tokenizer.m1,
            lanes=config.tokenizer.lanes,
        )
        for config in configs
    ]
    outs = [rows_folder(folder, config) for config in configs]
    encode_corpora(encodings, data_config(configs[0]), outs)


def train_cell(sweep: Sweep, folder: Path, record: Record) -> Record:
    """Train a cell, or go on where it stopped, and score it by both protocols.

    Returns:
        The plan's record and the measured values; it is also written to the run folder.
    """
    began = time.monotonic()
    config = _solved(config_of(sweep, record["config"]), record)
    method = parse(config.method)
    if family(method.family).is_driven(method):
        config.data.source = "encoded"
        config.data.files = (str(rows_folder(folder, config)),)
    config.training.progress = False
    workdir = cell_folder(folder, record["name"])

    def paper(experiment: Experiment) -> list[Evaluation]:
        # The paper counts ids of a text, which rows of problems do not have.
        if "tokens" not in experiment.task.amounts:
            return []
        return [paper_evaluation(experiment, sweep.paper_batches)]

    final = run(config, workdir, more_evaluations=paper, pictures=False)
    result = {
        **record,
        **{key: value for key, value in final.items() if key != "split"},
        "wall_seconds": time.monotonic() - began,
    }
    write_sealed(workdir / RESULT, result)
    return result


def _solved(config: ConfigDict, record: Record) -> ConfigDict:
    """Return the configuration with the planned shape, even if ratios are measured anew later."""
    settle_entropy_model(config, {})
    if config.context_bytes or config.inference_flops_per_byte:
        vocabulary = Vocabulary(record["vocab_size"], 0, record["bytes_per_token"])
        vocabulary = dataclasses.replace(
            vocabulary, flops_per_byte=record["tokenizer_flops_per_byte"]
        )
        config = solve_shape(config, vocabulary)
        config.context_bytes, config.inference_flops_per_byte = 0, 0.0
    return config
