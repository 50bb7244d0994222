"""Networks of limited reach: windows, documents, lanes that are left out."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.cache import Cache, last_slots
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.reach import AttentionReach, MambaReach, reach_view

STACK = TransformerConfig(
    vocab_size=0, max_length=1, n_layers=2, d_model=8, n_heads=2, n_kv_heads=1, positions="rotary"
)
REACHES = {"attention": AttentionReach(STACK, window=4), "mamba": MambaReach.of(8, 2, 4, "float32")}
X = jax.random.normal(jax.random.key(0), (2, 11, 8))


@functools.cache
def built(name):
    module = REACHES[name].module()
    return module, jax.jit(module.init)(jax.random.key(1), X)


@pytest.mark.parametrize("name", REACHES)
def test_lanes_that_are_left_out_stay_where_they_are(name):
    module, variables = built(name)
    whole = jax.jit(module.apply)(variables, X)
    lengths = jnp.array([6, 3])
    read = jax.jit(functools.partial(module.apply, method="prefill"))
    _, cache = read(variables, X[:, :6], lengths, REACHES[name].empty_cache(2, 32))
    step = jax.jit(functools.partial(module.apply, method="step"))
    at = np.array([6, 3])
    for is_real in ([1, 1], [0, 1], [0, 1], [1, 0], [1, 1]):
        is_real = np.array(is_real, bool)
        y, cache = step(variables, X[np.arange(2), at], cache, jnp.asarray(is_real))
        for lane in np.flatnonzero(is_real):
            np.testing.assert_allclose(y[lane], whole[lane, at[lane]], atol=1e-5)
        at = at + is_real


def test_a_window_and_a_document_bound_what_is_read():
    module, variables = built("attention")
    documents = jnp.array([[0] * 5 + [1] * 6])

    def score(x):
        return jnp.sum(jnp.sin(module.apply(variables, x[None], documents)[0]), axis=-1)

    reads = np.any(np.asarray(jax.jit(jax.jacobian(score))(X[0])) != 0, axis=-1)
    age = np.arange(11)[:, None] - np.arange(11)[None]
    same = np.asarray(documents[0])[:, None] == np.asarray(documents[0])[None]
    # Two layers of a window of four reach six positions back.
    np.testing.assert_array_equal(reads, (age >= 0) & (age <= 6) & same)
    view = reach_view(11, 4, documents)
    np.testing.assert_array_equal(view.own_BTT[0], (age >= 0) & (age < 4) & same)


def test_rings_hold_the_last_positions_in_their_slots():
    keys = jnp.arange(7.0)[None, None, :, None] + jnp.zeros((3, 1, 7, 1))
    ring = last_slots(Cache(keys, keys), jnp.array([7, 5, 2]), 4).k_BGSd[:, 0, :, 0]
    np.testing.assert_array_equal(ring[0], [4, 5, 6, 3])
    np.testing.assert_array_equal(ring[1], [4, 1, 2, 3])
    np.testing.assert_array_equal(ring[2, :2], [0, 1])


def test_positions_that_are_not_rotary_are_refused():
    with pytest.raises(ValueError, match=r"needs model\.positions=rotary; got 'relative'"):
        AttentionReach(dataclasses.replace(STACK, positions="relative"))
