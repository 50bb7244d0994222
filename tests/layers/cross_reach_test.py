"""The decoder that reads patches: against a loop over bytes, steps, and FLOPs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.cross_reach import CrossReach, MemoryAttention
from latent_jax.layers.reach import AttentionReach
from latent_jax.sharding_constraints import placed_on
from latent_jax.training.mesh import make_mesh

T, D, E, K = 9, 8, 12, 3


def made(d_model=D, memory=E, n_vectors=K, window=4, **words):
    words = {"positions": "rotary", "norm": "rms", "use_bias": False, "n_layers": 2} | words
    stack = TransformerConfig(vocab_size=0, max_length=T, d_model=d_model, n_heads=2, **words)
    return CrossReach(AttentionReach(stack, window), memory, n_vectors)


X = jax.random.normal(jax.random.key(0), (2, T, D))
MEMORY = jax.random.normal(jax.random.key(1), (2, T, E))


@functools.cache
def louder(module):
    drawn = jax.jit(module.init)(jax.random.key(2), X, MEMORY)
    keys = iter(jax.random.split(jax.random.key(3), 50))
    return jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape), drawn)


def test_each_byte_reads_the_vectors_of_its_own_patch():
    module = MemoryAttention(made())
    variables = louder(module)
    found = module.apply(variables, X, MEMORY)
    params = jax.tree.map(np.asarray, variables["params"])

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params[name]["scale"]

    for row, t in np.ndindex(2, T):
        x, vectors = np.asarray(X[row, t]), np.asarray(MEMORY[row, t]).reshape(K, E // K)
        query = np.einsum("d,dhc->hc", norm(x, "query_norm"), params["query"]["kernel"])
        vectors = norm(vectors, "memory_norm")
        both = np.einsum("jp,pahc->ajhc", vectors, params["key_value"]["kernel"])
        expected = x
        for h in range(2):
            scores = both[0, :, h] @ query[h] / 2.0
            weights = np.exp(scores) / np.exp(scores).sum()
            expected = expected + (weights @ both[1, :, h]) @ params["out"]["kernel"][h]
        np.testing.assert_allclose(found[row, t], expected, atol=1e-5)


def test_steps_behind_a_prefix_are_the_row():
    reach = made()
    module = reach.module()
    variables = jax.jit(module.init)(jax.random.key(2), X, memory_BTD=MEMORY)
    variables = jax.tree.map(lambda leaf: 3.0 * leaf, variables)
    whole = jax.jit(module.apply)(variables, X, memory_BTD=MEMORY)
    lengths = jnp.array([2, 5])
    prefill = jax.jit(functools.partial(module.apply, method="prefill"))
    step = jax.jit(functools.partial(module.apply, method="step"))
    first, cache = prefill(variables, X[:, :5], lengths, reach.empty_cache(2, T), MEMORY[:, :5])
    lanes = jnp.arange(2)
    np.testing.assert_allclose(first[1], whole[1, :5], atol=1e-5)
    for n in range(4):
        at = lengths + n
        y, cache = step(variables, X[lanes, at], cache, jnp.ones(2, bool), MEMORY[lanes, at])
        np.testing.assert_allclose(y, whole[lanes, at], atol=1e-5)
    assert cache.layers[0].k_BGSd.shape[2] == 4 and len(cache.layers) == 2


def test_dropout_changes_training_alone():
    module = made(dropout=0.5).module()
    variables = jax.jit(module.init)(jax.random.key(2), X, memory_BTD=MEMORY)
    plain = made().module().apply(variables, X, memory_BTD=MEMORY)
    chex.assert_trees_all_close(module.apply(variables, X, memory_BTD=MEMORY), plain, atol=1e-6)
    drawn = module.apply(
        variables, X, memory_BTD=MEMORY, train=True, rngs={"dropout": jax.random.key(0)}
    )
    assert float(jnp.abs(drawn - plain).max()) > 1e-3


def test_remat_computes_the_same_and_computes_again():
    variables = jax.jit(made().module().init)(jax.random.key(2), X, memory_BTD=MEMORY)
    results, n_dots = {}, {}
    for remat in ("none", "block", "dots"):
        module = made(dropout=0.2, remat=remat).module()
        words = dict(train=True, rngs={"dropout": jax.random.key(0)})

        def loss(variables, memory, module=module, words=words):
            return jnp.sum(jnp.sin(module.apply(variables, X, memory_BTD=memory, **words)))

        results[remat] = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(variables, MEMORY)
        jaxpr = jax.make_jaxpr(jax.grad(loss))(variables, MEMORY)
        n_dots[remat] = str(jaxpr).count("dot_general")
    chex.assert_trees_all_close(results["none"], results["block"], rtol=2e-5, atol=1e-5)
    chex.assert_trees_all_close(results["none"], results["dots"], rtol=2e-5, atol=1e-5)
    # "dots" keeps the results of weight matmuls and computes only attention's again.
    assert n_dots["none"] < n_dots["dots"] < n_dots["block"]


def test_rows_stay_on_their_devices():
    """What a row reads, and its dropout, is split over the devices before each layer."""
    reach, mesh = made(dropout=0.2), make_mesh("fsdp")
    x, memory = (jnp.tile(part, (4, 1, 1)) for part in (X, MEMORY))
    variables = jax.jit(reach.module().init)(jax.random.key(2), x, memory_BTD=memory)
    whole = jax.device_put((variables, x, memory), NamedSharding(mesh, PartitionSpec()))

    def run(variables, x, memory):
        words = dict(train=True, rngs={"dropout": jax.random.key(0)})
        return reach.module().apply(variables, x, memory_BTD=memory, **words)

    with placed_on(mesh, whole):
        found = jax.jit(run)(*whole)
        text = str(jax.make_jaxpr(run)(*whole))
    assert found.sharding.spec[0] == "data"
    assert text.count("sharding_constraint[") >= 3 * reach.stack.n_layers
    np.testing.assert_allclose(found, run(variables, x, memory), atol=1e-5)


def test_flops_agree_with_xla():
    reach = made(256, 512, 4, 0, n_layers=1)
    x = jax.ShapeDtypeStruct((1, 64, 256), jnp.float32)
    memory = jax.ShapeDtypeStruct((1, 64, 512), jnp.float32)
    module = reach.module()
    drawn = jax.eval_shape(module.init, jax.random.key(0), x, memory_BTD=memory)
    lowered = jax.jit(module.apply).lower(drawn, x, memory_BTD=memory)
    counted = lowered.cost_analysis()["flops"] / 64
    assert reach.forward_flops(64) == pytest.approx(counted, rel=0.04)


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="width 12 is not 5 vectors side by side"):
        made(n_vectors=5)
