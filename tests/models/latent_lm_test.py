"""The latent language model: shapes, causality over codes, one set of codes for both halves."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

from latent_jax.chunking.fixed import compressors
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig
from tests.latent_fixtures import CODES, B, C, D, T, code_logits, make_config


def initialised(config, batch):
    model = LatentLanguageModel(config)
    keys = {"params": jax.random.key(0), "quantizer": jax.random.key(1)}
    return model, jax.jit(model.init)(keys, batch["ids"], batch["weights"] > 0)


@pytest.mark.parametrize(
    ("kind", "quantizer"),
    [*((kind, "vq") for kind in compressors()), ("conv1d", "fsq"), ("conv1d", "rvq")],
)
def test_shapes_and_dtypes(kind, quantizer, batch):
    model, variables = initialised(make_config(kind, quantizer), batch)
    output = jax.jit(model.apply)(variables, batch["ids"], batch["weights"] > 0)
    chex.assert_shape(output.byte_logits_BTV, (B, T, 257))
    chex.assert_shape(output.code_logits_BKV, (B, T // C, CODES))
    chex.assert_shape(output.quantized.codes_BK, (B, T // C))
    chex.assert_type(
        [output.byte_logits_BTV, output.code_logits_BKV, output.quantized.codes_BK],
        [jnp.float32, jnp.float32, jnp.int32],
    )
    chex.assert_tree_all_finite(output.byte_logits_BTV)


def test_code_k_is_predicted_from_the_codes_before_it(batch):
    model, variables = initialised(make_config(), batch)
    codes = jnp.zeros((1, T // C), jnp.int32)

    def logits(z):
        return code_logits(model, variables, codes, z)

    jacobian = jax.jit(jax.jacobian(lambda z: logits(z)[0].sum(-1)))(jnp.ones((1, T // C, D)))[:, 0]
    influence = jnp.abs(jacobian).sum(-1)  # [predicted, read]
    assert float(jnp.abs(jnp.triu(influence)).max()) == 0.0
    assert bool((jnp.diag(influence, -1) > 0).all())


def test_decoding_the_codes_is_the_reconstruction(batch):
    model, variables = initialised(make_config(), batch)
    mask = batch["weights"] > 0
    output = jax.jit(model.apply)(variables, batch["ids"], mask)
    args = (output.quantized.codes_BK, output.latents.mask_BK, mask)
    decode = jax.jit(functools.partial(model.apply, method=LatentLanguageModel.decode_codes))
    logits = decode(variables, *args)
    chex.assert_trees_all_close(logits, output.byte_logits_BTV, atol=1e-4)
    other = (args[0] + 1) % CODES
    changed = decode(variables, other, *args[1:])
    assert float(jnp.abs(changed - logits).max()) > 1e-3


def test_the_vocabulary_is_the_codebook():
    config = make_config()
    other = make_config(codes=CODES * 2).language_model
    with pytest.raises(ValueError, match="32 ids, 16 codes"):
        LatentLMConfig(config.autoencoder, other)


def test_flops_name_every_part():
    flops = make_config().forward_flops(T)
    assert set(flops) == {
        "encoder",
        "compressor",
        "quantizer",
        "decompressor",
        "decoder",
        "byte_head",
        "language_model",
    }
    assert all(value > 0 for value in flops.values())
