"""The chunked search against plain NumPy, and what it holds in memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.quantizers import nearest


def _full_search(z, codes):
    return np.argmin(np.sum(np.square(z[:, None] - codes[None]), axis=-1), axis=-1)


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 100, 1000, None])
def test_every_chunk_size_equals_the_full_search(chunk_size):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 6)).astype(np.float32)
    codes = rng.normal(size=(100, 6)).astype(np.float32)
    found = nearest.nearest_codes(jnp.asarray(z), jnp.asarray(codes), chunk_size)
    chex.assert_shape(found, (50,))
    chex.assert_type(found, jnp.int32)
    expected = _full_search(z, codes)
    np.testing.assert_array_equal(found, expected)
    assert len(set(expected // 64)) == 2  # both sides of a chunk border are found


@pytest.mark.parametrize("chunk_size", [2, 3, 100])
def test_of_equal_codes_the_first_is_taken_across_chunks(chunk_size):
    codes = jnp.array([[5.0], [1.0], [1.0], [2.0], [1.0]])
    found = nearest.nearest_codes(jnp.array([[1.0], [1.1], [9.0]]), codes, chunk_size)
    np.testing.assert_array_equal(found, [1, 1, 0])


def test_the_padding_of_the_last_chunk_is_never_nearest():
    # The padding's vector is 0, and so are these latents: only its norm keeps it away.
    codes = jnp.full((5, 2), 100.0)
    assert nearest.nearest_codes(jnp.zeros((3, 2)), codes, 4).max() == 0


def test_large_codebooks_never_hold_all_distances():
    n, codebook_size = 512, 65536
    search = jax.jit(nearest.nearest_codes)
    z, codes = jnp.zeros((n, 8)), jnp.zeros((codebook_size, 8))
    held = search.lower(z, codes).compile().memory_analysis().temp_size_in_bytes
    full = jax.jit(lambda z, codes: jnp.argmin(nearest.squared_distances(z, codes), axis=-1))
    held_full = full.lower(z, codes).compile().memory_analysis().temp_size_in_bytes
    all_distances = n * codebook_size * 4
    assert held < all_distances / 8
    assert held_full >= all_distances


def test_squared_distances_equal_numpy():
    rng = np.random.default_rng(1)
    z, codes = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    expected = np.sum(np.square(z[:, None] - codes[None]), axis=-1)
    found = nearest.squared_distances(jnp.asarray(z), jnp.asarray(codes))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
