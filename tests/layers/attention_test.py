import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers import attention
from latent_jax.layers.attention import Attention, attend, cudnn_serves
from latent_jax.models.gpt import GPTConfig

B, H, D = 2, 3, 8


def _inputs(n_queries, n_keys, dtype=jnp.float32, heads=(H, H)):
    shapes = ((n_queries, heads[0]), (n_keys, heads[1]), (n_keys, heads[1]), (n_queries, heads[0]))
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, (B, *s, D), dtype) for key, s in zip(keys, shapes, strict=True)]


def grouped_reference(q, k, v, lengths, bias, causal):
    """Return grouped-query attention, head by head, in float64 numpy."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.empty_like(q)
    shared = q.shape[2] // k.shape[2]
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            scores = q[b, :, h] @ k[b, :, h // shared].T / np.sqrt(q.shape[3])
            scores += 0 if bias is None else bias[h]
            if causal:
                scores = np.where(np.tril(np.ones_like(scores)), scores, -np.inf)
            if lengths is not None:
                scores[:, lengths[b] :] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[b, :, h] = weights / weights.sum(axis=1, keepdims=True) @ v[b, :, h // shared]
    return out


@functools.partial(jax.jit, static_argnames=("implementation", "causal"))
def _with_gradients(implementation, q, k, v, cotangent, lengths, causal):
    words = dict(lengths_B=lengths, causal=causal, implementation=implementation)
    out, backward = jax.vjp(lambda q, k, v: attend(q, k, v, **words), q, k, v)
    return out, backward(cotangent)


@pytest.mark.parametrize("length", [1, 128, 200, 1100])
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_equal_dot_product_attention_when_causal(length, masked, monkeypatch):
    monkeypatch.setattr(attention, "TILE", 16 if length < 1000 else 128)
    q, k, v, cotangent = _inputs(length, length)
    lengths = jnp.array([length, length - length // 3]) if masked else None
    tiled = _with_gradients("tiled", q, k, v, cotangent, lengths, True)
    xla = _with_gradients("xla", q, k, v, cotangent, lengths, True)
    chex.assert_trees_all_close(tiled, xla, atol=1e-4)


@pytest.mark.parametrize("n_queries,n_keys", [(7, 7), (5, 12)])
def test_tiles_equal_dot_product_attention_when_not_causal(n_queries, n_keys):
    q, k, v, cotangent = _inputs(n_queries, n_keys)
    lengths = jnp.array([n_keys, 2])
    tiled = _with_gradients("tiled", q, k, v, cotangent, lengths, False)
    xla = _with_gradients("xla", q, k, v, cotangent, lengths, False)
    chex.assert_trees_all_close(tiled, xla, atol=1e-5)
    unmasked = attend(q, k, v, implementation="tiled")
    assert float(jnp.abs(unmasked - tiled[0])[1].max()) > 1e-2, "lengths changed nothing"


@pytest.mark.parametrize("causal", [False, True])
def test_a_bias_is_added_to_the_scores(causal):
    q, k, v, _ = _inputs(9, 9)
    bias = jax.random.normal(jax.random.key(5), (H, 9, 9))
    scores = jnp.einsum("BTHd,BSHd->BHTS", q, k) / D**0.5 + bias[None]
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((9, 9), bool)), scores, -jnp.inf)
    expected = jnp.einsum("BHTS,BSHd->BTHd", jax.nn.softmax(scores), v)
    for implementation in ("tiled", "xla"):
        out = attend(q, k, v, bias_HTS=bias, causal=causal, implementation=implementation)
        np.testing.assert_allclose(out, expected, atol=1e-5)
    without = attend(q, k, v, causal=causal)
    assert float(jnp.abs(without - expected).max()) > 1e-2


@pytest.mark.parametrize("implementation", ["tiled", "xla", "recomputed", "cudnn", "splash"])
@pytest.mark.parametrize("n_groups", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_heads_of_queries_share_heads_of_keys(implementation, n_groups, causal, monkeypatch):
    """Where a kernel cannot serve, here for the dtype and the length, another one does."""
    monkeypatch.setattr(attention, "TILE", 4)
    q, k, v, cotangent = _inputs(9, 9, heads=(4, n_groups))
    lengths = None if causal else jnp.array([9, 4])
    bias = jax.random.normal(jax.random.key(5), (4, 9, 9)) if causal else None
    words = dict(lengths_B=lengths, bias_HTS=bias, causal=causal, implementation=implementation)
    out, backward = jax.vjp(lambda q, k, v: attend(q, k, v, **words), q, k, v)
    expected = grouped_reference(q, k, v, lengths, bias, causal)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    # Repeated for every head of queries, keys and values give the same, and sums of gradients.
    whole = [jnp.repeat(x, 4 // n_groups, axis=2) for x in (k, v)]
    _, backward_whole = jax.vjp(lambda q, k, v: attend(q, k, v, **words), q, *whole)
    dq, dk, dv = backward_whole(cotangent)
    dk, dv = (x.reshape(B, 9, n_groups, -1, D).sum(axis=3) for x in (dk, dv))
    chex.assert_trees_all_close(backward(cotangent), (dq, dk, dv), atol=1e-5)
    if 1 < n_groups < 4:
        other = grouped_reference(q, k[:, :, ::-1], v[:, :, ::-1], lengths, bias, causal)
        assert np.abs(out - other).max() > 1e-2, "which heads share changed nothing"


def test_causal_tiles_skip_scores():
    q, k, v, _ = _inputs(1024, 1024)

    def n_scores(causal):
        jaxpr = jax.make_jaxpr(lambda q, k, v: attend(q, k, v, causal=causal))(q, k, v)
        return sum(eqn.outvars[0].aval.size for eqn in jaxpr.eqns if eqn.primitive.name == "exp")

    assert n_scores(False) == B * H * 1024**2
    assert n_scores(True) == B * H * 1024**2 * 9 / 16


def test_many_tiles_are_never_more_than_the_limit():
    q, k, v, _ = _inputs(4096, 4096)
    jaxpr = jax.make_jaxpr(lambda q, k, v: attend(q, k, v, causal=True))(q, k, v)
    assert sum(e.primitive.name == "exp" for e in jaxpr.eqns) == attention.MAX_TILES


@pytest.mark.parametrize("implementation", ["tiled", "xla"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_row_without_keys_is_finite(implementation, causal):
    q, k, v, cotangent = _inputs(6, 6)
    found = _with_gradients(implementation, q, k, v, cotangent, jnp.array([6, 0]), causal)
    chex.assert_tree_all_finite(found)


def test_large_scores_do_not_overflow():
    q, k, v, cotangent = _inputs(6, 6)
    tiled = _with_gradients("tiled", 1e4 * q, k, v, cotangent, None, True)
    chex.assert_tree_all_finite(tiled)
    xla = _with_gradients("xla", 1e4 * q, k, v, cotangent, None, True)
    chex.assert_trees_all_close(tiled[0], xla[0], atol=1e-4)


def test_bfloat16_keeps_a_float32_softmax():
    q, k, v, _ = _inputs(32, 32, jnp.bfloat16)
    out = attend(q, k, v, causal=True)
    assert out.dtype == jnp.bfloat16
    q, k, v = (x.astype(jnp.float32) for x in (q, k, v))
    exact = attend(q, k, v, causal=True)
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=2e-2)


def test_lengths_hide_the_keys_behind_them():
    q, k, v, _ = _inputs(12, 12)
    for implementation in ("tiled", "xla", "recomputed"):
        options = dict(implementation=implementation)
        by_length = attend(q, k, v, lengths_B=jnp.array([12, 5]), **options)
        chex.assert_trees_all_close(by_length[0], attend(q, k, v, **options)[0], atol=1e-6)
        short = attend(q[1:], k[1:, :5], v[1:, :5], **options)
        chex.assert_trees_all_close(by_length[1:], short, atol=1e-6)
        assert float(jnp.abs(by_length - attend(q, k, v, **options))[1].max()) > 1e-2


def test_recomputed_scores_are_not_kept():
    q, k, v, _ = _inputs(64, 64)

    def loss(q, implementation):
        return jnp.sum(jnp.sin(attend(q, k, v, causal=True, implementation=implementation)))

    values = [jax.value_and_grad(loss)(q, word) for word in ("xla", "recomputed")]
    chex.assert_trees_all_close(*values, rtol=1e-5, atol=1e-5)

    def kept(implementation):
        saved = jax.eval_shape(lambda q: jax.vjp(lambda q: loss(q, implementation), q)[1], q)
        return max(leaf.size for leaf in jax.tree.leaves(saved))

    assert kept("xla") >= B * H * 64 * 64 > kept("recomputed")


@pytest.mark.parametrize(
    ("shape", "dtype", "serves"),
    [
        ((2, 512, 12, 64), "bfloat16", True),
        ((2, 511, 12, 64), "bfloat16", False),
        ((2, 512, 4, 128), "bfloat16", True),
        ((2, 512, 12, 64), "float32", False),
        ((2, 512, 12, 12), "bfloat16", False),
        ((2, 512, 4, 256), "bfloat16", False),
        ((2, 16, 12, 64), "bfloat16", False),
    ],
)
def test_cudnn_serves_what_its_kernels_take(shape, dtype, serves):
    q = jax.ShapeDtypeStruct(shape, dtype)
    assert cudnn_serves(q, q) is serves
    grouped = jax.ShapeDtypeStruct((*shape[:2], 2, shape[3]), dtype)
    assert cudnn_serves(q, grouped) is serves
    assert not cudnn_serves(q, grouped, has_bias=True)


def test_what_is_left_to_the_platform_must_be_settled_before():
    q, k, v, _ = _inputs(4, 4)
    with pytest.raises(ValueError, match="resolve the config for a platform first"):
        attend(q, k, v, implementation="auto")


def test_the_module_keeps_the_shape_and_gives_heads_their_own_axis():
    config = GPTConfig(vocab_size=8, max_length=16, n_layers=2, d_model=24, n_heads=H)
    x = jax.random.normal(jax.random.key(1), (B, 10, 24))
    module = Attention(config, causal=True)
    variables = module.init(jax.random.key(0), x)
    y, cache = module.apply(variables, x)
    chex.assert_shape(y, (B, 10, 24))
    assert cache is None
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["query_key_value"] == {"kernel": (24, H, 3, D), "bias": (H, 3, D)}
    assert shapes["out"] == {"kernel": (H, D, 24), "bias": (24,)}


@pytest.mark.parametrize("implementation", ["tiled", "xla"])
def test_the_module_gives_fewer_heads_of_keys_a_layer_of_their_own(implementation):
    words = dict(vocab_size=8, max_length=16, n_layers=2, d_model=32, n_heads=4)
    config = GPTConfig(**words, n_kv_heads=2, attention_implementation=implementation)
    x = jax.random.normal(jax.random.key(1), (B, 10, 32))
    variables = Attention(config, causal=True).init(jax.random.key(0), x)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["query"] == {"kernel": (32, 4, D), "bias": (4, D)}
    assert shapes["key_value"] == {"kernel": (32, 2, 2, D), "bias": (2, 2, D)}
    params = variables["params"]
    q = np.einsum("btd,dhe->bthe", x, params["query"]["kernel"])
    k, v = np.einsum("btd,dgpe->pbtge", x, params["key_value"]["kernel"])
    mixed = grouped_reference(q, k, v, None, None, True)
    expected = np.einsum("bthe,hed->btd", mixed, params["out"]["kernel"])
    y, _ = Attention(config, causal=True).apply(variables, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    # As many as there are heads is what 0 means, and the one product that it has always been.
    full = Attention(GPTConfig(**words, n_kv_heads=4), causal=True).init(jax.random.key(0), x)
    chex.assert_trees_all_equal(
        full, Attention(GPTConfig(**words), True).init(jax.random.key(0), x)
    )
