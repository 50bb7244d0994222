import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.selective_scan import (
    causal_depthwise_conv,
    selective_scan,
    selective_scan_reference,
)
from latent_jax.layers.ssm import MambaBlock, MambaMixer, SSMConfig


@functools.partial(jax.jit, static_argnums=0, static_argnames="dtype")
def scan_inputs(length, *, batch=2, heads=3, head_dim=4, state=5, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 5)
    x = jax.random.normal(keys[0], (batch, length, heads, head_dim), dtype)
    dt = jax.nn.softplus(jax.random.normal(keys[1], (batch, length, heads)))
    a = -jnp.exp(jax.random.normal(keys[2], (heads,)))
    b = jax.random.normal(keys[3], (batch, length, state), dtype)
    c = jax.random.normal(keys[4], (batch, length, state), dtype)
    return x, dt, a, b, c


scan = jax.jit(
    lambda *args, chunk_size: selective_scan(*args, chunk_size=chunk_size)[0],
    static_argnames="chunk_size",
)
recurrence = jax.jit(selective_scan_reference)


@pytest.mark.parametrize(
    "length, chunk_size", [(1, 8), (7, 8), (8, 8), (9, 8), (24, 8), (9, 1), (24, 32)]
)
def test_chunked_scan_equals_recurrence(length, chunk_size):
    inputs = scan_inputs(length)
    expected = recurrence(*inputs)
    actual = scan(*inputs, chunk_size=chunk_size)
    assert actual.dtype == jnp.float32
    chex.assert_trees_all_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_chunked_scan_has_the_gradients_of_the_recurrence():
    inputs = scan_inputs(19)
    weights = jax.random.normal(jax.random.key(1), inputs[0].shape)

    def gradients(method):
        return jax.jit(jax.grad(lambda inputs: jnp.sum(weights * method(*inputs))))(inputs)

    expected = gradients(selective_scan_reference)
    actual = gradients(lambda *args: selective_scan(*args, chunk_size=4)[0])
    chex.assert_trees_all_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_chunked_scan_in_bfloat16_keeps_float32_states():
    inputs = scan_inputs(64, dtype=jnp.bfloat16)
    expected = recurrence(*inputs)
    actual = scan(*inputs, chunk_size=8)
    assert actual.dtype == jnp.float32
    error = jnp.linalg.norm(actual - expected) / jnp.linalg.norm(expected)
    assert 0 < error < 1e-2


def test_reference_is_the_recurrence_in_numpy():
    x, dt, a, b, c = (np.asarray(v, np.float64) for v in scan_inputs(6))
    expected = np.zeros(x.shape)
    for i, head in np.ndindex(x.shape[0], x.shape[2]):
        h = np.zeros((x.shape[3], b.shape[2]))
        for t in range(x.shape[1]):
            h = np.exp(dt[i, t, head] * a[head]) * h
            h += dt[i, t, head] * np.outer(x[i, t, head], b[i, t])
            expected[i, t, head] = h @ c[i, t]
    actual = recurrence(*scan_inputs(6))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_strong_decay_over_a_long_row_stays_finite():
    x, dt, _, b, c = scan_inputs(256)
    inputs = (x, 20.0 * dt, jnp.full((3,), -16.0), b, c)
    grads = jax.jit(jax.grad(lambda inputs: jnp.sum(scan(*inputs, chunk_size=32) ** 2)))(inputs)
    chex.assert_tree_all_finite(grads)
    chex.assert_trees_all_close(
        scan(*inputs, chunk_size=32), recurrence(*inputs), atol=1e-3, rtol=1e-4
    )


def test_depthwise_conv_equals_lax():
    x = jax.random.normal(jax.random.key(0), (2, 9, 6))
    kernel = jax.random.normal(jax.random.key(1), (4, 6))
    bias = jax.random.normal(jax.random.key(2), (6,))
    expected = jax.lax.conv_general_dilated(
        x,
        kernel[:, None],
        window_strides=(1,),
        padding=[(3, 0)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=6,
    )
    actual = causal_depthwise_conv(x, kernel, bias)
    chex.assert_trees_all_close(actual, expected + bias[None, None], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_block_shape_dtype_and_parameters(dtype):
    config = SSMConfig(d_model=8, d_state=4, head_dim=8, chunk_size=4, dtype=dtype)
    block = MambaBlock(config)
    x = jax.random.normal(jax.random.key(0), (2, 11, 8))
    y, variables = jax.jit(block.init_with_output)(jax.random.key(1), x)
    assert y.shape == x.shape and y.dtype == jnp.dtype(dtype)
    chex.assert_tree_all_finite(y)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    mixer = variables["params"]["mixer"]
    step = jax.nn.softplus(mixer["dt_bias"])
    assert jnp.all((step >= 1e-3 - 1e-6) & (step <= 1e-1 + 1e-6))
    assert jnp.all((mixer["a_log"] >= 0) & (mixer["a_log"] <= jnp.log(16.0)))


def test_block_is_causal_and_reads_the_whole_past():
    config = SSMConfig(d_model=8, d_state=4, head_dim=8, chunk_size=4)
    block = MambaBlock(config)
    x = jax.random.normal(jax.random.key(0), (1, 13, 8))
    variables = jax.jit(block.init)(jax.random.key(1), x)
    position = 9
    grad = jax.jit(jax.grad(lambda x: jnp.sum(block.apply(variables, x)[0, position] ** 2)))(x)
    influence = jnp.max(jnp.abs(grad[0]), axis=-1)
    assert jnp.all(influence[position + 1 :] == 0)
    assert jnp.all(influence[: position + 1] > 0)


def test_chunk_size_does_not_change_the_block():
    x = jax.random.normal(jax.random.key(0), (2, 13, 8))

    def outputs(chunk_size):
        config = SSMConfig(d_model=8, d_state=4, head_dim=8, chunk_size=chunk_size)
        return jax.jit(MambaMixer(config).init_with_output)(jax.random.key(1), x)[0]

    chex.assert_trees_all_close(outputs(3), outputs(64), atol=1e-5)


def test_flops_agree_with_the_compiler():
    # Wide enough for the element-wise work, which the compiler counts too, to weigh little.
    config = SSMConfig(d_model=512)
    block = MambaBlock(config)
    x = jax.ShapeDtypeStruct((2, 128, 512), jnp.float32)
    variables = jax.eval_shape(block.init, jax.random.key(0), x)
    compiled = jax.jit(block.apply).lower(variables, x).compile()
    counted = compiled.cost_analysis()["flops"] / (2 * 128)
    assert config.forward_flops(128) == pytest.approx(counted, rel=0.04)


@pytest.mark.parametrize(
    "words, message",
    [
        (dict(d_model=8, head_dim=64), "head_dim must divide"),
        (dict(d_model=0), "d_model must be at least 1"),
        (dict(d_model=32, dtype="bfloat"), "did you mean 'bfloat16'"),
    ],
)
def test_impossible_configs_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        SSMConfig(**words)


DOCUMENTS = jnp.array([[0] * 5 + [1] * 1 + [2] * 7, [0] * 13])


@pytest.mark.parametrize("chunk_size", [1, 4, 32])
def test_documents_of_a_row_are_scanned_apart(chunk_size):
    x, dt, a, b, c = scan_inputs(13)
    expected = jax.jit(selective_scan_reference)(x, dt, a, b, c, DOCUMENTS)
    actual = scan(x, dt, a, b, c, DOCUMENTS, chunk_size=chunk_size)
    chex.assert_trees_all_close(actual, expected, atol=1e-5, rtol=1e-5)
    alone = scan(*(v[:1, 6:] if v.ndim > 1 else v for v in (x, dt, a, b, c)), chunk_size=4)
    chex.assert_trees_all_close(actual[:1, 6:], alone, atol=1e-5)
    together = scan(x, dt, a, b, c, chunk_size=4)
    assert float(jnp.abs(actual[0, 6:] - together[0, 6:]).max()) > 1e-2
    chex.assert_trees_all_close(actual[1], together[1], atol=1e-5)


def test_a_block_shows_no_document_to_the_next():
    config = SSMConfig(d_model=8, d_state=4, head_dim=8, chunk_size=4)
    block = MambaBlock(config)
    x = jax.random.normal(jax.random.key(0), (2, 13, 8))
    variables = jax.jit(block.init)(jax.random.key(1), x)
    change = jax.jit(
        jax.jacobian(lambda x: jnp.sum(jnp.sin(block.apply(variables, x, DOCUMENTS)[0]), -1))
    )(x)[:, 0]
    # Differences of cumulative sums are rounded by what was summed before.
    reads = np.any(np.abs(change) > 1e-6, axis=-1)
    same = np.asarray(DOCUMENTS[0])[:, None] == np.asarray(DOCUMENTS[0])[None]
    np.testing.assert_array_equal(reads, same & np.tri(13, dtype=bool))


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_prefill_and_steps_equal_the_whole_row(norm):
    block = MambaBlock(SSMConfig(d_model=8, d_state=4, head_dim=8, chunk_size=4), norm)
    x = jax.random.normal(jax.random.key(0), (3, 11, 8))
    whole, variables = jax.jit(block.init_with_output)(jax.random.key(1), x)
    lengths = jnp.array([7, 2, 5])
    read, state = jax.jit(functools.partial(block.apply, method="prefill"))(
        variables, x[:, :7], lengths
    )
    for lane, length in enumerate(lengths):
        chex.assert_trees_all_close(read[lane, :length], whole[lane, :length], atol=1e-5)
    step = jax.jit(functools.partial(block.apply, method="step"))
    for i in range(4):
        y, state = step(variables, x[jnp.arange(3), lengths + i], state)
        chex.assert_trees_all_close(y, whole[jnp.arange(3), lengths + i], atol=1e-5)
