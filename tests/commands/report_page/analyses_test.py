"""Records of analyses on a page."""

import json

import pytest

from latent_jax.commands.report_page import DRAWERS
from latent_jax.reports.page.analyses import analysis_sections
from latent_jax.reports.page.parts import Figure, Table


@pytest.mark.parametrize(
    ("records", "n_figures"),
    [
        ([dict(method="A", n=n, held_out_bits_per_byte=3 / n) for n in (1, 2)], 1),
        ([dict(method="A", text=t, n=1, held_out_bits_per_byte=3.0) for t in "xy"], 2),
        ([dict(method=m, best_bits_per_byte=2.0) for m in "AB"], 1),
        # What was counted on another amount of text, or has no such number, is no bar beside them.
        ([dict(method="A", best_bits_per_byte=2.0, train_bytes=n) for n in (1e6, 5e6)], 2),
        ([dict(method="A", text="x", best_bits_per_byte=2.0), dict(method="P", text="y", n=4)], 1),
        (
            [
                dict(method=m, quantity=q, start=i, stop=i + 1, share=0.5)
                for m in "AB"
                for q in ("prefix_distance_tokens", "travel_bytes")
                for i in range(2)
            ],
            2,
        ),
        ([dict(method=m, prefix_distance_share=0.5, reaches_end_share=1.0) for m in "AB"], 2),
        ([dict(method=m, piece_bytes=i, n_tokens=3) for m in "AB" for i in (1, 2)], 1),
        ([{"method": "A", "decoding_error_share@1": 0.5, "decoding_error_share@4": 0.1}], 1),
        ([dict(method="A", window_position=i, shared_window_bytes=1.0 / i) for i in (1, 2)], 1),
        ([dict(something="else", value=1.0)], 0),
    ],
)
def test_analyses_are_drawn_by_what_their_records_hold(tmp_path, records, n_figures):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(records))
    (section,) = analysis_sections([path], DRAWERS)
    figures = [part for part in section.parts if isinstance(part, Figure)]
    (table,) = (part for part in section.parts if isinstance(part, Table))
    assert len(figures) == n_figures and list(table.records) == records
    assert len({part.id for part in section.parts}) == len(section.parts)
    assert analysis_sections([], DRAWERS) == []


def test_runs_of_one_method_have_bars_of_their_own(tmp_path):
    path, words = tmp_path / "measured.json", {"method": "Latent[ssm,c=4,k=9]", "beta": 0.1}
    rows = [
        {**words, "run": f"runs/{gradient}", "seed": 1, "lm_gradient": gradient}
        | {"best_bits_per_byte": bits}
        for gradient, bits in (("input", 2.0), ("none", 2.5))
    ]
    rows += [{"method": "Bytes", "best_bits_per_byte": 2.2}]
    path.write_text(json.dumps(rows))
    (section,) = analysis_sections([path], DRAWERS)
    (figure,) = (part for part in section.parts if isinstance(part, Figure))
    assert [row["method"] for row in figure.records] == [
        "ssm C=4, beta 0.1, input, seed 1",
        "Bytes",
        "ssm C=4, beta 0.1, none, seed 1",
    ]
