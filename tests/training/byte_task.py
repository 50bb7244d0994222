"""A small but whole task for the tests of the loop: a byte model that sees two bytes back.

It has dropout (random draws in the step), a mutable collection (byte counts), weights that differ
between rows (padding), and layers named as in `latent_jax.layers`, so that every sharding rule has
work.
"""

import dataclasses
import os
import pathlib
import pydoc_data.topics
import subprocess
import sys
import textwrap

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.contracts import Evaluation
from latent_jax.training import (
    Checkpoints,
    OptimizerConfig,
    TrainingConfig,
    abstract_state,
    initial_state,
    make_mesh,
    open_run_folder,
    train,
)
from latent_jax.training.metrics import read_records
from latent_jax.training.optimizer import make_optimizer

VOCAB_SIZE = 258  # 256 bytes, the separator, and one unused: even, so that two devices share it
SEPARATOR = 256
ROW_LENGTH = 32
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, warmup_steps=2)


class FeedForward(nn.Module):
    d_ff: int

    @nn.compact
    def __call__(self, x_BTD):
        h_BTF = jax.nn.gelu(nn.Dense(self.d_ff, name="up")(x_BTD))
        return nn.Dense(x_BTD.shape[-1], name="down")(h_BTF)


class ByteModel(nn.Module):
    d_model: int = 32
    d_ff: int = 128
    dropout: float = 0.1

    @nn.compact
    def __call__(self, ids_BT, weights_BT, train=False):
        embed = nn.Embed(VOCAB_SIZE, self.d_model, name="token_embedding")
        counts_V = self.variable("statistics", "byte_counts", jnp.zeros, (VOCAB_SIZE,))
        if train:
            one_hot_BTV = jax.nn.one_hot(ids_BT, VOCAB_SIZE) * weights_BT[..., None]
            counts_V.value += jnp.sum(one_hot_BTV, axis=(0, 1))
        padded = jnp.pad(ids_BT, ((0, 0), (2, 0)), constant_values=SEPARATOR)
        x_BTD = embed(padded[:, 1:-1]) + 0.5 * embed(padded[:, :-2])
        x_BTD = x_BTD + FeedForward(self.d_ff, name="feed_forward")(x_BTD)
        x_BTD = nn.Dropout(self.dropout, deterministic=not train)(nn.LayerNorm(name="norm")(x_BTD))
        return embed.attend(x_BTD)


@dataclasses.dataclass(frozen=True)
class ByteTask:
    dropout: float = 0.1
    d_model: int = 32
    frozen: tuple[str, ...] = ()
    poison_step: int = -1
    name: str = "bytes_two_back"

    fields = ("ids",)
    amounts = {"bytes": 1.0, "tokens": 1.0}
    tokenizer_flops_per_byte = 0.0

    @property
    def train_flops_per_byte(self):
        return 3.0 * self.flops_per_byte

    @property
    def flops_per_byte(self):
        return 2.0 * (2 * self.d_model * 128 + self.d_model * VOCAB_SIZE)

    @property
    def model(self):
        return ByteModel(d_model=self.d_model, dropout=self.dropout)

    def train_flops(self, seen):
        return self.train_flops_per_byte * seen["bytes"]

    def init(self, key, batch):
        return self.model.init(key, batch["ids"], batch["weights"])

    def _scores(self, logits_BTV, batch):
        nats_BT = -jnp.take_along_axis(
            jax.nn.log_softmax(logits_BTV), batch["ids"][..., None], axis=-1
        )[..., 0]
        weight = jnp.sum(batch["weights"])
        return {
            "weight": weight,
            "nats": jnp.sum(nats_BT * batch["weights"]),
            "n_tokens": weight,
            "n_bytes": jnp.sum(batch["n_bytes"]),
        }

    def loss(self, variables, batch, key, step, train):
        logits_BTV, state = self.model.apply(
            variables,
            batch["ids"],
            batch["weights"],
            train=train,
            rngs={"dropout": key},
            mutable=["statistics"],
        )
        scores = self._scores(logits_BTV, batch)
        loss = scores["nats"] / jnp.maximum(scores["weight"], 1.0)
        if self.poison_step >= 0:
            loss = jnp.where(step == self.poison_step, jnp.nan, loss)
        return loss, (scores, state)

    def evaluate(self, variables, batch):
        logits_BTV = self.model.apply(variables, batch["ids"], batch["weights"])
        return self._scores(logits_BTV, batch)

    def summarize(self, sums):
        return {"bits_per_byte": float(sums["nats"]) / float(np.log(2)) / float(sums["n_bytes"])}


def rows(split: str) -> list[dict[str, np.ndarray]]:
    """Return the help topics of Python as padded rows: 7 documents in 8 for training, the rest held
    out."""
    packed = []
    for i, key in enumerate(sorted(pydoc_data.topics.topics)[:32]):
        if (i % 8 == 7) != (split == "validation"):
            continue
        text = np.frombuffer(pydoc_data.topics.topics[key].encode()[:4000], np.uint8)
        for start in range(0, len(text), ROW_LENGTH):
            piece = text[start : start + ROW_LENGTH]
            ids = np.full(ROW_LENGTH, SEPARATOR, np.int32)
            ids[: len(piece)] = piece
            weights = np.zeros(ROW_LENGTH, np.float32)
            weights[: len(piece)] = 1.0
            packed.append({"ids": ids, "weights": weights, "n_bytes": np.int32(len(piece))})
    return packed


def train_batches(batch_size: int, workers: int = 0):
    """Return a Grain iterator of global batches, cut to the rows of this process."""
    dataset = grain.MapDataset.source(rows("train")).seed(0).shuffle().repeat()
    local = batch_size // jax.process_count()
    if jax.process_count() > 1:
        # Batch b holds the rows b*B .. b*B+B-1 whatever the number of processes.
        first = jax.process_index() * local
        dataset = dataset.batch(batch_size).map(
            lambda batch: {k: v[first : first + local] for k, v in batch.items()}
        )
    else:
        dataset = dataset.batch(batch_size)
    dataset = dataset.to_iter_dataset()
    if workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(dataset)


def eval_batches(batch_size: int = 16, n_batches: int = 4):
    """Return held-out batches of this process, the last one with rows of padding."""
    held_out = rows("validation")[: batch_size * n_batches - 3]
    empty = {
        "ids": np.full(ROW_LENGTH, SEPARATOR, np.int32),
        "weights": np.zeros(ROW_LENGTH, np.float32),
        "n_bytes": np.int32(0),
    }
    held_out += [empty] * 3
    local = batch_size // jax.process_count()
    first = jax.process_index() * local
    return [
        {
            k: np.stack([row[k] for row in held_out[i + first : i + first + local]])
            for k in held_out[0]
        }
        for i in range(0, batch_size * n_batches, batch_size)
    ]


def run(workdir, *, total_steps=12, batch_size=16, task=None, devices=None, **changes):
    """Train a `ByteTask` in `workdir`; `changes` go to TrainingConfig, but for those named here."""
    data = changes.pop("train_data", None)
    workers = changes.pop("workers", 0)
    fingerprint = changes.pop("fingerprint", "bytes-v1")
    optimizer = changes.pop("optimizer", OPTIMIZER)
    evaluations = changes.pop("evaluations", [Evaluation(changes.pop("eval_data", eval_batches))])
    on_evaluation = changes.pop("on_evaluation", None)
    spec = changes.pop("batch_spec", None)
    config = TrainingConfig(
        **{"log_every": 2, "eval_every": 6, "save_every": 6, "progress": False, **changes}
    )
    return train(
        task or ByteTask(),
        config,
        optimizer,
        total_steps=total_steps,
        train_data=data or train_batches(batch_size, workers),
        run_folder=open_run_folder(workdir, {"task": "bytes"}),
        mesh=make_mesh(config.strategy, config.model_parallel, devices),
        tokenizer_fingerprint=fingerprint,
        data_workers=workers,
        evaluations=evaluations,
        on_evaluation=on_evaluation,
        batch_spec=spec,
    )


def set_up_process():
    """Do for a process of a test's own what conftest.py does; N_DEVICES says how many devices."""
    from absl import flags

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", int(os.environ.get("N_DEVICES", "1")))
    jax.config.update("jax_numpy_rank_promotion", "raise")
    flags.FLAGS.mark_as_parsed()


def saved_state(workdir, step=-1, devices=None, task=None):
    """Return (state, metadata) of a checkpoint of `run`, on a mesh of the given devices."""
    devices = devices or jax.devices()[:1]
    optimizer = make_optimizer(OPTIMIZER, 12)
    init = initial_state(task or ByteTask(), optimizer, next(train_batches(16)), 0)
    checkpoints = Checkpoints(workdir / "checkpoints")
    restored = checkpoints.restore(
        abstract_state(init, make_mesh("fsdp", devices=devices), "fsdp"), {}, step
    )
    checkpoints.close()
    return restored.state, restored.metadata


def untimed_records(workdir):
    """Return the records of a run without what a clock measured."""
    timed = ("seconds", "bytes_per_second", "steps_per_second")
    return [
        {k: v for k, v in record.items() if k not in timed}
        for record in read_records(workdir / "metrics.jsonl")
    ]


def start_process(code: str, **environment: str) -> subprocess.Popen:
    """Start a Python process that runs `code` with this module's names; it ends like a program."""
    preamble = "from tests.training.byte_task import *\nset_up_process()\n"
    root = pathlib.Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", preamble + textwrap.dedent(code)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
