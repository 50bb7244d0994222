"""Verdicts on thoughts, from cells whose answers are known."""

import pytest

from configs.sweeps.reasoning import ARMS
from latent_jax.methods.cells import setting_of
from latent_jax.reports import thought_claims
from latent_jax.reports.paired import Effect
from latent_jax.reports.sweep_report import sweep_tables
from latent_jax.reports.thought_claims import (
    THOUGHT_CLAIMS,
    row_flops,
    thought_table,
    thought_verdicts,
)
from latent_jax.reports.trial import REFUTED, SUPPORTED, UNDECIDED, UNTRIED

SEEDS = (0, 1, 2)


def cells(nats, use, seeds=SEEDS):
    """Return a record for each arm and seed; `nats` and `use` map arm -> value."""
    records = []
    for arm in ARMS.values():
        for seed in seeds:
            way = "without" if "none" in arm["method"] else "with"
            records.append(
                {
                    **setting_of(arm),
                    "method": arm["method"],
                    "size": "100k",
                    "seed": seed,
                    "budget": "flops:1e12",
                    "train_flops": 1e12,
                    "n_parameters": 57_000,
                    "n_embedding_parameters": 12_000,
                    "bits_per_byte": 1.0,
                    "problems_seen": 1_000,
                    "bytes_seen": 10_000,
                    f"result_nats_per_token_{way}": nats(arm) + 0.001 * seed,
                    **({"use_nats_per_token": use(arm) + 0.001 * seed} if way == "with" else {}),
                }
            )
    return records


def is_helped(arm):
    return bool({"curriculum", "named", "decoder", "aligned"} & set(arm))


def as_the_post_says(arm):
    if not is_helped(arm):
        return 2.3
    return 0.3 + (0.5 if "k=1" in arm["method"] else 0) + 100 / arm.get("problems", 100_000)


def verdicts(records):
    return {row["claim"]: row["verdict"] for row in thought_verdicts(records)}


def test_a_world_as_the_post_says_supports_its_claims():
    found = verdicts(cells(as_the_post_says, lambda arm: 5.0 * is_helped(arm)))
    assert found == {
        claim: UNDECIDED if "Compute at breakpoints" in claim else SUPPORTED
        for claim, *_ in THOUGHT_CLAIMS
    }


def test_the_opposite_world_refutes_them():
    worse = {"pause": 2.0, "filler": 2.9, "none": 2.5, "written": 2.5}

    def nats(arm):
        slots = arm["method"].partition("[")[2].split(",")[0].rstrip("]")
        if slots in worse:
            return worse[slots]
        return 5.0 - as_the_post_says(arm) + 0.7 * ("iterations" in arm)

    found = verdicts(cells(nats, lambda arm: 0.3 - 5.0 * is_helped(arm)))
    assert set(found.values()) == {REFUTED}


def test_nothing_counts_only_where_thoughts_with_help_are_used():
    nobody = verdicts(cells(lambda arm: 2.3, lambda arm: 0.0))
    nothing = [claim for claim, *_ in THOUGHT_CLAIMS if "ignored" in claim or "pauses are" in claim]
    assert [nobody[claim] for claim in nothing] == [UNTRIED] * 2
    some = verdicts(cells(lambda arm: 2.3, lambda arm: 1.0 * is_helped(arm)))
    assert [some[claim] for claim in nothing] == [SUPPORTED] * 2


def test_one_seed_decides_nothing_and_no_arm_tries_nothing():
    one = verdicts(cells(as_the_post_says, lambda arm: 0.0, seeds=(0,)))
    assert set(one.values()) == {UNDECIDED}
    only_pauses = [r for r in cells(as_the_post_says, lambda arm: 0.0) if "pause" in r["method"]]
    assert set(verdicts(only_pauses).values()) == {UNTRIED}


@pytest.mark.parametrize(
    ("differences", "is_within"),
    [
        ((0.01, 0.011, 0.009), True),
        ((-0.01, -0.011, -0.009), True),
        ((0.2, 0.201, 0.199), False),
        ((-0.2, -0.201, -0.199), False),
        ((0.2, -0.2, 0.1), None),
        ((0.01,), None),
    ],
)
def test_an_effect_is_none_where_its_whole_interval_is_small(differences, is_within):
    assert Effect(differences).is_within(0.05) is is_within


def test_the_table_has_what_thoughts_save_and_what_they_are_used_for():
    records = cells(as_the_post_says, lambda arm: 5.0 * is_helped(arm))
    rows = {row["method"]: row for row in thought_table(records)}
    assert len(rows) == len(ARMS)
    assert "saved_nats" not in rows["Thoughts[none]"]
    helped = rows["Thoughts[latent,k=3], curriculum=0.8"]
    assert helped["saved_nats"] == pytest.approx(2.3 - 0.301)
    assert helped["saved_nats_half_width"] == pytest.approx(0, abs=1e-9)
    assert helped["use_nats_per_token"] == pytest.approx(5.001)
    assert "lost_right_share" not in helped and "gain_nats_per_megaflop" not in helped
    assert sweep_tables(records)["thoughts"] == list(rows.values())
    assert "isoflop" not in sweep_tables(records)


def test_the_gain_is_of_the_flops_that_a_row_costs_more():
    records = cells(as_the_post_says, lambda arm: 5.0 * is_helped(arm))
    for record in records:
        is_bare = "none" in record["method"]
        # Rows of 40 positions, 10 bytes; a step decoder is there in training only.
        ledger = {"bytes_per_token": 0.25, "row_length": 40, "decoder_flops_per_byte": 7e6}
        more = 0.0 if is_bare else 4e5
        record |= {**ledger, "inference_flops_per_byte": 7e6 + 1e6 + more}
        record["lost_right_share"] = 0.0 if is_bare else 0.9 + 0.001 * record["seed"]
    assert row_flops(records[0]) == pytest.approx(1.4e7)
    rows = {row["method"]: row for row in thought_table(records)}
    helped = rows["Thoughts[latent,k=3], curriculum=0.8"]
    assert helped["gain_nats_per_megaflop"] == pytest.approx((2.3 - 0.301) / 4)
    assert helped["gain_half_width"] == pytest.approx(0, abs=1e-9)
    assert "gain_nats_per_megaflop" not in rows["Thoughts[none]"]
    assert helped["lost_right_share"] == pytest.approx(0.901)
    assert 0 < helped["lost_right_share_half_width"] < 0.01


def test_every_arm_that_a_claim_names_is_one_of_the_sweep(monkeypatch):
    asked, find = [], thought_claims._arm

    def noted(records, slots, **settings):
        asked.append((slots, settings))
        return find(records, slots, **settings)

    monkeypatch.setattr(thought_claims, "_arm", noted)
    thought_verdicts(cells(as_the_post_says, lambda arm: 0.0))
    made = [
        (arm["method"], {key: arm[key] for key in arm if key != "method"}) for arm in ARMS.values()
    ]
    assert len(asked) > len(THOUGHT_CLAIMS)
    assert [one for one in asked if (f"Thoughts[{one[0]}]", one[1]) not in made] == []
