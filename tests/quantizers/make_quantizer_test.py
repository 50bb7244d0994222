"""Configurations: kinds, refusals, costs, and the interface that all kinds share."""

import chex
import jax
import jax.numpy as jnp
import pytest

from latent_jax.quantizers import QUANTIZERS, QuantizerConfig, make_quantizer
from tests.compiled import init


def _config(kind, **words):
    return QuantizerConfig(
        kind=kind, codebook_size=0 if kind == "none" else 64, d_model=24, code_dim=8, **words
    )


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_every_kind_has_the_shapes_dtypes_and_statistics_of_the_contract(kind):
    module = make_quantizer(_config(kind))
    z_BKD = jax.ShapeDtypeStruct((2, 6, 24), jnp.bfloat16)
    mask_BK = jax.ShapeDtypeStruct((2, 6), jnp.bool)
    variables = jax.eval_shape(module.init, jax.random.key(0), z_BKD, mask_BK)
    quantized = jax.eval_shape(module.apply, variables, z_BKD, mask_BK)
    chex.assert_shape(quantized.z_q_BKD, (2, 6, 24))
    assert quantized.z_q_BKD.dtype == jnp.bfloat16
    chex.assert_shape(quantized.codes_BK, (2, 6))
    assert quantized.codes_BK.dtype == jnp.int32
    chex.assert_shape(quantized.stats["code_counts"], (module.config.codebook_size,))
    for name in ("quantization_error_sum", "n_latents", "n_restarted"):
        chex.assert_shape(quantized.stats[name], ())
    assert {value.dtype for value in quantized.stats.values()} == {jnp.dtype("float32")}
    assert set(quantized.stats) == {
        "code_counts", "quantization_error_sum", "n_latents", "n_restarted",
    }  # fmt: skip
    chex.assert_shape(quantized.aux_loss, ())


@pytest.mark.parametrize("kind", [kind for kind in QUANTIZERS if kind != "none"])
def test_codes_are_looked_up_one_a_lane_as_in_rows(kind):
    module = make_quantizer(_config(kind))
    z_BKD, mask_BK = jax.random.normal(jax.random.key(0), (3, 5, 24)), jnp.ones((3, 5), bool)
    quantized, variables = jax.jit(module.init_with_output)(jax.random.key(1), z_BKD, mask_BK)
    lookup = jax.jit(lambda codes: module.apply(variables, codes, method="lookup"))
    in_rows_BKD = lookup(quantized.codes_BK)
    chex.assert_trees_all_close(lookup(quantized.codes_BK[:, 2]), in_rows_BKD[:, 2], atol=1e-6)
    assert float(jnp.abs(in_rows_BKD[:, 2] - in_rows_BKD[:, 3]).max()) > 1e-3


def test_the_continuous_kind_passes_latents_and_has_no_codes():
    module = make_quantizer(_config("none"))
    z_BKD, mask_BK = jax.random.normal(jax.random.key(0), (2, 5, 24)), jnp.ones((2, 5), bool)
    quantized = module.apply({}, z_BKD, mask_BK)
    chex.assert_trees_all_equal(quantized.z_q_BKD, z_BKD)
    assert bool(jnp.all(quantized.codes_BK == -1))
    assert float(quantized.stats["n_latents"]) == 10.0
    for method, argument in (("lookup", quantized.codes_BK), ("log_assignment", z_BKD)):
        with pytest.raises(ValueError, match=f"continuous and has no codes for {method}"):
            module.apply({}, argument, method=method)


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown quantizer 'fqs' \(did you mean 'fsq'\?\)"):
        make_quantizer(QuantizerConfig(kind="fqs"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"metric": "dot"}, r"unknown quantizer\.metric 'dot'; known: cosine, euclidean"),
        ({"gradient": "gumbel"}, "gradient 'gumbel'"),
        ({"codebook_update": "sgd"}, "codebook_update 'sgd'"),
        ({"kind": "none"}, "set codebook_size = 0"),
        ({"codebook_size": 0}, "use kind 'none'"),
        ({"ema_decay": 1.0}, r"quantizer\.ema_decay must be in \[0, 1\); got 1\.0"),
        ({"restart_period": 0}, "restart_period must be at least 1; got 0"),
        ({"temperature": 0.0}, r"temperature must be more than 0; got 0\.0"),
        ({"n_codebooks": 1}, "n_codebooks must be at least 2; got 1"),
        (
            {"kind": "rvq", "codebook_size": 509},
            "codebook_size = 509 is no product of n_codebooks = 2 stages",
        ),
        ({"kind": "rvq", "codebook_size": 4, "n_codebooks": 3}, "is no product of n_codebooks = 3"),
    ],
)
def test_words_that_cannot_work_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        QuantizerConfig(**words)


@pytest.mark.parametrize("kind", ["vq", "rvq", "fsq"])
def test_latents_of_another_width_are_refused(kind):
    with pytest.raises(ValueError, match="latents are 7 wide but the quantizer has d_model = 24"):
        make_quantizer(_config(kind)).init(
            jax.random.key(0), jnp.zeros((1, 2, 7)), jnp.ones((1, 2), bool)
        )


@pytest.mark.parametrize(
    "words",
    [
        {"kind": "vq"},
        {"kind": "vq", "code_dim": 0},
        {"kind": "fsq"},
        {"kind": "rvq"},
        {"kind": "rvq", "n_codebooks": 3},
    ],
)
def test_flops_equal_the_matmuls_that_are_compiled(words):
    # Not more codes than one chunk, since the compiler counts the body of a scan once.
    config = QuantizerConfig(codebook_size=250, d_model=96, **words)
    module = make_quantizer(config)
    z_BKD, mask_BK = jnp.ones((4, 128, 96)), jnp.ones((4, 128), bool)
    variables = init(module, jax.random.key(0), z_BKD, mask_BK)
    compiled = jax.jit(lambda v, z: module.apply(v, z, mask_BK).z_q_BKD).lower(variables, z_BKD)
    counted = compiled.compile().cost_analysis()["flops"] / 512
    claimed = sum(config.forward_flops().values())
    # Above it come the element-wise parts: norms, comparisons, rounding.
    assert claimed <= counted <= 1.35 * claimed + 300
