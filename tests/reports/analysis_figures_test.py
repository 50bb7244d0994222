"""The pictures of what tokens stand for and of stability."""

import itertools

import matplotlib.image
import pytest

from latent_jax.reports.stability_figures import write_stability_figures
from latent_jax.reports.token_figures import write_token_figures

METHODS = ("Bytes", "EqualInfoAC[b=16,v=65536]")


def bins(quantity, *edges):
    return [
        {"method": method, "quantity": quantity, "start": a, "stop": b, "share": 1 / len(edges)}
        for method in METHODS
        for a, b in itertools.pairwise(edges)
    ]


def drawn(path):
    """Return the picture, at least 600 pixels wide and not of one colour."""
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 600 and picture.std() > 0.01
    return picture


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
    paths = write_stability_figures(records, histograms, tmp_path)
    assert [path.name for path in paths] == ["stability.png", "consistency.png"]
    heights = [drawn(path).shape[0] for path in paths]
    # A row of panels for each pair of shares.
    assert (heights[1] > 650) == with_pieces


def test_maps_are_drawn_and_vocabularies_only_where_there_are_some(tmp_path):
    records = [
        {
            "method": method,
            "text_bits": 5.0,
            "text_given_id_bits": 2.0,
            "text_given_shuffled_id_bits": 4.0,
            "decoding_error_share@1": 0.9,
            "decoding_error_share@4": 0.5,
        }
        for method in METHODS
    ]
    names = ["ambiguity.png", "decoding.png"]
    assert [path.name for path in write_token_figures(records, [], tmp_path)] == names
    lengths = [
        {"method": METHODS[1], "piece_bytes": n, "n_ids": 9 - n, "n_tokens": 3 * n}
        for n in range(1, 9)
    ]
    paths = write_token_figures(records, lengths, tmp_path)
    assert [path.name for path in paths] == [*names, "vocabulary.png"]
    for path in paths:
        drawn(path)
