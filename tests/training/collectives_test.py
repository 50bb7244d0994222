"""What devices send each other in a train step, and what it holds: read off the compiled program.

The partitioner is the same on every platform, so eight CPU devices show what a TPU slice does.
"""

import collections
import functools
import re

import jax
import numpy as np
import pytest

import latent_jax.sharding_constraints
from latent_jax.chunking.fixed import make_config
from latent_jax.models.autoencoder import AutoencoderConfig
from latent_jax.models.bert import BERTConfig
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.latent_lm import LatentLMConfig
from latent_jax.quantizers import QuantizerConfig
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tasks.latent_language import LatentLanguage
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import make_optimizer
from latent_jax.training.state import abstract_state, initial_state
from latent_jax.training.step import compile_train_step

B, T, D = 32, 64, 64
MOVES_ROWS = ("all-to-all", "collective-permute")
TRANSFORMER = dict(d_model=D, n_heads=2, n_layers=2, dropout=0.1, attention_implementation="xla")


def latent_task(compressor):
    language_model = GPTConfig(vocab_size=128, max_length=T // 2, **TRANSFORMER)
    autoencoder = AutoencoderConfig(
        encoder=BERTConfig(vocab_size=257, max_length=T, **TRANSFORMER),
        decoder=BERTConfig(max_length=T, **TRANSFORMER),
        compressor=make_config(compressor, factor=2, d_model=D, max_length=T),
        quantizer=QuantizerConfig(codebook_size=128, d_model=D, kmeans_iterations=2),
    )
    return LatentLanguage(LatentLMConfig(autoencoder, language_model), row_length=T)


TASKS = {
    # 257 ids: eight devices can split the table by features only.
    "gpt": LanguageModeling(GPTConfig(vocab_size=257, max_length=T, **TRANSFORMER), 256, T, 1.0),
    **{kind: latent_task(kind) for kind in ("conv1d", "ssm", "attention_pool")},
}


def compiled(task, strategy, model_parallel=1, accumulation=1):
    """Return the train step of 32 rows on eight devices; nothing is computed."""
    mesh = make_mesh(strategy, model_parallel)
    optimizer = make_optimizer(OptimizerConfig(warmup_steps=1), 10)
    batch = {
        "ids": jax.ShapeDtypeStruct((B, T), np.int32),
        "weights": jax.ShapeDtypeStruct((B, T), np.float32),
        "n_bytes": jax.ShapeDtypeStruct((B,), np.int32),
    }
    state = abstract_state(initial_state(task, optimizer, batch, 0), mesh, strategy)
    return compile_train_step(task, optimizer, state, batch, accumulation, mesh).compiled


def collectives(program) -> collections.Counter:
    """Return how many instructions of a program send data, by kind."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    found = re.findall(rf" = .*? ({kinds})(?:-start)?\(", program.as_text())
    return collections.Counter(found)


def moves(program) -> int:
    found = collectives(program)
    return sum(found[kind] for kind in MOVES_ROWS)


def temporary_bytes(program) -> int:
    """Return the bytes that one device holds beside arguments and results."""
    return program.memory_analysis().temp_size_in_bytes


@functools.cache
def replicated_program(name):
    return compiled(TASKS[name], "pmap")


NAMES = ["gpt", *(pytest.param(name, marks=pytest.mark.slow) for name in list(TASKS)[1:])]


@pytest.mark.parametrize("name", NAMES)
def test_fsdp_gathers_weights_and_moves_no_row(name):
    program, replicated = compiled(TASKS[name], "fsdp"), replicated_program(name)
    assert moves(program) == 0, collectives(program)
    assert collectives(program)["all-gather"] > collectives(replicated)["all-gather"]
    assert temporary_bytes(program) <= 1.1 * temporary_bytes(replicated)


@pytest.mark.parametrize("name", NAMES)
def test_tensor_moves_no_row(name):
    program = compiled(TASKS[name], "tensor", model_parallel=2)
    assert moves(program) == 0, collectives(program)
    # Twice the rows of pmap on each device, but half of the heads and of the feed-forward width.
    assert temporary_bytes(program) <= 2 * 1.1 * temporary_bytes(replicated_program(name))


def test_micro_batches_move_no_row_and_hold_less():
    program = compiled(TASKS["gpt"], "fsdp", accumulation=2)
    assert moves(program) == 0, collectives(program)
    assert temporary_bytes(program) < 0.8 * temporary_bytes(replicated_program("gpt"))


def test_rows_move_where_nothing_is_said(monkeypatch):
    monkeypatch.setattr(latent_jax.sharding_constraints, "_mesh", lambda: None)
    assert moves(compiled(TASKS["gpt"], "fsdp")) > 0


def test_no_device_holds_the_whole_weights_of_all_layers():
    config = TASKS["gpt"].model_config
    stack = rf"\[{config.n_layers},{D},{config.hidden_size}\]"  # of feed_forward/up
    assert re.search(stack, replicated_program("gpt").as_text())
    assert not re.search(stack, compiled(TASKS["gpt"], "fsdp").as_text())
