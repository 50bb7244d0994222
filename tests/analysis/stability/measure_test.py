"""The pictures of stability."""

import itertools

import pytest

from latent_jax.analysis.stability.measure import StabilityOptions, draw
from latent_jax.reports.tables import read_table
from tests.analysis.pictures import drawn

METHODS = ("Bytes", "EqualInfoAC[b=16,v=65536]")


def bins(quantity, *edges):
    return [
        {"method": method, "quantity": quantity, "start": a, "stop": b, "share": 1 / len(edges)}
        for method in METHODS
        for a, b in itertools.pairwise(edges)
    ]


@pytest.mark.parametrize("with_pieces", [False, True])
def test_stability_is_drawn_with_and_without_pieces(tmp_path, with_pieces):
    shares = dict(same_text_probability=1.0, same_ids_probability=0.3)
    places = ("space", "piece") if with_pieces else ("space",)
    for place in places:
        for side in ("recall", "precision"):
            shares |= {f"{place}_{side}_share": 0.6, f"random_{place}_{side}_share": 0.3}
    records = [
        dict(method=method, prefix_distance_tokens=3.0, reaches_end_share=0.5, **shares)
        for method in METHODS
    ]
    histograms = [*bins("prefix_distance_tokens", 2, 3, 4), *bins("travel_bytes", 0, 1, 2, 4)]
    tables = {"stability": records, "histograms": histograms}
    written, *paths = draw(tables, tmp_path)
    assert read_table(written) == histograms
    assert [path.name for path in paths] == ["stability.png", "consistency.png"]
    heights = [drawn(path).shape[0] for path in paths]
    # A row of panels for each pair of shares.
    assert (heights[1] > 650) == with_pieces


def test_one_prefix_has_no_distance():
    with pytest.raises(ValueError, match="give at least 2 prefixes and 1 change"):
        StabilityOptions(prefixes=1)
