"""Scores by place in a window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from latent_jax.analysis.windows import by_position, predictions
from latent_jax.models.gpt import GPT, GPTConfig


def test_predictions_are_those_of_whole_rows_that_begin_anew():
    config = GPTConfig(vocab_size=9, max_length=8, n_layers=1, d_model=16, n_heads=2)
    variables = jax.jit(GPT(config).init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    variables = jax.tree.map(lambda leaf: 6 * leaf, variables)
    whole = jax.jit(GPT(config).apply)
    draws = np.random.default_rng(0)
    texts = [draws.integers(0, 8, n).astype(np.int32) for n in (11, 0, 3, 16)]
    found = predictions(config, variables, texts, separator_id=8, row_length=8, batch_size=2)
    for ids, (nats, hits) in zip(texts, found, strict=True):
        assert len(nats) == len(hits) == len(ids)
        for at in range(0, len(ids), 8):
            row = ids[at : at + 8]
            # Causal: what fills a row up to 8 ids changes nothing before it.
            filled = np.pad([8, *row[:-1]], (0, 8 - len(row)))
            logits = np.asarray(whole(variables, filled[None])[0, : len(row)])
            expected = -special.log_softmax(logits, axis=-1)[np.arange(len(row)), row]
            np.testing.assert_allclose(nats[at : at + 8], expected, atol=1e-4)
            np.testing.assert_array_equal(hits[at : at + 8], np.asarray(logits.argmax(-1)) == row)


def test_places_in_a_window_are_counted_from_the_beginning_of_a_text():
    texts = [
        (np.log([2.0, 4.0, 2.0]), np.array([True, False, True])),
        (np.log([8.0, 4.0]), np.array([False, False])),
    ]
    first, second = by_position(texts, 2)
    assert (first["position"], first["n_tokens"], second["n_tokens"]) == (1, 3, 2)
    assert first["bits_per_token"] == pytest.approx((1 + 1 + 3) / 3)
    assert second["bits_per_token"] == pytest.approx(2)
    assert first["accuracy"] == pytest.approx(2 / 3) and second["accuracy"] == 0
