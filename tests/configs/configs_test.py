"""Every config, at every size and with every argument, builds a task; nothing is computed."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from configs import common, compressors, language_model, latent_lm, m1, quickstart
from latent_jax.compressors import COMPRESSORS
from latent_jax.experiments.tasks import Vocabulary, make_task
from latent_jax.methods.budget import from_config
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.names import parse
from latent_jax.training import OptimizerConfig, TrainingConfig

CONFIGS = {
    **{f"quickstart:{name}": run for name, run in quickstart.get_config().runs.items()},
    **{f"compressors:{name}": run for name, run in compressors.get_config().runs.items()},
    **{
        f"latent_lm:{size},{kind},{c}": latent_lm.get_config(f"size={size},compressor={kind},c={c}")
        for size in common.SIZES
        for kind in COMPRESSORS
        for c in (2, 4, 8)
    },
    **{
        f"latent_lm:{quantizer}": latent_lm.get_config(f"quantizer={quantizer}")
        for quantizer in ("vq", "rvq", "fsq", "none")
    },
    **{
        f"language_model:{size},{method}": language_model.get_config(f"size={size},method={method}")
        for size in common.SIZES
        for method in ("Bytes", "BPE[v=4096]", "SentencePiece[v=4096]")
    },
    **{
        f"m1:{size},{optimizer},{snippets}": m1.get_config(
            f"size={size},optimizer={optimizer},snippets={snippets}"
        )
        for size in m1.SHAPES
        for optimizer in ("adafactor", "adamw")
        for snippets in (0, 4)
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_builds(name):
    config = CONFIGS[name]
    method = parse(config.method)
    vocabulary = Vocabulary(method.options.get("v", 257), 256, 1.0)
    task = make_task(config, vocabulary)
    TrainingConfig(**config.training, seed=config.seed)
    OptimizerConfig(**config.optimizer)
    tokens = config.batch_size * config.row_length
    n_inner = count_parameters(task, config.row_length)
    steps = from_config(config.budget).steps(
        tokens,
        1.0,
        task.train_flops_per_byte,
        n_inner["n_parameters"] - n_inner["n_embedding_parameters"],
    )
    assert steps > config.optimizer.warmup_steps
    row = {
        "ids": jnp.zeros((4, config.row_length), jnp.int32),
        "weights": jnp.ones((4, config.row_length), jnp.float32),
        "n_bytes": jnp.full((4,), config.row_length, jnp.int32),
    }

    def one_step(key):
        variables = task.init(key, row)
        return variables, task.loss(variables, row, key, jnp.int32(0), True)

    variables, (loss, (scores, state)) = jax.eval_shape(one_step, jax.random.key(0))
    assert loss.shape == () and loss.dtype == jnp.float32
    assert {"weight", "n_bytes", "n_tokens"} <= scores.keys()
    assert jax.tree.structure(state) == jax.tree.structure(
        {key: value for key, value in variables.items() if key != "params"}
    )
    assert task.flops_per_byte > 0


def test_base_is_gpt2_small():
    config = language_model.get_config("size=base,method=BPE[v=50257]")
    config.row_length = 1024
    task = make_task(config, Vocabulary(50257, 50256, 4.4))
    row = {"ids": jnp.zeros((1, 1024), jnp.int32)}
    variables = jax.eval_shape(task.init, jax.random.key(0), row)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 124_439_808


@pytest.mark.parametrize("module", [compressors, quickstart, latent_lm, language_model, m1])
def test_the_docstring_says_how_it_is_run(module):
    text = inspect.getdoc(module)
    assert "python launch/train.py --config" in text and "Source" in text


@pytest.mark.parametrize("module", [latent_lm, language_model, m1])
def test_an_unknown_size_is_refused_by_name(module):
    with pytest.raises(ValueError, match=r"unknown size 'nanno' \(did you mean 'nano'\?\)"):
        module.get_config("size=nanno")
