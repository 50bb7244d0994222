"""The hierarchical task over tokens: bits and rates by hand; experts and joint decoding."""

import dataclasses
import functools
import math
import pydoc_data.topics

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.tokenizers import BPE
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import make_optimizer, path_name
from latent_jax.training.sharding import batch_sharding, leaf_spec
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.step import compile_train_step
from tests.small_hierarchy import make_config

V, T, B = 360, 24, 4
TEXT = "".join(pydoc_data.topics.topics.values()).encode()[:4000]
CONFIG = make_config(
    "bernoulli",
    vocab_size=V,
    separator_id=V - 1,
    rate=1.5,
    slack=1.5,
    control_steps=10,
    joint=True,
    residual="identity",
    middle=dict(n_experts=3, n_chosen=2, expert_slack=1.0),
)
TASK = HierarchicalLanguageModeling(
    CONFIG, row_length=T, bytes_per_token=2.0, unit="tokens", balance_weight=0.1
)
PLAIN = dataclasses.replace(TASK, balance_weight=0.0, boundary_weight=0.0)


@functools.cache
def code():
    return BPE.train([TEXT], V)


@pytest.fixture(scope="module")
def batch():
    """Rows of documents of 30 bytes; the last row ends in padding that is not scored."""
    documents = [TEXT[i : i + 30] for i in range(0, 600, 30)]
    pairs = []
    for text in documents:
        ids = code().encode(text)
        pairs += [*zip(ids, code().byte_lengths(ids), strict=True), (V - 1, 0)]
    ids, lengths = (np.array(x[: B * T]).reshape(B, T) for x in zip(*pairs, strict=True))
    weights = np.ones((B, T), np.float32)
    weights[-1, 15:] = 0
    ids, lengths = np.where(weights > 0, ids, V - 1), lengths * (weights > 0)
    n_bytes = jnp.asarray(lengths.sum(axis=1), jnp.int32)
    assert n_bytes.sum() > 1.3 * weights.sum(), "a token is more than a byte"
    return dict(ids=jnp.asarray(ids, jnp.int32), weights=jnp.asarray(weights), n_bytes=n_bytes)


@pytest.fixture(scope="module")
def variables(batch):
    return jax.jit(TASK.init)(jax.random.key(0), batch)


@functools.partial(jax.jit, static_argnames=("task", "train"))
def loss_of(task, variables, batch, train=False):
    return task.loss(variables, batch, jax.random.key(0), jnp.int32(0), train)


def test_bits_and_rates_are_of_raw_bytes_by_hand(variables, batch):
    assert set(variables) == {"params", "rate"}
    sums = jax.device_get(jax.jit(TASK.evaluate)(variables, batch))
    stages, nats_BT = jax.jit(TASK.boundaries)(variables, batch)
    metrics, mask = TASK.summarize(sums), np.asarray(batch["weights"]) > 0
    ids = np.asarray(batch["ids"])[mask]
    text = b"".join(code().decode([i]) for i in ids if i != V - 1)
    n_chunks = np.asarray(stages[0].cut.is_first_BT)[mask].sum()
    bits = float(np.asarray(nats_BT)[mask].sum()) / math.log(2)
    assert metrics["bits_per_byte"] == pytest.approx(bits / len(text), rel=1e-5)
    assert metrics["bytes_per_token"] == pytest.approx(len(text) / len(ids))
    assert metrics["bytes_per_chunk_1"] == pytest.approx(len(text) / n_chunks)
    assert metrics["tokens_per_chunk_1"] == pytest.approx(len(ids) / n_chunks)
    assert metrics["bytes_per_chunk_1"] > metrics["tokens_per_chunk_1"] > 1
    assert 0 <= metrics["expert_drop_share"] < 1
    assert sums["n_expert_choices"] == 2 * n_chunks
    flops = sum(CONFIG.forward_flops(T).values())
    assert TASK.flops_per_byte == pytest.approx(flops / 2.0), "of a token of two bytes"


def test_the_threshold_follows_tokens_per_concept(variables, batch):
    _, (scores, state) = loss_of(TASK, variables, batch, train=True)
    assert set(state) == {"rate"}
    threshold = state["rate"]["stage"]["chunker"]["threshold"]
    assert threshold["n_steps"] == 1
    # The same boundaries against a target in bytes: more are wanted, so the threshold falls.
    of_bytes = dataclasses.replace(TASK, unit="bytes")
    _, (_, other) = loss_of(of_bytes, variables, batch, train=True)
    lower = other["rate"]["stage"]["chunker"]["threshold"]["threshold"]
    assert float(batch["n_bytes"].sum()) > 1.3 * float(scores["n_tokens"])
    assert lower < threshold["threshold"]
    assert "tokens_per_chunk_1" not in of_bytes.summarize(
        jax.device_get({**scores, "n_expert_drops": 0, "n_expert_choices": 1})
    )


def test_the_losses_of_router_and_experts_are_added(variables, batch):
    loss, (scores, _) = loss_of(TASK, variables, batch)
    plain, _ = loss_of(PLAIN, variables, batch)
    assert plain == pytest.approx(float(scores["nats"] / scores["weight"]), rel=1e-5)
    more = float(loss - plain)
    assert more == pytest.approx(0.03 + 0.1, abs=0.04), "both losses are near 1"


def test_every_parameter_learns(variables, batch):
    def loss(params):
        state = {**variables, "params": params}
        return TASK.loss(state, batch, jax.random.key(0), jnp.int32(0), True)[0]

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    chex.assert_tree_all_finite(gradient)
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(gradient)]
    for name, leaf in zip(names, jax.tree.leaves(gradient), strict=True):
        assert float(jnp.abs(leaf).max()) > 0, name
    assert any("memory_query_key_value" in name for name in names)
    assert any("experts/router" in name for name in names)


def test_tokens_are_chunks_already():
    """H-Net, section 2.3: the rate of learning falls with the bytes that a position stands for."""
    task = dataclasses.replace(TASK, stage_rates="hnet")
    factors = [float(schedule(jnp.int32(1))) for schedule in task.rates.values()]
    assert factors == pytest.approx([math.sqrt(4.6 / 2.0), math.sqrt(4.6 / 3.0)])


def test_stacks_are_those_of_decoder_and_middle():
    (decoder, length), (main, n_chunks) = TASK.stacks
    assert length == T and decoder == CONFIG.stage.decoder.stack
    assert n_chunks == 24 and main.n_experts == 3 and main.kept_bytes > decoder.kept_bytes


def test_a_mesh_splits_experts_by_their_width():
    mesh = make_mesh("tensor", 2, jax.devices()[:2])
    start = "params/stage/inner/stack/blocks"
    for name, shape, axis in (
        ("experts/up/kernel", (2, 3, 8, 16), 3),
        ("experts/down/kernel", (2, 3, 16, 8), 2),
        ("attention/memory_query_key_value/kernel", (2, 8, 2, 3, 4), 2),
    ):
        spec = leaf_spec(f"{start}/{name}", shape, mesh, "tensor")
        assert [i for i, place in enumerate(spec) if place == "model"] == [axis]


@pytest.mark.slow
def test_eight_devices_train_as_one(batch):
    rows = {name: np.concatenate([x, x[::-1]]) for name, x in jax.device_get(batch).items()}
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=1, epsilon=1e-3), 9)
    ends = []
    for strategy, n_devices in (("pmap", 1), ("pmap", 8), ("fsdp", 8)):
        mesh = make_mesh(strategy, 1, jax.devices()[:n_devices])
        init = initial_state(TASK, optimizer, rows, 0)
        state = create_state(init, abstract_state(init, mesh, strategy))
        step = compile_train_step(TASK, optimizer, state, rows, 1, mesh)
        for _ in range(2):
            state, metrics = step(state, jax.device_put(rows, batch_sharding(mesh)))
        ends.append((float(metrics.loss), jax.device_get(metrics.scores)))
    for other in ends[1:]:
        chex.assert_trees_all_close(other, ends[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(unit="byte"), "unknown unit .byte. .did you mean .bytes."),
        (dict(balance_weight=-1.0), "balance_weight must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TASK, **words)
