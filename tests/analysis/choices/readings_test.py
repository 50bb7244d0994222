"""Each reading of -log p(x | z_hat), on a model small enough to check by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.analysis.choices.decoder import PARTS, decoder_trained_on_choices
from latent_jax.analysis.choices.readings import READINGS, places, reading_sums
from latent_jax.models.latent_lm import LatentLanguageModel
from tests.latent_fixtures import B, C, T, make_batch, make_config

K = T // C


@pytest.fixture(scope="module")
def latent():
    config, batch = make_config(), make_batch()
    ids = np.asarray(batch["ids"])
    mask = jnp.ones(ids.shape, bool)
    variables = jax.jit(LatentLanguageModel(config).init)({"params": jax.random.key(0)}, ids, mask)
    return config, variables, ids


@pytest.fixture(scope="module")
def found(latent):
    return reading_sums(*latent, jax.random.key(1), n_places=K)


def decode(latent, codes, ids=None):
    config, variables, own = latent
    masks = jnp.ones(codes.shape, bool), jnp.ones(own.shape, bool)
    logits = LatentLanguageModel(config).apply(
        variables, codes, *masks, method=LatentLanguageModel.decode_codes
    )
    log_p = np.asarray(jax.nn.log_softmax(logits))
    own = own if ids is None else ids
    return -np.take_along_axis(log_p, own[..., None], axis=-1)[..., 0]


def predicted(latent):
    config, variables, ids = latent
    output = LatentLanguageModel(config).apply(variables, ids, jnp.ones(ids.shape, bool))
    return output.quantized.codes_BK, jnp.argmax(output.code_logits_BKV, axis=-1)


def test_all_choices_together_are_the_logged_metric(latent, found):
    codes, choice = predicted(latent)
    assert found["accuracy"] == (float((codes == choice).sum()), B * K)
    assert found["own codes"] == pytest.approx((decode(latent, codes).sum(), B * T), rel=1e-5)
    nats = decode(latent, choice)
    assert found["all"] == pytest.approx((nats.sum(), B * T), rel=1e-5)
    right = np.repeat(np.asarray(codes == choice), C, axis=1)
    assert found["all, right"] == pytest.approx((nats[right].sum(), right.sum()), rel=1e-5)


def test_shifted_readings_score_the_place_that_reads_the_choice_and_the_next(latent, found):
    _, choice = predicted(latent)
    early = jnp.roll(choice, -1, axis=1)
    nats = decode(latent, early)[:, :-C]
    assert found["all, early"] == pytest.approx((nats.sum(), B * (T - C)), rel=1e-5)
    _, _, ids = latent
    moved = decode(latent, early, np.roll(ids, -C, axis=1))[:, :-C]
    assert found["all, late"] == pytest.approx((moved.sum(), B * (T - C)), rel=1e-5)


def test_one_choice_at_a_time_leaves_its_neighbours(latent, found):
    codes, choice = map(np.asarray, predicted(latent))
    own, whole, right = 0.0, 0.0, 0.0
    for k in range(K):
        changed = codes.copy()
        changed[:, k] = choice[:, k]
        nats = decode(latent, jnp.asarray(changed))
        group = nats[:, k * C : (k + 1) * C]
        own, whole = own + group.sum(), whole + nats.sum()
        right += group[codes[:, k] == choice[:, k]].sum()
    assert found["one"] == pytest.approx((own, B * T), rel=1e-5)
    assert found["one, whole row"] == pytest.approx((whole, B * K * T), rel=1e-5)
    n_right = float((codes == choice).sum() * C)
    assert found["one, right"] == pytest.approx((right, n_right), rel=1e-5)
    assert found["one, wrong"] == pytest.approx((own - right, B * T - n_right), rel=1e-4)


def test_a_certain_model_has_soft_codes_that_are_its_choices(latent):
    config, variables, ids = latent
    table = variables["params"]["language_model"]["token_embedding"]["embedding"]
    language_model = variables["params"]["language_model"]
    sure = {
        **language_model,
        "token_embedding": {"embedding": 1e4 * table},
    }
    params = {**variables["params"], "language_model": sure}
    found = reading_sums(config, {**variables, "params": params}, ids, jax.random.key(0), 2)
    assert found["all, soft"] == pytest.approx(found["all"], rel=1e-4)
    assert found["all, drawn"] == pytest.approx(found["all"], rel=1e-4)
    assert found["one, drawn"] == pytest.approx(found["one"], rel=1e-4)


def test_the_entropy_of_bytes_is_at_most_that_of_a_uniform_draw(found):
    nats, count = found["all, entropy"]
    assert 0 < nats / count <= np.log(257) + 1e-4
    assert set(found) - {"accuracy"} == set(READINGS) - {"all, trained"}


def test_places_are_spread_and_differ():
    at = np.asarray(places(jax.random.key(3), 5, 16, 4))
    assert at.shape == (5, 4) and at.min() >= 0 and at.max() < 16
    assert all(len(set(row)) == 4 for row in at.tolist())
    assert len({row[0] for row in at.tolist()}) > 1
    assert places(jax.random.key(3), 2, 3, 8).shape == (2, 3)


def test_a_decoder_learns_the_choices_and_nothing_else_changes(latent):
    config, variables, ids = latent
    trained = decoder_trained_on_choices(config, variables, ids, steps=200, seed=0)
    before = reading_sums(*latent, jax.random.key(1), 1)["all"]
    after = reading_sums(*latent, jax.random.key(1), 1, trained)
    assert after["all"] == before
    assert after["all, trained"][0] < 0.7 * before[0]
    own, new = variables["params"]["autoencoder"], trained["params"]["autoencoder"]
    for part in own:
        is_same = jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), own[part], new[part]))
        assert is_same == (part not in PARTS), part
    assert variables["params"]["language_model"] is trained["params"]["language_model"]
