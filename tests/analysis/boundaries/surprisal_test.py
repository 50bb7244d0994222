"""Nats at chunk starts, elsewhere, and by place, by hand."""

import pytest

from latent_jax.analysis.boundaries.surprisal import N_PLACES, enrichment_record, place_records
from tests.analysis.boundaries.made_cuts import made


def test_starts_are_held_against_what_else_is_decided():
    seen = made("ab|cd|e", "f|g", nats=[[9, 1, 5, 2, 4], [9, 3]])
    record = enrichment_record(seen, seen.stages[0])
    assert (record["n_start"], record["n_elsewhere"], record["n_all"]) == (3, 2, 5)
    assert record["start_nats"] == pytest.approx((5 + 4 + 3) / 3)
    assert record["elsewhere_nats"] == pytest.approx((1 + 2) / 2)
    assert record["all_nats"] == 3
    assert record["enrichment_ratio"] == pytest.approx(4 / 3)
    # Rows of 9 and 3 nats on 2 and 1 starts miss the mean, 4, by 1 each: sqrt(2 x 2 / 1) / 3.
    assert record["start_standard_error_nats"] == pytest.approx(2 / 3)
    assert record["elsewhere_standard_error_nats"] is None, "of a single row"


def test_places_count_from_the_boundary():
    seen = made("ab|cd|e", "f|g", nats=[[9, 1, 5, 2, 4], [9, 3]])
    found = {r["place"]: r for r in place_records(seen, seen.stages[0])}
    assert found[1]["place_nats"] == 4 and found[1]["n_ids"] == 3
    assert found[2]["place_nats"] == 2 and list(found) == [1, 2]
    long = made("a|" + 20 * "b", nats=[[9, *range(20)]])
    found = place_records(long, long.stages[0])
    assert len(found) == N_PLACES and found[-1]["is_this_and_later"]
    assert found[-1]["place_nats"] == pytest.approx((N_PLACES - 1 + 19) / 2)
    none = made("abc")
    assert place_records(none, none.stages[0]) == []
    assert enrichment_record(none, none.stages[0])["enrichment_ratio"] is None
