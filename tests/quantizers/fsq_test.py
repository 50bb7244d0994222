"""FSQ: its grid, its codes and its levels."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.quantizers import QuantizerConfig, levels_of, make_quantizer
from tests.compiled import apply, init

D = 12


def _fsq(levels, **words):
    config = QuantizerConfig(
        kind="fsq", codebook_size=math.prod(levels), d_model=D, fsq_levels=levels, **words
    )
    module = make_quantizer(config)
    z_BKD = 4.0 * jax.random.normal(jax.random.key(0), (4, 64, D))
    mask_BK = jnp.ones((4, 64), bool)
    return module, init(module, jax.random.key(1), z_BKD, mask_BK), z_BKD, mask_BK


@pytest.mark.parametrize(
    "levels",
    [(8, 6, 5), (8, 5, 5, 5), (8, 8, 6, 5), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5), (8, 8, 8, 5, 5, 5)],
)
def test_the_papers_levels_are_chosen_for_its_sizes(levels):
    assert levels_of(math.prod(levels)) == levels


@given(st.integers(5, 3000))
def test_levels_multiply_to_the_size_or_the_error_names_sizes_that_work(size):
    try:
        levels = levels_of(size)
    except ValueError as error:
        named = str(error).split("work are ")[1].split(",")[0].split(" or ")
        assert named and all(math.prod(levels_of(int(n))) == int(n) for n in named)
    else:
        assert math.prod(levels) == size
        assert min(levels) >= 5


def test_wrong_levels_are_refused_when_the_config_is_made():
    with pytest.raises(ValueError, match="make 24 codes but codebook_size = 25"):
        QuantizerConfig(kind="fsq", codebook_size=25, fsq_levels=(4, 6))
    with pytest.raises(ValueError, match="1008 or 1014"):
        QuantizerConfig(kind="fsq", codebook_size=1009)


@pytest.mark.parametrize("levels", [(3, 4), (5, 2, 3), (8, 6, 5)])
def test_codes_and_grid_points_are_one_to_one(levels):
    module, variables, _, _ = _fsq(levels)
    identity = {"kernel": jnp.eye(len(levels), D), "bias": jnp.zeros(D)}
    variables = {"params": {**variables["params"], "project_out": identity}}
    codes = jnp.arange(math.prod(levels))[None]
    vectors = apply(module, variables, codes, method="lookup")[0, :, : len(levels)]
    axes = [(np.arange(n) - n // 2) / (n // 2) for n in levels]
    grid = {tuple(np.round(point, 5)) for point in itertools.product(*axes)}
    assert {tuple(np.round(v, 5)) for v in np.array(vectors, np.float64)} == grid
    assert len(grid) == math.prod(levels)


def test_all_levels_are_reached_and_none_beyond():
    module, variables, z_BKD, mask_BK = _fsq((3, 4))
    codes_BK = apply(module, variables, 100.0 * z_BKD, mask_BK).codes_BK
    assert codes_BK.min() == 0 and codes_BK.max() == 11
    # Saturated inputs reach the outermost levels of both dimensions only.
    assert set(np.unique(codes_BK % 3)) >= {0, 2}
    small = apply(module, variables, 0.0 * z_BKD, mask_BK).codes_BK
    assert len(np.unique(small)) == 1  # 0 falls on one level, not on the border between two


def test_lookup_gives_what_the_call_gave():
    module, variables, z_BKD, mask_BK = _fsq((8, 6, 5))
    quantized = apply(module, variables, z_BKD, mask_BK)
    looked_up = apply(module, variables, quantized.codes_BK, method="lookup")
    chex.assert_trees_all_close(looked_up, quantized.z_q_BKD, atol=1e-6)
    assert len(np.unique(quantized.codes_BK)) > 50
    assert quantized.codes_BK.dtype == jnp.int32


def test_the_gradient_is_that_of_the_bounded_latent():
    module, variables, z_BKD, mask_BK = _fsq((8, 6, 5))

    def total(z):
        return jnp.sum(apply(module, variables, z, mask_BK).z_q_BKD)

    gradient = jax.jit(jax.grad(total))(0.1 * z_BKD)
    assert jnp.all(jnp.isfinite(gradient)) and jnp.mean(jnp.abs(gradient) > 0) > 0.99


def test_log_assignment_is_the_softmax_over_the_whole_grid():
    module, variables, z_BKD, mask_BK = _fsq((5, 4, 3), temperature=0.3)
    bounded = np.array(apply(module, variables, z_BKD, method="_bound"))
    half = np.array([2, 2, 1])
    points = np.array(list(itertools.product(range(3), range(4), range(5))))[:, ::-1]
    grid = (points - half) / half
    distances = np.sum(np.square(bounded[..., None, :] / half - grid), axis=-1)
    expected = jax.nn.log_softmax(-distances / 0.3)
    found = apply(module, variables, z_BKD, method="log_assignment")
    chex.assert_trees_all_close(found, expected, atol=1e-4)
    # The hard code rounds each dimension, so it is the most likely one.
    codes_BK = apply(module, variables, z_BKD, mask_BK).codes_BK
    chex.assert_trees_all_equal(jnp.argmax(found, axis=-1).astype(jnp.int32), codes_BK)


def test_statistics_leave_out_masked_latents():
    module, variables, z_BKD, _ = _fsq((5, 5))
    mask_BK = jnp.arange(64)[None] < jnp.array([64, 10, 0, 3])[:, None]
    stats = apply(module, variables, z_BKD, mask_BK).stats
    changed = jnp.where(mask_BK[..., None], z_BKD, 7.0)
    chex.assert_trees_all_close(apply(module, variables, changed, mask_BK).stats, stats)
    assert float(stats["n_latents"]) == float(stats["code_counts"].sum()) == 77.0
    assert stats["quantization_error_sum"] > 0
