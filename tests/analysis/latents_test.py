"""Scores by place in a group and by source of codes."""

import jax
import numpy as np
import pytest

from latent_jax.analysis.latents import distortion_sums, position_sums
from latent_jax.models.latent_lm import LatentLanguageModel
from tests.latent_fixtures import C, T, make_batch, make_config


@pytest.fixture(scope="module")
def latent():
    config, batch = make_config(), make_batch()
    variables = jax.jit(LatentLanguageModel(config).init)(
        {"params": jax.random.key(0)}, batch["ids"], batch["weights"] > 0
    )
    return config, variables, np.asarray(batch["ids"]), np.asarray(batch["weights"] > 0)


def test_places_add_up_to_the_reconstruction(latent):
    config, variables, ids, mask = latent
    sums = position_sums(config, variables, ids, mask)
    output = jax.jit(LatentLanguageModel(config).apply)(variables, ids, mask)
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
