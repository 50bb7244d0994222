"""Attention from positions to chunks: against a loop, steps, documents, recomputation, FLOPs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.up_attention import UpReach
from latent_jax.sharding_constraints import placed_on
from latent_jax.training.mesh import make_mesh

T, K, D, H = 9, 5, 8, 2
X = jax.random.normal(jax.random.key(0), (2, T, D))
Z = jax.random.normal(jax.random.key(1), (2, K, D))
CHUNK_OF = jnp.array([[0, 0, 1, 1, 1, 2, 3, 3, 4], [0, 1, 2, 2, 2, 2, 2, 2, 2]], jnp.int32)


def made(d_model=D, window=0, **words):
    words = {"positions": "rotary", "norm": "rms", "n_layers": 1} | words
    stack = TransformerConfig(vocab_size=0, max_length=T, d_model=d_model, n_heads=H, **words)
    return UpReach(stack, window)


@functools.cache
def variables():
    drawn = jax.jit(made().module().init)(jax.random.key(2), X, Z, CHUNK_OF)
    keys = iter(jax.random.split(jax.random.key(3), 20))
    return jax.tree.map(lambda leaf: leaf + 0.5 * jax.random.normal(next(keys), leaf.shape), drawn)


def by_loop(x, z, chunk, window=K, is_own=None):
    """Return the stream at one position; features i and i + d / 2 turn by number / theta^(2i/d)."""
    params = jax.tree.map(np.asarray, variables()["params"])
    is_own = np.ones(K, bool) if is_own is None else is_own

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params[name]["scale"]

    def turned(x, at):
        half = x.shape[-1] // 2
        angle = at * 10_000.0 ** (-np.arange(half) / half)
        a, b = x[..., :half], x[..., half:]
        parts = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
        return np.concatenate(parts, axis=-1)

    x, z = np.asarray(x, np.float64), np.asarray(z, np.float64)
    read = [k for k in range(chunk + 1) if chunk - k < window and is_own[k]]
    query = turned(np.einsum("d,dhc->hc", norm(x, "query_norm"), params["query"]["kernel"]), chunk)
    both = np.einsum("kd,dhac->khac", norm(z, "chunk_norm"), params["key_value"]["kernel"])
    for h in range(H):
        scores = [turned(both[k, h, 0], k) @ query[h] / np.sqrt(D // H) for k in read]
        weights = np.exp(scores) / np.exp(scores).sum()
        x = (
            x
            + sum(w * both[k, h, 1] for w, k in zip(weights, read, strict=True))
            @ (params["out"]["kernel"][h])
        )
    return x


@pytest.mark.parametrize("window", [0, 2])
def test_positions_read_the_chunks_up_to_their_own(window):
    found = made(window=window).module().apply(variables(), X, Z, CHUNK_OF)
    for row, t in np.ndindex(2, T):
        chunk = int(CHUNK_OF[row, t])
        expected = by_loop(X[row, t], Z[row], chunk, window or K)
        np.testing.assert_allclose(found[row, t], expected, atol=1e-5)


def test_chunks_of_other_documents_are_not_read():
    documents = jnp.array([[1, 1, 2, 2, 2], [1, 1, 1, -1, -1]])
    of_position = jnp.array([[1] * 4 + [2] * 3 + [3] * 2, [1] * T])
    is_own = of_position[..., None] == documents[:, None]
    found = made().module().apply(variables(), X, Z, CHUNK_OF, is_own)
    for row, t in np.ndindex(2, T):
        own, chunk = np.asarray(is_own[row, t]), int(CHUNK_OF[row, t])
        if own[: chunk + 1].any():
            expected = by_loop(X[row, t], Z[row], chunk, is_own=own)
        else:
            expected = X[row, t]
        np.testing.assert_allclose(found[row, t], expected, atol=1e-5)
    assert not np.asarray(is_own)[0, 8].any(), "a document without a chunk takes nothing"


@pytest.mark.parametrize("n_slots", [K, 2])
def test_steps_behind_a_prefix_are_the_row(n_slots):
    reach = made()
    module = reach.module()
    whole = made(window=n_slots).module().apply(variables(), X, Z, CHUNK_OF)
    lengths, lanes = jnp.array([3, 5]), jnp.arange(2)
    n_chunks = CHUNK_OF[lanes, lengths - 1] + 1
    cache = reach.empty_cache(2, n_slots)
    words = (X[:, :5], Z, CHUNK_OF[:, :5], n_chunks, cache)
    first, cache = module.apply(variables(), *words, method="prefill")
    step = jax.jit(functools.partial(module.apply, method="step"))
    for lane, length in enumerate(lengths):
        np.testing.assert_allclose(first[lane, :length], whole[lane, :length], atol=1e-5)
    for n in range(4):
        at = lengths + n
        chunk = CHUNK_OF[lanes, at]
        is_first = chunk != CHUNK_OF[lanes, at - 1]
        z = jnp.where(is_first[:, None], Z[lanes, chunk], 7.0)  # of no use elsewhere
        y, cache = step(variables(), X[lanes, at], z, is_first, cache)
        np.testing.assert_allclose(y, whole[lanes, at], atol=1e-5)


def test_remat_computes_the_same_and_computes_again():
    results, n_dots = {}, {}
    for remat in ("none", "block", "dots"):
        module = made(remat=remat).module()

        def loss(variables, z, module=module):
            return jnp.sum(jnp.sin(module.apply(variables, X, z, CHUNK_OF)))

        results[remat] = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(variables(), Z)
        n_dots[remat] = str(jax.make_jaxpr(jax.grad(loss))(variables(), Z)).count("dot_general")
    chex.assert_trees_all_close(results["none"], results["block"], rtol=2e-5, atol=1e-5)
    chex.assert_trees_all_close(results["none"], results["dots"], rtol=2e-5, atol=1e-5)
    # Scores are computed again in any case, projections under "block" alone.
    assert n_dots["none"] <= n_dots["dots"] < n_dots["block"]


def test_rows_stay_on_their_devices():
    module, mesh = made().module(), make_mesh("fsdp")
    parts = tuple(jnp.tile(part, (4, *(1,) * (part.ndim - 1))) for part in (X, Z, CHUNK_OF))
    placed = jax.device_put((variables(), *parts), NamedSharding(mesh, PartitionSpec()))
    with placed_on(mesh, placed):
        found = jax.jit(module.apply)(*placed)
    assert found.sharding.spec[0] == "data"
    np.testing.assert_allclose(found, module.apply(variables(), *parts), atol=1e-5)


def test_flops_agree_with_xla():
    reach, length, n_chunks = made(256), 64, 16
    shapes = ((1, length, 256), (1, n_chunks, 256))
    x, z = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    chunk_of = jax.ShapeDtypeStruct((1, length), jnp.int32)
    drawn = jax.eval_shape(reach.module().init, jax.random.key(0), x, z, chunk_of)
    lowered = jax.jit(reach.module().apply).lower(drawn, x, z, chunk_of)
    counted = lowered.cost_analysis()["flops"] / length
    assert reach.forward_flops(length, n_chunks) == pytest.approx(counted, rel=0.05)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"needs model.positions=rotary; got 'learned'"):
        made(positions="learned")
    with pytest.raises(ValueError, match="window must be at least 0"):
        made(window=-1)
