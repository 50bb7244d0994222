"""What thoughts save for each FLOP, from the ledger of a row."""

import dataclasses

import pytest

from latent_jax.analysis.thoughts.gain import gain_records, row_flops
from latent_jax.analysis.thoughts.interventions import OWN, TEXT
from tests.small_reasoner import CONFIG, THINKER, forward_flops


def test_a_row_costs_its_slots_and_segments_more():
    with_thoughts, without = row_flops(THINKER)
    costs = THINKER.row_costs()
    assert with_thoughts == pytest.approx(forward_flops(THINKER))
    head = 2.0 * CONFIG.model.d_model * CONFIG.model.vocab_size
    assert without == pytest.approx(costs["text"].forward + 26 * head)
    # A keys-and-values cache of its own is a reader of the text more.
    two = dataclasses.replace(CONFIG, trunks=2, change="copy", message="keys", cache="separate")
    assert row_flops(dataclasses.replace(THINKER, config=two))[1] == pytest.approx(without)


def test_the_gain_is_the_saving_over_the_flops():
    way = {
        "way": TEXT,
        "block": 0,
        "added_nats_per_token": 2.0,
        "added_nats_per_token_low": 1.0,
        "added_nats_per_token_high": 3.0,
    }
    ways = [{"way": OWN, "block": 0}, way, {**way, "block": 1}]
    (record,) = gain_records(THINKER, 0.5, ways)
    with_thoughts, without = row_flops(THINKER)
    million = (with_thoughts - without) / 1e6
    assert record["gain_nats_per_megaflop"] == pytest.approx(2.0 / million)
    assert record["gain_nats_per_megaflop_low"] == pytest.approx(1.0 / million)
    assert record["saved_nats_per_token_high"] == 3.0 and record["text_weight"] == 0.5
    assert gain_records(THINKER, 0.5, ways[:1]) == []
