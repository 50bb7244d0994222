"""Scores by place in a window, in a group and by source of codes; symbols by rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.analysis.latents import distortion_sums, position_sums
from latent_jax.analysis.windows import by_position, predictions
from latent_jax.analysis.zipf import exponent, rank_frequencies, word_ids
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.latent_lm import LatentLanguageModel
from tests.latent_fixtures import C, T, make_batch, make_config


def test_predictions_are_those_of_whole_rows_that_begin_anew():
    config = GPTConfig(vocab_size=9, max_length=8, n_layers=1, d_model=16, n_heads=2)
    variables = GPT(config).init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    variables = jax.tree.map(lambda leaf: 6 * leaf, variables)
    draws = np.random.default_rng(0)
    texts = [draws.integers(0, 8, n).astype(np.int32) for n in (11, 0, 3, 16)]
    found = predictions(config, variables, texts, separator_id=8, row_length=8, batch_size=2)
    for ids, (nats, hits) in zip(texts, found, strict=True):
        assert len(nats) == len(hits) == len(ids)
        for at in range(0, len(ids), 8):
            row = ids[at : at + 8]
            logits = GPT(config).apply(variables, jnp.array([[8, *row[:-1]]]))[0]
            log_p = jax.nn.log_softmax(logits)
            expected = -np.asarray(log_p)[np.arange(len(row)), row]
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


@pytest.fixture(scope="module")
def latent():
    config, batch = make_config(), make_batch()
    variables = LatentLanguageModel(config).init(
        {"params": jax.random.key(0)}, batch["ids"], batch["weights"] > 0
    )
    return config, variables, np.asarray(batch["ids"]), np.asarray(batch["weights"] > 0)


def test_places_add_up_to_the_reconstruction(latent):
    config, variables, ids, mask = latent
    sums = position_sums(config, variables, ids, mask)
    output = LatentLanguageModel(config).apply(variables, ids, mask)
    log_p = np.asarray(jax.nn.log_softmax(output.byte_logits_BTV))
    nats = -np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0] * mask
    np.testing.assert_allclose(sums["nats"], nats.sum(axis=0), rtol=1e-5)
    assert sums["count"].sum() == mask.sum() < mask.size
    assert 0 <= sums["hits"].sum() <= mask.sum()


def test_codes_of_the_encoder_cost_what_the_model_says_and_others_differ(latent):
    config, variables, ids, _ = latent
    mask = np.ones(ids.shape, bool)
    found = distortion_sums(config, variables, ids, mask, jax.random.key(1))
    assert found["encoder"]["nats"] == pytest.approx(
        position_sums(config, variables, ids, mask)["nats"].sum(), rel=1e-5
    )
    for source in ("encoder", "likeliest", "drawn"):
        assert found[source]["bytes"] == mask.sum()
        assert found[source]["codes"] == mask.sum() // C
    assert found["written"]["bytes"] == len(ids) * (T // C // 2) * C
    assert found["written"]["codes"] == len(ids) * (T // C - T // C // 2)
    assert found["drawn"]["nats"] != found["encoder"]["nats"] != found["likeliest"]["nats"]
    again = distortion_sums(config, variables, ids, mask, jax.random.key(1))
    assert again == found
    other = distortion_sums(config, variables, ids, mask, jax.random.key(2))
    assert other["likeliest"] == found["likeliest"] and other["drawn"] != found["drawn"]


def test_ranks_fall_and_their_exponent_is_recovered():
    ids = np.repeat(np.arange(4), [1, 5, 0, 4])
    np.testing.assert_allclose(rank_frequencies(ids, 10), [0.5, 0.4, 0.1])
    for s in (0.0, 0.7, 1.0, 1.5):
        shares = np.arange(1, 3000, dtype=np.float64) ** -s
        assert exponent(shares / shares.sum()) == pytest.approx(s, abs=1e-9)
    assert exponent(np.array([0.5, 0.5])) is None


def test_words_and_signs_are_symbols():
    ids, n = word_ids([b"The cat, the dog.", "été".encode(), b"\xff"])
    assert n == 8  # The cat , the dog . été U+FFFD
    assert len(ids) == 8
    ids, n = word_ids([b"a a", b"a b"])
    assert n == 2 and sorted(np.bincount(ids).tolist()) == [1, 3]
