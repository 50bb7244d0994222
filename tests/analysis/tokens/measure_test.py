"""The pictures of what tokens stand for."""

from latent_jax.analysis.tokens.measure import draw
from latent_jax.reports.tables import read_table
from tests.analysis.pictures import drawn

METHODS = ("Bytes", "EqualInfoAC[b=16,v=65536]")


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
    tables = {"tokens": records, "decoding": [], "windows": []}
    assert [path.name for path in draw(tables, tmp_path)] == names
    lengths = [
        {"method": METHODS[1], "piece_bytes": n, "n_ids": 9 - n, "n_tokens": 3 * n}
        for n in range(1, 9)
    ]
    written, *paths = draw({**tables, "vocabulary": lengths}, tmp_path)
    assert read_table(written) == lengths
    assert [path.name for path in paths] == [*names, "vocabulary.png"]
    for path in paths:
        drawn(path)
