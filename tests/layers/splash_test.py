"""The kernel is written in Pallas, and runs here as plain JAX."""

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from latent_jax.layers.attention import attend
from latent_jax.layers.splash import splash, splash_serves

B, H, D = 2, 2, 64


def inputs(length):
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, (B, length, H, D)) for key in keys]


def with_gradients(function, q, k, v, cotangent):
    @jax.jit
    def both(q, k, v, cotangent):
        out, backward = jax.vjp(function, q, k, v)
        return out, backward(cotangent)

    return both(q, k, v, cotangent)


@pytest.mark.parametrize(
    ("length", "causal", "lengths"),
    [
        (128, True, None),
        (128, False, (65, 0)),
        (384, True, (200, 1)),
    ],
)
def test_it_equals_attention_with_all_scores(length, causal, lengths):
    q, k, v, cotangent = inputs(length)
    lengths_B = None if lengths is None else jnp.array(lengths, jnp.int32)
    # What a row of no keys reads means nothing; the kernel lets it read its first.
    read_B = None if lengths is None else jnp.maximum(lengths_B, 1)

    def scored(q, k, v):
        return attend(q, k, v, lengths_B=read_B, causal=causal, implementation="xla")

    def tiled(q, k, v):
        return splash(q, k, v, lengths_B, causal, interpret=True)

    ours = with_gradients(tiled, q, k, v, cotangent)
    chex.assert_trees_all_close(ours, with_gradients(scored, q, k, v, cotangent), atol=3e-5)
    other = attend(q, k, v, causal=causal if lengths else not causal, implementation="xla")
    assert float(jnp.abs(ours[0] - other).max()) > 1e-2, "lengths or causality changed nothing"


@pytest.mark.parametrize("lengths", [None, (128, 65)])
def test_a_mesh_splits_rows_and_heads(lengths):
    q, k, v, _ = inputs(128)
    lengths_B = None if lengths is None else jnp.array(lengths, jnp.int32)

    def attention(q, k, v):
        return splash(q, k, v, lengths_B, not lengths, interpret=True)

    mesh = jax.make_mesh((2, 2), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        split = [jax.device_put(x, P("data", None, "model")) for x in (q, k, v)]
        out = jax.jit(attention)(*split)
        text = jax.jit(attention).lower(*split).compile().as_text()
    assert out.sharding.spec == P("data", None, "model")
    assert "all-gather" not in text and "all-to-all" not in text
    chex.assert_trees_all_close(out, jax.jit(attention)(q, k, v), atol=1e-6)


@pytest.mark.parametrize("n_groups", [1, 2])
def test_heads_of_queries_share_heads_of_keys(n_groups):
    q, _, _, cotangent = (jnp.tile(x, (1, 1, 2, 1)) for x in inputs(128))
    k, v = jax.random.normal(jax.random.key(1), (2, B, 128, n_groups, D))
    mesh = jax.make_mesh((2, 2), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)

    def by(function):
        return with_gradients(function, q, k, v, cotangent)

    ours = by(lambda q, k, v: splash(q, k, v, None, True, interpret=True))
    exact = by(lambda q, k, v: attend(q, k, v, causal=True, implementation="xla"))
    chex.assert_trees_all_close(ours, exact, atol=3e-5)
    with jax.set_mesh(mesh):
        # One head of keys cannot be split among two devices, and is repeated.
        split = by(lambda q, k, v: splash(q, k, v, None, True, interpret=True))
    chex.assert_trees_all_close(split, exact, atol=3e-5)


@pytest.mark.parametrize(
    ("n_queries", "n_keys", "has_bias", "serves"),
    [
        (128, 128, False, True),
        (512, 128, False, True),
        (128, 128, True, False),
        (127, 128, False, False),
        (128, 64, False, False),
    ],
)
def test_it_serves_whole_tiles_without_a_bias(n_queries, n_keys, has_bias, serves):
    q, k = (jax.ShapeDtypeStruct((B, n, H, D), jnp.bfloat16) for n in (n_queries, n_keys))
    assert splash_serves(q, k, has_bias=has_bias) is serves


def kernels(length, **words):
    """Return how many kernels a lowered gradient asks a TPU for."""
    x = jax.ShapeDtypeStruct((B, length, H, D), jnp.bfloat16)

    def loss(x):
        out = attend(x, x, x, implementation="splash", **words)
        return jnp.sum(out.astype(jnp.float32))

    lowered = jax.jit(jax.grad(loss)).trace(x).lower(lowering_platforms=("tpu",))
    return lowered.as_text().count("tpu_custom_call")


def test_where_it_cannot_serve_scores_are_computed_again():
    assert kernels(128, causal=True) == 3, "forward, and the gradients of keys and of queries"
    assert kernels(127, causal=True) == 0
    assert kernels(128, causal=True, bias_HTS=jnp.zeros((H, 128, 128))) == 0
