"""Attention with a vector beside each position, and networks without positions."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.attention import Attention
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.reach import AttentionReach

B, T, D, H = 2, 9, 8, 2
STACK = TransformerConfig(
    vocab_size=0, max_length=1, n_layers=2, d_model=D, n_heads=H, positions="rotary", norm="rms"
)
PLAIN = MiddleConfig.of(STACK, positions="none")
X = jax.random.normal(jax.random.key(0), (B, T, D))
MEMORY = jax.random.normal(jax.random.key(1), (B, T, D))


def louder(variables):
    keys = iter(jax.random.split(jax.random.key(7), 40))
    return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), variables)


@pytest.mark.parametrize("n_kv_heads", [0, 1])
def test_projections_of_stream_and_memory_add_up(n_kv_heads):
    config = dataclasses.replace(PLAIN, n_kv_heads=n_kv_heads, use_bias=False)
    module = Attention(config, causal=True)
    variables = louder(module.init(jax.random.key(2), X, memory_BTD=MEMORY))
    out, _ = module.apply(variables, X, memory_BTD=MEMORY)
    params = jax.tree.map(np.asarray, variables["params"])

    def projected(name):
        """Return D x heads x d, of the stream and of the memory, applied and added."""
        parts = [np.asarray(X, np.float64), np.asarray(MEMORY, np.float64)]
        kernels = [params[f"{prefix}{name}"]["kernel"] for prefix in ("", "memory_")]
        return sum(np.tensordot(x, kernel, 1) for x, kernel in zip(parts, kernels, strict=True))

    if n_kv_heads:
        q, kv = projected("query"), projected("key_value")
        k, v = (np.repeat(kv[:, :, :, i], H, axis=2) for i in (0, 1))
    else:
        q, k, v = np.moveaxis(projected("query_key_value"), 3, 0)
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D // H)
    scores = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = np.einsum("bhts,bshd->bthd", weights, v)
    expected = np.tensordot(mixed, params["out"]["kernel"], 2)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    plain, _ = module.apply(variables, X)
    assert np.abs(np.asarray(plain) - expected).max() > 1e-2


@pytest.mark.parametrize("window", [0, 4])
def test_prefill_and_steps_equal_the_whole_row(window):
    for reach in (AttentionReach(STACK, window, reads_chunks=True), AttentionReach(PLAIN, window)):
        beside = {"memory": MEMORY} if reach.reads_chunks else {}
        module = reach.module()

        def words(rows, names="TD", beside=beside):
            return {f"{name}_B{names}": rows(x) for name, x in beside.items()}

        variables = louder(module.init(jax.random.key(2), X, **words(lambda x: x)))
        whole = module.apply(variables, X, **words(lambda x: x))
        lengths = jnp.array([5, 3])
        read = jax.jit(functools.partial(module.apply, method="prefill"))
        first = words(lambda x: x[:, :5])
        y, cache = read(variables, X[:, :5], lengths, reach.empty_cache(B, 16), **first)
        np.testing.assert_allclose(y[0], whole[0, :5], atol=1e-5)
        step = jax.jit(functools.partial(module.apply, method="step"))
        at = np.array([5, 3])
        for _ in range(4):
            now = words(lambda x, at=at: x[np.arange(B), at], "D")
            y, cache = step(variables, X[np.arange(B), at], cache, jnp.ones(B, bool), **now)
            np.testing.assert_allclose(y, whole[np.arange(B), at], atol=1e-5)
            at = at + 1


def test_without_positions_the_order_of_earlier_ones_does_not_matter():
    order = np.array([2, 0, 3, 1, 4])
    for stack, is_same in ((PLAIN, True), (STACK, False)):
        stack = dataclasses.replace(stack, n_layers=1)
        module = AttentionReach(stack).module()
        variables = louder(module.init(jax.random.key(2), X))
        last = [module.apply(variables, x)[:, -1] for x in (X[:, :5], X[:, order])]
        assert np.allclose(*last, atol=1e-5) == is_same


def test_memory_is_read_causally():
    module = AttentionReach(STACK, reads_chunks=True).module()
    variables = louder(module.init(jax.random.key(2), X, memory_BTD=MEMORY))

    def score(memory):
        y = module.apply(variables, X[:1], memory_BTD=memory[None])[0]
        return jnp.sum(jnp.sin(y), axis=-1)

    reads = np.any(np.asarray(jax.jit(jax.jacobian(score))(MEMORY[0])) != 0, axis=-1)
    np.testing.assert_array_equal(reads, np.tri(T, dtype=bool))


def test_flops_of_memory_are_counted():
    stack = dataclasses.replace(STACK, d_model=128, scan_unroll=2)
    x = jax.ShapeDtypeStruct((2, 64, 128), jnp.float32)
    for words in ({}, {"n_kv_heads": 1}):
        reach = AttentionReach(dataclasses.replace(stack, **words), reads_chunks=True)
        module = reach.module()
        variables = jax.eval_shape(
            lambda x, init=module.init: init(jax.random.key(0), x, memory_BTD=x), x
        )
        call = jax.jit(lambda v, x, module=module: module.apply(v, x, memory_BTD=x))
        counted = call.lower(variables, x).cost_analysis()["flops"] / (2 * 64)
        assert reach.forward_flops(64) == pytest.approx(counted, rel=0.05)
        more = reach.forward_flops(64) - AttentionReach(reach.stack).forward_flops(64)
        assert more == 2 * 2 * 128 * (128 + 2 * (64 if words else 128))
