"""What is particular to one method of compression."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.fixed import make_config
from latent_jax.chunking.fixed.attention_pool import top_k_in_order
from latent_jax.chunking.fixed.conv1d import strided_conv, transposed_conv
from tests.compiled import apply, init

NWC = ("NWC", "WIO", "NWC")


@pytest.mark.parametrize("factor, n_taps, length", [(2, 4, 8), (2, 5, 7), (3, 3, 10), (4, 9, 6)])
def test_matmul_convolutions_equal_lax(factor, n_taps, length):
    x = jax.random.normal(jax.random.key(0), (2, length, 3))
    kernel = jax.random.normal(jax.random.key(1), (n_taps, 3, 5))
    n_latents = -(-length // factor)
    left = (n_taps - factor) // 2
    right = (n_latents - 1) * factor + n_taps - left - length

    def lax_conv(x):
        return jax.lax.conv_general_dilated(
            x, kernel, (factor,), [(left, right)], dimension_numbers=NWC
        )

    actual = jax.jit(lambda x: strided_conv(x, kernel, factor))(x)
    chex.assert_trees_all_close(actual, lax_conv(x), atol=1e-4)

    z = jax.random.normal(jax.random.key(2), (2, n_latents, 5))
    (expected,) = jax.linear_transpose(lax_conv, x)(z)
    back = jax.jit(lambda z: transposed_conv(z, kernel.swapaxes(1, 2), factor, length))(z)
    assert back.shape == x.shape
    chex.assert_trees_all_close(back, expected, atol=1e-4)


def test_transposed_conv_equals_lax_conv_transpose():
    z = jax.random.normal(jax.random.key(0), (2, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (4, 3, 5))
    # Tap j of ours writes j - left positions after the latent's first; lax slides a kernel over
    # the stretched latents, so that its taps stand in reverse order.
    expected = jax.lax.conv_transpose(z, kernel[::-1], (2,), [(2, 2)], dimension_numbers=NWC)
    actual = transposed_conv(z, kernel, 2, 12)
    chex.assert_trees_all_close(actual, expected, atol=1e-5)


def influence_on_latent(config, latent, length=12):
    """Return bool[T]: which positions the latent depends on."""
    compressor = config.compressor()
    x = jax.random.normal(jax.random.key(0), (1, length, config.d_model))
    mask = jnp.ones((1, length), bool)
    variables = jax.jit(compressor.init)(jax.random.key(1), x, mask)
    grad = jax.jit(
        jax.grad(lambda x: jnp.sum(jnp.sin(compressor.apply(variables, x, mask).z_BKD[0, latent])))
    )(x)
    return np.asarray(jnp.any(grad[0] != 0, axis=-1))


@pytest.mark.parametrize(
    "words, first, last",
    [
        (dict(kind="linear_merge"), 6, 8),
        (dict(kind="conv1d", kernel_size=3), 6, 8),
        (dict(kind="conv1d", kernel_size=5), 5, 9),
        (dict(kind="conv1d"), 5, 10),
        (dict(kind="ssm", ssm_state=4, ssm_head_dim=8), 0, 8),
        (dict(kind="sequence_linear"), 0, 11),
        (dict(kind="attention_pool"), 0, 11),
    ],
)
def test_reach_of_a_latent(words, first, last):
    config = make_config(factor=3, d_model=12, max_length=12, **words)
    expected = (np.arange(12) >= first) & (np.arange(12) <= last)
    np.testing.assert_array_equal(influence_on_latent(config, latent=2), expected)


def test_ssm_takes_the_last_real_step_of_a_group():
    config = make_config("ssm", factor=4, d_model=8, max_length=8, ssm_head_dim=8)
    compressor = config.compressor()
    x = jax.random.normal(jax.random.key(0), (1, 8, 8))
    mask = jnp.arange(8)[None] < 6
    variables = init(compressor, jax.random.key(1), x, mask)
    z = apply(compressor, variables, x, mask).z_BKD
    every_step = make_config("ssm", factor=1, d_model=8, max_length=8, ssm_head_dim=8)
    steps = apply(every_step.compressor(), variables, x, mask).z_BKD
    chex.assert_trees_all_close(z, steps[:, jnp.array([3, 5])], atol=1e-6)


def test_sequence_linear_starts_as_selection_and_its_transpose():
    config = make_config("sequence_linear", factor=4, d_model=64, max_length=16)
    x = jax.random.normal(jax.random.key(0), (2, 16, 64))
    mask = jnp.ones((2, 16), bool)
    latents, _ = config.compressor().init_with_output(jax.random.key(1), x, mask)
    selected = x.reshape(2, 4, 4, 16, 4)  # latent, position in group, feature group, feature
    expected = jnp.stack([selected[:, :, c, :, c] for c in range(4)], axis=-1).reshape(2, 4, 64)
    chex.assert_trees_all_close(latents.z_BKD, expected, atol=0.15)
    back, _ = config.decompressor().init_with_output(jax.random.key(2), latents.z_BKD, latents)
    kept = jnp.arange(16)[:, None] % 4 == jnp.arange(64)[None] % 4
    chex.assert_trees_all_close(back, jnp.where(kept[None], x, 0), atol=0.3)


def test_sequence_groups_set_the_number_of_maps():
    def kernel_shape(groups):
        config = make_config(
            "sequence_linear", factor=2, d_model=8, max_length=6, sequence_groups=groups
        )
        variables = jax.eval_shape(
            config.compressor().init,
            jax.random.key(0),
            jnp.zeros((1, 6, 8)),
            jnp.ones((1, 6), bool),
        )
        return variables["params"]["kernel"].shape

    assert kernel_shape(0) == (8, 6, 3)
    assert kernel_shape(2) == (2, 6, 3)
    assert kernel_shape(1) == (1, 6, 3)


def test_top_k_keeps_the_order_of_time_and_ignores_padding():
    scores = jnp.array([[0.1, 0.9, 0.3, 0.8, 0.2, 0.7], [0.5, 0.1, 0.4, 9.0, 9.0, 9.0]])
    mask = jnp.arange(6)[None] < jnp.array([6, 3])[:, None]
    chosen = top_k_in_order(scores, mask, jnp.array([3, 2]), 3)
    np.testing.assert_array_equal(chosen, [[1, 3, 5], [0, 2, 5]])


def test_attention_pool_follows_its_scores():
    config = make_config("attention_pool", factor=2, d_model=8, max_length=8)
    compressor = config.compressor()
    x = jax.random.normal(jax.random.key(0), (1, 8, 8))
    mask = jnp.ones((1, 8), bool)
    variables = init(compressor, jax.random.key(1), x, mask)
    z = apply(compressor, variables, x, mask).z_BKD
    params = variables["params"]
    np.testing.assert_array_equal(params["place_score"], [0, -1] * 4)
    # Raise the score of one position that was passed over: it takes the place of another.
    params = params | {"place_score": params["place_score"].at[3].set(5.0)}
    other = apply(compressor, {"params": params}, x, mask).z_BKD
    changed = np.asarray(jnp.any(other != z, axis=-1)[0])
    assert changed.any() and not changed[0]
