import dataclasses
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from latent_jax.layers.attention import Attention
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.experts import Experts
from latent_jax.layers.middle import MiddleConfig
from latent_jax.models.gpt import GPTConfig
from latent_jax.platform import Platform
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import make_optimizer, path_name
from latent_jax.training.sharding import TENSOR_RULES, leaf_spec
from latent_jax.training.state import (
    abstract_state,
    create_state,
    initial_state,
)
from latent_jax.training.step import compile_train_step

GPT_CONFIG = GPTConfig(vocab_size=64, max_length=16, n_layers=2, d_model=32, n_heads=4)
TASK = LanguageModeling(GPT_CONFIG, separator_id=63, row_length=16, bytes_per_token=1.0)
GATED_CONFIG = dataclasses.replace(
    GPT_CONFIG, norm="rms", gated=True, activation="relu", positions="relative"
)
GATED_TASK = dataclasses.replace(TASK, model_config=GATED_CONFIG)
MIDDLE = dict(
    vocab_size=0, max_length=1, n_layers=1, d_model=32, n_heads=4, positions="rotary", gated=True
)
GROUPED_CONFIG, SINGLE_CONFIG = (
    dataclasses.replace(GPT_CONFIG, positions="rotary", n_kv_heads=n) for n in (2, 1)
)
# As in Qwen2: a bias on queries, keys and values alone, and another epsilon.
QWEN2_CONFIG = dataclasses.replace(
    GROUPED_CONFIG, use_bias=False, qkv_bias=True, norm="rms", norm_epsilon=1e-3
)
GROUPED_TASK, SINGLE_TASK = (
    dataclasses.replace(TASK, model_config=config) for config in (QWEN2_CONFIG, SINGLE_CONFIG)
)
# A large epsilon: Adam divides by the gradient's size, which turns rounding of a tiny gradient into
# a step.
OPTIMIZER_CONFIG = OptimizerConfig(learning_rate=1e-2, warmup_steps=1, epsilon=1e-3)


def batch(seed: int, batch_size: int = 16):
    """Rows that can be learned: each counts up, from a random start; some end in padding."""
    random = np.random.default_rng(seed)
    ids_BT = (random.integers(0, 60, (batch_size, 1)) + np.arange(16)) % 60
    lengths_B = random.integers(4, 17, batch_size)
    weights_BT = np.arange(16)[None] < lengths_B[:, None]
    return {
        "ids": ids_BT.astype(np.int32),
        "weights": weights_BT.astype(np.float32),
        "n_bytes": lengths_B.astype(np.int32),
    }


def three_steps(strategy, model_parallel=1, n_devices=8, accumulation=1, task=TASK):
    """Return the state after three steps and the losses."""
    mesh = make_mesh(strategy, model_parallel, jax.devices()[:n_devices])
    optimizer = make_optimizer(OPTIMIZER_CONFIG, 10)
    init = initial_state(task, optimizer, batch(0), 0)
    state = create_state(init, abstract_state(init, mesh, strategy))
    step = compile_train_step(task, optimizer, state, batch(0), accumulation, mesh)
    losses = []
    for seed in range(3):
        rows = jax.device_put(batch(seed), jax.NamedSharding(mesh, P("data")))
        state, metrics = step(state, rows)
        losses.append(float(metrics.loss))
    return state, losses


@pytest.mark.parametrize(("strategy", "model_parallel"), [("fsdp", 1), ("tensor", 2)])
def test_the_host_draws_what_the_devices_would(strategy, model_parallel, monkeypatch):
    mesh = make_mesh(strategy, model_parallel, jax.devices())
    optimizer = make_optimizer(OPTIMIZER_CONFIG, 10)
    init = initial_state(TASK, optimizer, batch(0), 3)
    abstract = abstract_state(init, mesh, strategy)
    state = create_state(init, abstract)
    monkeypatch.setattr(Platform, "draws_on_host", False)
    chex.assert_trees_all_equal(state, create_state(init, abstract))
    other = create_state(initial_state(TASK, optimizer, batch(0), 4), abstract)
    kernel = ("stack", "blocks", "feed_forward", "up", "kernel")
    ours, theirs = (functools.reduce(dict.__getitem__, kernel, s.params) for s in (state, other))
    assert float(abs(ours - theirs).max()) > 1e-3
    for leaf, like in zip(jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True):
        assert leaf.sharding == like.sharding and leaf.dtype == like.dtype
    assert len({str(shard.index) for shard in ours.addressable_shards}) > 1, (
        "no device has it whole"
    )


@functools.cache
def one_device(task):
    return three_steps("pmap", n_devices=1, task=task)


@pytest.mark.parametrize(
    ("task", "strategy", "model_parallel"),
    [
        pytest.param(TASK, "pmap", 1, id="gpt2-pmap"),
        pytest.param(TASK, "tensor", 2, id="gpt2-tensor"),
        pytest.param(GATED_TASK, "fsdp", 1, id="gated, relative-fsdp"),
        pytest.param(GATED_TASK, "tensor", 2, id="gated, relative-tensor"),
        pytest.param(GROUPED_TASK, "fsdp", 1, id="qwen2, two heads of keys-fsdp"),
        pytest.param(GROUPED_TASK, "tensor", 2, id="qwen2, two heads of keys-tensor"),
        pytest.param(SINGLE_TASK, "tensor", 2, id="one head of keys-tensor"),
    ],
)
def test_eight_devices_and_two_micro_batches_train_as_one(task, strategy, model_parallel, capfd):
    state, losses = three_steps(strategy, model_parallel, accumulation=2, task=task)
    one_state, one_losses = one_device(task)
    np.testing.assert_allclose(losses, one_losses, rtol=1e-5)
    assert one_losses[0] > one_losses[2], (
        "three steps must change the loss, else nothing is compared"
    )
    chex.assert_trees_all_close(
        jax.device_get(state.params), jax.device_get(one_state.params), rtol=0, atol=1e-5
    )
    assert "Involuntary full rematerialization" not in capfd.readouterr().err
    up = state.params["stack"]["blocks"]["feed_forward"]["up"]["kernel"]
    share = up.addressable_shards[0].data.size / up.size
    assert share == {"pmap": 1.0, "fsdp": 1 / 8, "tensor": 1 / 2}[strategy]


def three_steps_of_jax_pmap(average):
    """Return what `three_steps` does, by `jax.pmap`; `average` joins the devices' gradients."""
    optimizer = make_optimizer(OPTIMIZER_CONFIG, 10)
    first = initial_state(TASK, optimizer, batch(0), 0)()

    @functools.partial(jax.pmap, axis_name="data")
    def step(state, rows):
        def loss(params):
            return TASK.loss({"params": params}, rows, state.key, state.step, True)

        (value, (scores, _)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        value, gradient = average((value, gradient), scores["weight"])
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), value

    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (8, *x.shape)), first)
    losses = []
    for seed in range(3):
        rows = {name: x.reshape(8, -1, *x.shape[1:]) for name, x in batch(seed).items()}
        states, values = step(states, rows)
        losses.append(float(values[0]))
    return jax.tree.map(lambda x: x[0], states.params), losses


def test_the_strategy_pmap_gives_the_numbers_of_jax_pmap():
    def by_weight(values, weight):
        total = jax.lax.psum(weight, "data")
        return jax.tree.map(lambda x: jax.lax.psum(x * weight, "data") / total, values)

    state, losses = three_steps("pmap")
    params, pmap_losses = three_steps_of_jax_pmap(by_weight)
    np.testing.assert_allclose(losses, pmap_losses, rtol=1e-5)
    chex.assert_trees_all_close(
        jax.device_get(state.params), jax.device_get(params), rtol=0, atol=1e-5
    )
    # Rows end in padding, so a plain mean over devices, as is usual with pmap, is another loss.
    _, mean_losses = three_steps_of_jax_pmap(lambda values, weight: jax.lax.pmean(values, "data"))
    assert abs(mean_losses[0] - losses[0]) > 1e-4


def test_strategies_lay_out_memory_differently():
    wide = dataclasses.replace(GPT_CONFIG, d_model=128, max_length=32)
    task = dataclasses.replace(TASK, model_config=wide)

    def abstract(strategy, model_parallel=1):
        init = initial_state(task, make_optimizer(OPTIMIZER_CONFIG, 10), batch(0), 0)
        return abstract_state(init, make_mesh(strategy, model_parallel), strategy)

    def size_on_a_device(state):
        leaves = jax.tree.leaves((state.params, state.opt_state))
        return sum(np.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves)

    pmap, fsdp, tensor = abstract("pmap"), abstract("fsdp"), abstract("tensor", 4)
    whole = sum(leaf.size for leaf in jax.tree.leaves((pmap.params, pmap.opt_state)))
    assert size_on_a_device(pmap) == whole
    assert size_on_a_device(fsdp) < 0.15 * whole
    assert 0.25 * whole < size_on_a_device(tensor) < 0.3 * whole
    # The moments lie as their parameters do.
    for state in (fsdp, tensor):
        specs = {
            path_name(path): leaf.sharding.spec
            for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)
        }
        moments = {
            path_name(path): leaf.sharding.spec
            for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
        }
        for name, spec in specs.items():
            found = [
                m for path, m in moments.items() if path.endswith((f"mu/{name}", f"nu/{name}"))
            ]
            assert found == [spec, spec]


def test_every_tensor_rule_names_a_parameter_of_the_gpt():
    mesh = make_mesh("tensor", 2)
    leaves = {}
    for task in (TASK, GATED_TASK, GROUPED_TASK):
        params = jax.eval_shape(lambda task=task: task.init(jax.random.key(0), batch(0)))["params"]
        flat = jax.tree_util.tree_leaves_with_path(params)
        leaves |= {path_name(path): leaf.shape for path, leaf in flat}
    # And those of networks over chunks.
    middle = MiddleConfig.of(TransformerConfig(**MIDDLE), n_experts=2, n_chosen=1)
    x = jnp.zeros((1, 4, 32))
    for name, module, words in (
        ("experts", Experts(middle), {}),
        ("attention", Attention(TransformerConfig(**MIDDLE), True), {"memory_BTD": x}),
        (
            "attention",
            Attention(TransformerConfig(**MIDDLE, n_kv_heads=2), True),
            {"memory_BTD": x},
        ),
    ):
        params = jax.eval_shape(lambda m=module, w=words: m.init(jax.random.key(0), x, **w))
        flat = jax.tree_util.tree_leaves_with_path(params["params"])
        leaves |= {f"{name}/{path_name(path)}": leaf.shape for path, leaf in flat}
    for pattern, axes in TENSOR_RULES:
        matching = [name for name in leaves if re.search(pattern, name)]
        assert matching, f"{pattern} matches no parameter of the GPT"
        for name in matching:
            spec = leaf_spec(name, leaves[name], mesh, "tensor")
            assert tuple(spec)[-len(axes) :] == axes
            axis = tuple(spec).index("model")
            assert leaves[name][axis] % 2 == 0
    assert leaf_spec("token_embedding/embedding", (257, 32), mesh, "tensor") == P()
    assert leaf_spec("final_norm/scale", (32,), mesh, "tensor") == P()
    assert leaf_spec("attention/key_value/kernel", (32, 1, 2, 8), mesh, "tensor") == P()


def test_fsdp_splits_the_first_axis_that_divides_but_never_depth():
    mesh = make_mesh("fsdp")
    assert leaf_spec("params/a", (64, 128), mesh, "fsdp") == P("data")
    assert leaf_spec("params/a", (257, 64), mesh, "fsdp") == P(None, "data")
    assert leaf_spec("params/stack/blocks/up/kernel", (8, 64, 64), mesh, "fsdp") == P(None, "data")


def test_fsdp_leaves_small_and_indivisible_leaves_and_codebooks_whole():
    mesh = make_mesh("fsdp")
    assert leaf_spec("params/a", (8, 8), mesh, "fsdp") == P()
    assert leaf_spec("params/a", (127, 129), mesh, "fsdp") == P()
    assert leaf_spec("params/stack/blocks/norm/scale", (64, 64), mesh, "fsdp") == P()
    assert leaf_spec("state/codebook/codes", (512, 32), mesh, "fsdp") == P()
