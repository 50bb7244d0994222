"""A config's train and evaluation step, lowered for a target; nothing is read or computed."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.costs.cudnn import traceable_cudnn
from latent_jax.costs.memory import settle_remat
from latent_jax.costs.target import Target
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.row_codes import config_batch_spec
from latent_jax.methods.settings import check_settings, state_rule
from latent_jax.methods.solve import solve_shape, solve_steps
from latent_jax.methods.tasks import make_task
from latent_jax.methods.tokenizers import vocab_size
from latent_jax.platform import Platform
from latent_jax.training import (
    OptimizerConfig,
    TrainingConfig,
    abstract_state,
    check_batch,
    initial_state,
    make_mesh,
)
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.step import lower_eval_step, lower_train_step
from latent_jax.training.task_optimizer import optimizer_of

PROGRAMS = ("train", "evaluation")


@dataclasses.dataclass(frozen=True)
class Programs:
    """The two steps of a config.

    Attributes:
        config: with row length and width solved.
        task: made for the target's platform.
        argument_bytes: bytes of the arguments on one device, by the names of `PROGRAMS`.
        lowered: the lowered steps, by the names of the programs that were asked for.
    """

    config: ConfigDict
    task: Task
    argument_bytes: dict[str, int]
    lowered: dict[str, jax.stages.Lowered]


def assumed_vocabulary(config: ConfigDict, bytes_per_token: float) -> Vocabulary:
    """Return the vocabulary that follows from a method's name; no tokenizer is made.

    Args:
        config: as `configs.common.default` makes it.
        bytes_per_token: raw bytes per id, which can be measured only on text; for methods whose ids
            are bytes it is ignored and 1 is used.
    """
    method = parse(config.method)
    known = family(method.family)
    size = vocab_size(method)
    return Vocabulary(size, size - 1, 1.0 if known.ids_are_bytes else bytes_per_token)


def lower(
    config: ConfigDict,
    vocabulary: Vocabulary,
    target: Target,
    programs: Sequence[str] = PROGRAMS,
) -> Programs:
    """Return the train and the evaluation step of a config, lowered for a target.

    Args:
        config: as `configs.common.default` makes it; its strategy decides the mesh.
        vocabulary: of its tokenizer, for example from `assumed_vocabulary`.
        target: from `make_target`.
        programs: some of `PROGRAMS`; the others are left out.

    Raises:
        ValueError: no model can be made from the config, or its batch does not divide among the
            devices.
    """
    state_rule(config)
    check_settings(config)
    training = TrainingConfig(**config.training, seed=config.seed)
    mesh = make_mesh(training.strategy, training.model_parallel, target.devices)
    check_batch(mesh, config.batch_size, training.accumulation)
    config = solve_shape(config, vocabulary)
    with traceable_cudnn():
        config = settle_remat(config, vocabulary, mesh, target.platform, target.chip)
        task = make_task(config, vocabulary, target.platform)
        total_steps, _ = solve_steps(config, task)
    batch = config_batch_spec(config)
    with traceable_cudnn():
        optimizer = optimizer_of(task, batch, OptimizerConfig(**config.optimizer), total_steps)
        state = abstract_state(
            initial_state(task, optimizer, batch, config.seed), mesh, training.strategy
        )
        make = {
            "train": lambda: lower_train_step(
                task, optimizer, state, batch, training.accumulation, mesh, target.platform
            ),
            "evaluation": lambda: lower_eval_step(
                task, state.variables, batch, mesh, target.platform
            ),
        }
        lowered = {program: make[program]() for program in programs}
    rows = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=batch_sharding(mesh))
        for name, x in batch.items()
    }
    argument_bytes = {
        "train": _device_bytes((state, rows)),
        "evaluation": _device_bytes((state.variables, rows)),
    }
    return Programs(config, task, argument_bytes, lowered)


def _device_bytes(tree: Any) -> int:
    """Return the bytes that one device holds of a tree of arrays with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def count_flops(
    config: ConfigDict, vocabulary: Vocabulary, programs: Sequence[str] = PROGRAMS
) -> dict[str, float]:
    """Return XLA's count of the FLOPs of a global batch, by the names of `PROGRAMS`.

    XLA counts the body of a loop once, and does not count the work of cuDNN's kernels. So the same
    model is lowered for one device without loops over layers, micro-batches and blocks of the
    vocabulary, and with XLA's attention. Nothing is compiled. Element-wise operations count too.

    Args:
        config: solved, see `Programs`.
        vocabulary: of its tokenizer.
        programs: some of `PROGRAMS`.
    """
    config = ConfigDict(config.to_dict())
    config.training.update(strategy="pmap", model_parallel=1, accumulation=1)
    # Integers have one way to be computed, without loops, and keys of the others are refused.
    for section in () if config.quantized else (config.model, config.autoencoder):
        section.update(attention_implementation="xla", scan_unroll=section.n_layers, remat="none")
    config.head = "auto" if config.quantized else "whole"
    one = Target("cpu", Platform("cpu"), tuple(jax.devices("cpu")[:1]), None, False)
    lowered = lower(config, vocabulary, one, programs).lowered
    return {program: each.cost_analysis()["flops"] for program, each in lowered.items()}


def ledger_flops(task: Task, config: ConfigDict, vocabulary: Vocabulary) -> dict[str, float]:
    """Return the analytic FLOPs of a global batch, by the names of `PROGRAMS`.

    "evaluation" is one forward pass. This leaves out two things: a latent method also decodes its
    language model's likeliest codes, and a run with snippets also scores snippets.
    """
    n_bytes = config.batch_size * config.row_length * vocabulary.bytes_per_token
    return {
        "train": task.train_flops_per_byte * n_bytes,
        "evaluation": task.flops_per_byte * n_bytes,
    }
