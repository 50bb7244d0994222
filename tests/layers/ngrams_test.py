"""Hashes of n-grams against plain Python, starts of documents, and which tables are read."""

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.ngrams import REACH, SIZES, HashNgrams, hashes, histories

SEPARATOR = 256
IDS = [256, *b"the cat", 256, *b"the cat is th"]


def in_python(ids):
    value = 2166136261 ^ len(ids)
    for one in ids:
        value = ((value ^ one) * 16777619) % 2**32
    return value ^ (value >> 16)


def made(ids):
    ids = np.array([ids], np.int32)
    at = np.arange(ids.shape[1])
    start = np.maximum.accumulate(np.where(ids[0] == SEPARATOR, at, 0))
    return histories(jnp.asarray(ids), jnp.asarray(at - start)[None], SEPARATOR)


def test_hashes_are_those_of_plain_integers():
    rng = np.random.default_rng(0)
    for n in SIZES:
        ids = rng.integers(0, 257, (50, n))
        found = jax.jit(hashes)(jnp.asarray(ids))
        assert found.dtype == jnp.uint32
        np.testing.assert_array_equal(found, [in_python(list(map(int, row))) for row in ids])
    assert len({int(x) for x in hashes(jnp.arange(257)[:, None])}) == 257


def test_n_grams_do_not_reach_behind_the_start_of_a_document():
    history = np.asarray(made(IDS))[0]
    assert history.shape == (len(IDS), REACH + 1)
    for t in range(len(IDS)):
        start = max(i for i in range(t + 1) if IDS[i] == SEPARATOR)
        own = IDS[start : t + 1][-REACH - 1 :]
        expected = [SEPARATOR] * (REACH + 1 - len(own)) + own
        np.testing.assert_array_equal(history[t], expected)
    np.testing.assert_array_equal(history[:8], history[8:16], "documents that begin alike")


def test_the_sum_is_of_one_row_of_each_table():
    module, history = HashNgrams(11, 4), made(IDS)
    variables = module.init(jax.random.key(0), history)
    tables = np.asarray(variables["params"]["embedding"])
    assert tables.shape == (6, 11, 4)
    found = module.apply(variables, history)
    for t in (0, 5, 12, 20):
        ids = list(map(int, history[0, t]))
        expected = sum(tables[i, in_python(ids[-n:]) % 11] for i, n in enumerate(SIZES))
        np.testing.assert_allclose(found[0, t], expected, atol=1e-6)
