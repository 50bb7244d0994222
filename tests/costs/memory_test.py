import dataclasses

import jax
import jax.numpy as jnp
import pytest

from configs import language_model, latent_lm, m2
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.costs.memory import SPARED, estimate, settle_remat
from latent_jax.layers.block import Stack
from latent_jax.layers.config import REMAT_POLICIES, TransformerConfig
from latent_jax.methods.tasks import make_task
from latent_jax.platform import Platform, chip
from latent_jax.training import make_mesh

TPU, V5E = Platform("tpu"), chip("TPU v5e")

SHAPE = TransformerConfig(
    vocab_size=8,
    max_length=256,
    n_layers=3,
    d_model=64,
    n_heads=2,
    dtype="bfloat16",
    attention_implementation="splash",
)


@pytest.mark.parametrize("remat", REMAT_POLICIES[1:])
@pytest.mark.parametrize(
    "words",
    [
        {},
        {"dropout": 0.1},
        {"gated": True, "activation": "relu", "norm": "rms", "use_bias": False},
        {"d_ff": 64},
        {"positions": "rotary", "n_heads": 4, "n_kv_heads": 1},
    ],
    ids=["plain", "dropout", "gated", "narrow", "grouped"],
)
def test_kept_bytes_are_those_of_automatic_differentiation(remat, words):
    config = dataclasses.replace(SHAPE, remat=remat, **words)
    stack, n_rows = Stack(config, causal=True), 31
    x = jax.ShapeDtypeStruct((n_rows, 256, 64), jnp.bfloat16)
    variables = jax.eval_shape(stack.init, jax.random.key(0), x)

    def residuals(variables, x):
        rngs = {"dropout": jax.random.key(1)}
        return jax.vjp(lambda *a: stack.apply(*a, train=True, rngs=rngs)[0], variables, x)[1]

    leaves = jax.tree.leaves(jax.eval_shape(residuals, variables, x))
    # Not the weights, which are kept as well, nor what is kept once beside the blocks.
    of_rows = [x for x in leaves if x.shape[:1] == (3,) and {n_rows, n_rows * 256} & set(x.shape)]
    kept = sum(leaf.size * leaf.dtype.itemsize for leaf in of_rows)
    assert kept / (n_rows * 256) == pytest.approx(config.kept_bytes, rel=0.12)


def settled(config, strategy="pmap", model_parallel=1, device=V5E):
    config.training.update(strategy=strategy, model_parallel=model_parallel)
    mesh = make_mesh(strategy, model_parallel)
    vocabulary = assumed_vocabulary(config, 4.0)
    found = settle_remat(config, vocabulary, mesh, TPU, device)
    return found, estimate(make_task(found, vocabulary, TPU), found, mesh)


def test_more_is_computed_again_where_less_memory_is():
    words = []
    for n_rows in (64, 200, 500):
        config = language_model.get_config("size=base")
        config.update(batch_size=8 * n_rows, row_length=256)
        found, needed = settled(config)
        words.append(found.model.remat)
        assert needed.total_bytes <= (1 - SPARED) * V5E.memory_bytes
    assert words == ["none", "dots", "block"]


def test_all_stacks_of_a_latent_language_get_one_word():
    config = latent_lm.get_config("size=base,codes=4096")
    config.batch_size = 8 * 64
    found, needed = settled(config)
    assert found.model.remat == found.autoencoder.remat == "dots"
    assert needed.total_bytes <= (1 - SPARED) * V5E.memory_bytes


def test_where_nothing_fits_the_leanest_word_stays_and_is_said(caplog):
    caplog.set_level("INFO")
    found, needed = settled(m2.get_config("size=2b"))
    assert found.model.remat == "block"
    assert needed.state_bytes > V5E.memory_bytes
    assert "remat=block: a step needs about" in caplog.text and "TPU v5e" in caplog.text


def test_fsdp_and_tensor_split_the_state():
    state = {}
    for strategy, model_parallel in (("pmap", 1), ("fsdp", 1), ("tensor", 2)):
        _, needed = settled(m2.get_config("size=25m"), strategy, model_parallel)
        state[strategy] = needed.state_bytes
    assert state["pmap"] == 8 * state["fsdp"] == 2 * state["tensor"]


def test_what_is_set_stays_and_an_unknown_device_keeps_everything():
    config = latent_lm.get_config("size=nano")
    config.model.remat = "dots"
    found, _ = settled(config)
    assert (found.model.remat, found.autoencoder.remat) == ("dots", "none")
    config = m2.get_config("size=2b")
    vocabulary = assumed_vocabulary(config, 4.0)
    found = settle_remat(config, vocabulary, make_mesh("pmap"), Platform("cpu"))
    assert found.model.remat == "none"
    assert config.model.remat == "auto", "the configuration itself is not changed"
