"""Residual VQ: its stages, its one code, and what it gains over one stage."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.quantizers import QuantizerConfig, make_quantizer
from latent_jax.quantizers.rvq import digits_of
from tests.compiled import apply, init

B, K, D = 4, 32, 6
PLAIN = {"code_dim": 0, "metric": "euclidean", "kmeans_iterations": 0, "restart_threshold": 0.0}
Z_BKD = jax.random.normal(jax.random.key(0), (B, K, D))
MASK_BK = jnp.arange(K)[None] < jnp.array([K, 5, 9, 20])[:, None]


def make(codebook_size=24, kind="rvq", **words):
    """Return a quantizer whose stages have codes far apart, smaller from stage to stage."""
    config = QuantizerConfig(kind=kind, codebook_size=codebook_size, d_model=D, **words)
    module = make_quantizer(config)
    variables = init(module, jax.random.key(1), Z_BKD, MASK_BK)
    for i, stage in enumerate(sorted(variables["codebook"])):
        codes = variables["codebook"][stage]["codes"]
        drawn = jax.random.normal(jax.random.key(i), codes.shape)
        variables["codebook"][stage]["codes"] = 0.6**i * drawn
    return module, variables


def trained(module, variables, n_steps=4):
    """Return the variables and the last `Quantized` after some training calls on fresh latents."""

    @jax.jit
    def step(variables, key):
        z_BKD = jax.random.normal(key, (B, 8 * K, D))
        quantized, state = module.apply(
            variables,
            z_BKD,
            jnp.ones(z_BKD.shape[:2], bool),
            train=True,
            rngs={"quantizer": key},
            mutable=["codebook"],
        )
        return quantized, {**variables, **state}

    for i in range(n_steps):
        quantized, variables = step(variables, jax.random.key(10 + i))
    return variables, quantized


@pytest.mark.parametrize(
    ("codebook_size", "n_codebooks", "sizes"),
    [(512, 2, (32, 16)), (1024, 2, (32, 32)), (512, 3, (8, 8, 8)), (1000, 3, (10, 10, 10)),
     (24, 2, (6, 4)), (6, 2, (3, 2)), (65536, 4, (16, 16, 16, 16))],
)  # fmt: skip
def test_stages_are_as_equal_as_the_product_allows(codebook_size, n_codebooks, sizes):
    config = QuantizerConfig(kind="rvq", codebook_size=codebook_size, n_codebooks=n_codebooks)
    assert config.stage_sizes == sizes
    search = QuantizerConfig(code_dim=0, kind="rvq", codebook_size=24, d_model=D).forward_flops()
    assert search == {"projection": 0.0, "search": 2.0 * (6 + 4) * (D + 1)}


@pytest.mark.parametrize("n_codebooks", [2, 3])
def test_each_stage_takes_the_nearest_code_of_what_is_left(n_codebooks):
    module, variables = make(**PLAIN, n_codebooks=n_codebooks, commitment_weight=0.5)
    quantized = apply(module, variables, Z_BKD, MASK_BK)
    residual, sums = np.array(Z_BKD, np.float64), np.zeros((B, K, D))
    codes, errors, mask = np.zeros((B, K), int), [], np.array(MASK_BK)
    for i, size in enumerate(module.config.stage_sizes):
        book = np.array(variables["codebook"][f"stages_{i}"]["codes"], np.float64)
        assert book.shape == (size, D)
        chosen = np.argmin(((residual[:, :, None] - book) ** 2).sum(-1), axis=-1)
        residual, sums = residual - book[chosen], sums + book[chosen]
        codes = codes * size + chosen
        errors.append((residual**2).sum(-1)[mask].sum())
    np.testing.assert_array_equal(quantized.codes_BK, codes)
    np.testing.assert_allclose(quantized.z_q_BKD, sums, atol=1e-5)
    stats = quantized.stats
    np.testing.assert_allclose(stats["quantization_error_sum"], errors[-1], rtol=1e-4)
    np.testing.assert_allclose(quantized.aux_loss, 0.5 * sum(errors) / mask.sum(), rtol=1e-4)
    np.testing.assert_array_equal(stats["code_counts"], np.bincount(codes[mask], minlength=24))
    assert errors[1] < 0.9 * errors[0], "a second stage leaves less"
    assert len(np.unique(codes)) > 8


def test_a_code_says_all_its_stages():
    codes = jnp.arange(24)
    found = np.stack(digits_of(codes, (2, 4, 3)), axis=1)
    assert found.tolist() == [list(d) for d in itertools.product(range(2), range(4), range(3))]
    module, variables = make(code_dim=3)
    quantized = apply(module, variables, Z_BKD, MASK_BK)
    looked_up = apply(module, variables, quantized.codes_BK, method="lookup")
    chex.assert_trees_all_close(looked_up, quantized.z_q_BKD, atol=1e-5)
    others = apply(module, variables, (quantized.codes_BK + 1) % 24, method="lookup")
    assert float(jnp.abs(others - looked_up).max(axis=-1).min()) > 1e-4


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_the_gradient_passes_all_stages_once(gradient):
    module, variables = make(**PLAIN, gradient=gradient, n_codebooks=3, commitment_weight=0.0)
    cotangent = jax.random.normal(jax.random.key(3), Z_BKD.shape)
    q = apply(module, variables, Z_BKD, MASK_BK).z_q_BKD
    (found,) = jax.jit(
        lambda z: jax.vjp(lambda z: apply(module, variables, z, MASK_BK).z_q_BKD, z)[1](cotangent)
    )(Z_BKD)
    if gradient == "straight_through":
        chex.assert_trees_all_close(found, cotangent, atol=1e-6)
    else:
        ratio = jnp.linalg.norm(q, axis=-1) / jnp.linalg.norm(Z_BKD, axis=-1)
        expected = ratio * jnp.linalg.norm(cotangent, axis=-1)
        np.testing.assert_allclose(jnp.linalg.norm(found, axis=-1), expected, rtol=1e-4)


def test_log_assignment_is_the_softmax_over_all_sums():
    module, variables = make(**PLAIN, temperature=0.3)
    sums = apply(module, variables, jnp.arange(24)[None], method="lookup")[0]
    distances = jnp.sum(jnp.square(Z_BKD[:, :, None] - sums[None, None]), axis=-1)
    found = apply(module, variables, Z_BKD, method="log_assignment")
    chex.assert_trees_all_close(found, jax.nn.log_softmax(-distances / 0.3), atol=1e-4)


def test_every_stage_learns_its_own_codebook_and_restarts_what_is_dead():
    words = dict(code_dim=0, metric="euclidean", restart_period=2, restart_threshold=0.3)
    module, variables = make(64, **words, kmeans_iterations=2, ema_decay=0.5)
    far = variables["codebook"]["stages_1"]["codes"].at[0].set(50.0)
    after, _ = trained(module, variables, 1)
    assert all(int(state["steps"]) == 1 for state in after["codebook"].values())
    assert jax.tree.leaves(after["codebook"])[0].shape == (8, D)
    # A code that nobody takes is replaced at the second step, in the stage where it stands.
    after["codebook"]["stages_1"]["codes"] = far
    after["codebook"]["stages_1"]["usage"] = jnp.zeros(8).at[1:].set(1000.0)
    again, quantized = trained(module, after, 1)
    assert float(quantized.stats["n_restarted"]) >= 1
    assert float(jnp.abs(again["codebook"]["stages_1"]["codes"]).max()) < 20
    evaluated = apply(module, again, Z_BKD, MASK_BK)
    assert float(evaluated.stats["n_restarted"]) == 0


def test_two_stages_leave_less_than_one_as_large_as_they_cost():
    """32 codes compared: as two stages of 16 they make 256 sums."""
    errors = {}
    words = dict(code_dim=0, metric="euclidean", kmeans_iterations=8)
    for kind, size in (("rvq", 256), ("vq", 32), ("vq", 256)):
        config = QuantizerConfig(kind=kind, codebook_size=size, d_model=D, **words)
        module = make_quantizer(config)
        variables = init(module, jax.random.key(1), Z_BKD, MASK_BK)
        _, quantized = trained(module, variables, 6)
        stats = quantized.stats
        errors[kind, size] = float(stats["quantization_error_sum"] / stats["n_latents"])
    assert errors["vq", 256] < errors["rvq", 256] < errors["vq", 32]
    # A VQ of 32 costs what this RVQ does.
    costs = [QuantizerConfig(kind=k, codebook_size=s, d_model=D, **words).forward_flops()
             for k, s in (("rvq", 256), ("vq", 32))]  # fmt: skip
    assert costs[0] == costs[1]
