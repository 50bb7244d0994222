"""Snippets that begin at the windows of a compiled code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.methods.artefacts import load_compiled
from latent_jax.tasks.snippets import Snippets, cut
from latent_jax.tasks.window_starts import window_starts

SEPARATOR = 256
T, LENGTH = 128, 16


@pytest.fixture(scope="module")
def code():
    return load_compiled()


@pytest.fixture(scope="module")
def ids():
    text = "It was the best of times, it was the worst of times; naïve ☃, the age of wisdom. " * 20
    ids_BT = np.frombuffer(text.encode()[: 8 * T], np.uint8).astype(np.int32).reshape(8, T).copy()
    ids_BT[2, [0, 40, 41, T - 1]] = SEPARATOR
    ids_BT[3] = np.random.default_rng(0).integers(0, 257, T)
    ids_BT[4] = SEPARATOR
    return ids_BT


def expected_starts(code, row):
    """The tokenizer's own cuts of the documents in a row."""
    starts, ends = np.zeros(T, bool), [-1, *np.flatnonzero(row == SEPARATOR), T]
    for before, end in itertools.pairwise(ends):
        at = before + 1
        for size in code.encode_batch([row[at:end].astype(np.uint8).tobytes()])[0][1]:
            starts[at] = True
            at += size
    return starts


def test_windows_begin_where_the_tokenizer_cuts(code, ids):
    found = np.asarray(jax.jit(lambda ids_BT: window_starts(ids_BT, code.trie))(ids))
    np.testing.assert_array_equal(found, [expected_starts(code, row) for row in ids])
    assert 0.1 < found[0].mean() < 0.5 and not found[4].any()


def test_a_snippet_begins_at_the_next_window(code, ids):
    weights = np.ones(ids.shape, np.float32)
    weights[5, -20:] = 0
    snippets, scored = jax.jit(lambda ids, weights: cut(ids, weights, LENGTH, code.trie))(
        ids, weights
    )
    assert snippets.shape == scored.shape == (8 * T // LENGTH, LENGTH)
    snippets, scored = (np.asarray(x).reshape(8, -1, LENGTH) for x in (snippets, scored))
    for row, row_weights, row_snippets, row_scored in zip(
        ids, weights, snippets, scored, strict=True
    ):
        begins = np.flatnonzero(expected_starts(code, row))
        for k, (snippet, score) in enumerate(zip(row_snippets, row_scored, strict=True)):
            after = begins[begins >= k * LENGTH]
            if not len(after):
                assert not score.any()
                continue
            text = row[after[0] : after[0] + LENGTH]
            np.testing.assert_array_equal(snippet[: len(text)], text)
            kept = row_weights[after[0] : after[0] + LENGTH]
            np.testing.assert_array_equal(score, np.pad(kept, (0, LENGTH - len(text))))


def test_without_a_code_one_follows_on_the_other(ids):
    snippets, scored = cut(jnp.asarray(ids), jnp.ones(ids.shape), LENGTH)
    np.testing.assert_array_equal(np.asarray(snippets).reshape(-1), ids.reshape(-1))
    assert scored.all()


def test_rows_are_taken_at_a_stride():
    whole, short = Snippets(every=4, length=2).split(jnp.arange(16).reshape(8, 2))
    np.testing.assert_array_equal(short, [[0, 1], [8, 9]])
    assert whole.shape == (6, 2)
