"""Every config, at every size and with every argument, builds a task; nothing is computed."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from configs import (
    blt,
    common,
    compressors,
    concept_moe,
    fifty,
    hnet,
    language_model,
    latent_lm,
    m1,
    quickstart,
    synergy,
    token_pooling,
)
from latent_jax.chunking.fixed import compressors as kinds_of_compressors
from latent_jax.contracts import Vocabulary
from latent_jax.methods.names import parse
from latent_jax.methods.row_codes import config_batch_spec
from latent_jax.methods.solve import amounts_of_step, budget_of
from latent_jax.methods.tasks import make_task
from latent_jax.methods.tokenizers import vocab_size
from latent_jax.training import OptimizerConfig, TrainingConfig

CONFIGS = {
    **{f"quickstart:{name}": run for name, run in quickstart.get_config().runs.items()},
    **{f"compressors:{name}": run for name, run in compressors.get_config().runs.items()},
    **{
        f"fifty:{name},{size}": run
        for size in common.SIZES
        for name, run in fifty.get_config(f"size={size},codes=65536").runs.items()
    },
    **{
        f"latent_lm:{size},{kind},{c}": latent_lm.get_config(f"size={size},compressor={kind},c={c}")
        for size, kind, c in [
            *((size, "conv1d", 2) for size in common.SIZES),
            *(("nano", kind, c) for kind in kinds_of_compressors() for c in (4, 8)),
        ]
    },
    **{
        f"latent_lm:{quantizer}": latent_lm.get_config(f"quantizer={quantizer}")
        for quantizer in ("vq", "rvq", "fsq", "none")
    },
    **{
        f"language_model:{size},{method}": language_model.get_config(f"size={size},method={method}")
        for size in common.SIZES
        for method in ("Bytes", "BPE[v=4096]")
    },
    **{
        f"m1:{size},{optimizer},{snippets}": m1.get_config(
            f"size={size},optimizer={optimizer},snippets={snippets}"
        )
        for size in m1.SHAPES
        for optimizer in ("adafactor", "adamw")
        for snippets in (0, 4)
    },
    **{
        f"hnet:{size},{stages}": hnet.get_config(f"size={size},stages={stages}").runs.hnet
        for size in common.SIZES
        for stages in (1, 2)
    },
    **{
        f"token_pooling:{size},{router}": token_pooling.get_config(
            f"size={size},router={router}"
        ).runs.pooling
        for size in common.SIZES
        for router in ("gumbel", "spikes", "bpe")
    },
    "token_pooling:hourglass": token_pooling.get_config("family=Hourglass,size=base").runs.pooling,
    **{
        f"blt:{size},{router}": blt.get_config(f"size={size},router={router}").runs.patches
        for size in common.SIZES
        for router in ("entropy", "whitespace")
    },
    "concept_moe:base": concept_moe.get_config("size=base,experts=8").runs.concept_moe,
    "synergy:base": synergy.get_config("size=base").runs.synergy,
    "m1:quantized": m1.get_config("quantized=true,optimizer=adamw,snippets=4"),
}


TRACED = (
    "quickstart:latent",
    "compressors:bpe",
    "compressors:sequence_linear_c2",
    "fifty:bpe,nano",
    "fifty:latent,base",
    *(f"latent_lm:nano,{kind},{4 + 4 * (i % 2)}" for i, kind in enumerate(kinds_of_compressors())),
    "latent_lm:base,conv1d,2",
    "latent_lm:fsq",
    "latent_lm:none",
    "language_model:base,BPE[v=4096]",
    "m1:nano,adafactor,4",
    "m1:3m,adamw,0",
    "m1:quantized",
    "hnet:base,2",
    "token_pooling:base,bpe",
    "token_pooling:hourglass",
    "blt:base,entropy",
    "concept_moe:base",
    "synergy:base",
)
"""Every config file, compressor, quantizer and loss, whose steps are traced in every run."""


def task_of(config):
    return make_task(config, Vocabulary(vocab_size(parse(config.method)), 256, 1.0))


@pytest.mark.parametrize("name", CONFIGS)
def test_it_builds(name):
    config = CONFIGS[name]
    task = task_of(config)
    TrainingConfig(**config.training, seed=config.seed)
    OptimizerConfig(**config.optimizer)
    budget = budget_of(config)
    assert budget.unit != "bytes_per_parameter"  # so that nothing is counted here
    amounts = amounts_of_step(config, task)
    steps = budget.steps(amounts, task.train_flops(amounts), n_parameters=0)
    assert steps > config.optimizer.warmup_steps
    assert task.flops_per_byte > 0


@pytest.mark.parametrize(
    "name",
    [name if name in TRACED else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS],
)
def test_a_step_is_traced(name):
    config = CONFIGS[name]
    task = task_of(config)
    row = config_batch_spec(config, 4)

    def one_step(key, row):
        variables = task.init(key, row)
        return variables, task.loss(variables, row, key, jnp.int32(0), True)

    variables, (loss, (scores, state)) = jax.eval_shape(one_step, jax.random.key(0), row)
    assert loss.shape == () and loss.dtype == jnp.float32
    assert {"weight", "n_bytes", "n_tokens"} <= scores.keys()
    assert jax.tree.structure(state) == jax.tree.structure(
        {key: value for key, value in variables.items() if key != "params"}
    )


def test_every_traced_config_is_there():
    assert set(TRACED) <= set(CONFIGS)


def test_base_is_gpt2_small():
    config = language_model.get_config("size=base,method=BPE[v=50257]")
    config.row_length = 1024
    task = make_task(config, Vocabulary(50257, 50256, 4.4))
    row = {"ids": jnp.zeros((1, 1024), jnp.int32)}
    variables = jax.eval_shape(task.init, jax.random.key(0), row)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 124_439_808


MODULES = [
    blt,
    compressors,
    concept_moe,
    fifty,
    hnet,
    quickstart,
    latent_lm,
    language_model,
    m1,
    synergy,
    token_pooling,
]


@pytest.mark.parametrize("module", MODULES)
def test_the_docstring_says_how_it_is_run(module):
    text = inspect.getdoc(module)
    assert "python launch/train.py --config" in text and "Source" in text


@pytest.mark.parametrize(
    "module",
    [blt, concept_moe, fifty, hnet, latent_lm, language_model, m1, synergy, token_pooling],
)
def test_an_unknown_size_is_refused_by_name(module):
    with pytest.raises(ValueError, match=r"unknown size 'nanno' \(did you mean 'nano'\?\)"):
        module.get_config("size=nanno")


def test_documented_prompts_are_files_or_held_out_text():
    """--prompts names them, and --prompt is one."""
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *root.glob("configs/**/*.py"), *root.glob("configs/results/*.md")]
    pages += root.glob("launch/*.py")
    stated = [word for page in pages for word in re.findall(r"--prompts (\S+)", page.read_text())]
    assert len(stated) > 3
    for word in stated:
        assert re.fullmatch(r"validation:\d+|[\w./]+\.(txt|jsonl(\.xz)?)", word), word
