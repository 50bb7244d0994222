"""The task of BLT: gradients, devices, and the compiler's FLOPs of a whole model."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.chunker import ChunkerConfig
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.layers.reach import AttentionReach
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageConfig
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import path_name
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.step import compile_train_step
from latent_jax.training.task_optimizer import optimizer_of
from tests.latent_fixtures import T
from tests.small_hierarchy import make_config, variables_of

WORDS = dict(outer="attention", window=5, slack=3.0, cross=2, width=16, ngrams=13, control_steps=9)
CONFIG = make_config("entropy", **WORDS)
TASK = HierarchicalLanguageModeling(CONFIG, row_length=T, bytes_per_token=1.0)


def test_everything_has_a_gradient_but_the_entropy_model(batch):
    variables = variables_of(CONFIG)

    def loss(params):
        words = (batch, jax.random.key(0), jnp.int32(0), True)
        return TASK.loss({**variables, "params": params}, *words)

    gradient, (scores, _) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    chex.assert_tree_all_finite(gradient)
    assert scores["n_chunks_1"] > len(batch["ids"]), "rows are cut"
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = path_name(path)
        assert bool(jnp.any(leaf != 0)) != name.startswith("entropy_model/"), name


def test_eight_devices_train_as_one_and_the_entropy_model_stays(batch):
    rows = {name: np.concatenate([x, x[::-1]]) for name, x in jax.device_get(batch).items()}
    words = OptimizerConfig(learning_rate=1e-2, warmup_steps=1, epsilon=1e-3)
    ends = []
    for strategy, n_devices in (("pmap", 1), ("fsdp", 8)):
        mesh = make_mesh(strategy, 1, jax.devices()[:n_devices])
        optimizer = optimizer_of(TASK, rows, words, 9, 0)
        init = initial_state(TASK, optimizer, rows, 0)
        state = create_state(init, abstract_state(init, mesh, strategy))
        before = jax.device_get(state.params["entropy_model"])
        step = compile_train_step(TASK, optimizer, state, rows, 1, mesh)
        losses = []
        for _ in range(2):
            state, metrics = step(state, jax.device_put(rows, batch_sharding(mesh)))
            losses.append(float(metrics.loss))
        chex.assert_trees_all_equal(jax.device_get(state.params["entropy_model"]), before)
        ends.append((losses, jax.device_get(state.state), jax.device_get(metrics.scores)))
    chex.assert_trees_all_close(ends[1], ends[0], rtol=1e-4)
    assert ends[0][0][1] < ends[0][0][0]


def test_flops_agree_with_xla():
    # Wide enough for the element-wise work, which XLA counts too, to weigh little.
    words = dict(positions="rotary", norm="rms", use_bias=False, n_layers=1, max_length=128)
    stack = TransformerConfig(vocab_size=0, d_model=256, n_heads=2, **words)
    main = TransformerConfig(vocab_size=0, d_model=512, n_heads=4, **words)
    outer = AttentionReach(stack, 32)
    pooling = (("n_vectors", 2), ("n_heads", 2), ("reach", 16))
    chunker = ChunkerConfig(
        kind="entropy", width=256, rate=4.0, pooling="cross", pooling_options=pooling
    )
    stage = StageConfig(
        outer=outer,
        chunker=chunker,
        inner=AttentionReach(main),
        way_back="repeat",
        residual="identity",
        decoder=CrossReach(outer, 512, 2),
    )
    entropy = AttentionReach(GPTConfig(vocab_size=257, d_model=256, n_heads=2, **words), 128)
    config = HierarchicalConfig(
        vocab_size=257, separator_id=256, stage=stage, entropy=entropy, ngrams=99
    )
    ids = jax.ShapeDtypeStruct((2, 128), jnp.int32)
    variables = jax.eval_shape(HierarchicalModel(config).init, jax.random.key(0), ids)
    lowered = jax.jit(HierarchicalModel(config).apply).lower(variables, ids)
    counted = lowered.cost_analysis()["flops"] / (2 * 128)
    flops = config.forward_flops(128)
    assert sum(flops.values()) == pytest.approx(counted, rel=0.04)
    at_rate = config.forward_flops(128, at_rate=True)
    assert at_rate["entropy_model"] == flops["entropy_model"] > flops["head"]
    assert at_rate["router"] < flops["router"] and at_rate["main"] < flops["main"]
