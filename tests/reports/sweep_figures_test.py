"""The pictures of a sweep: every uniform model is a dashed level, near or far."""

from latent_jax.reports.scores import Scores
from latent_jax.reports.style import colour_of
from latent_jax.reports.sweep_figures import (
    FAR,
    _scatter,
    around,
    size_figure,
    write_sweep_figures,
)
from tests.analysis.pictures import drawn
from tests.reports.sweep_report_test import PAPER, cell, paper_cells


def levels_of(axes):
    """Return colour and height of each dashed line across a panel."""
    lines = [line for line in axes.get_lines() if line.is_dashed()]
    assert all(set(line.get_xdata()) == {0, 1} for line in lines)
    return {(line.get_color(), line.get_ydata()[0]) for line in lines}


def expected(methods):
    return {(colour_of(method), PAPER[method][2]) for method in methods}


def test_every_method_has_its_uniform_level_and_far_ones_a_panel_of_their_own():
    figure = size_figure(Scores(paper_cells(n_seeds=1)))
    near, far = figure.axes
    assert levels_of(near) == expected(set(PAPER) - {"Bytes"})
    assert levels_of(far) == expected({"Bytes"})
    assert near.get_ylim()[1] < PAPER["Bytes"][2] < far.get_ylim()[1]
    assert far.get_ylim()[0] > FAR * max(small for small, *_ in PAPER.values())
    assert near.get_xlim() == far.get_xlim()
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "Bytes, uniform 8.00" in texts and "SentencePiece[v=32000] 1.01" in texts


def test_without_far_levels_there_is_one_panel():
    records = [cell("GZip[v=256]", "25m", 2.3, uniform=2.8)]
    (axes,) = size_figure(Scores(records)).axes
    assert levels_of(axes) == {(colour_of("GZip[v=256]"), 2.8)}
    assert axes.get_ylim()[1] > 2.8


def test_dots_of_tokens_of_8_bits_are_hollow():
    figure = size_figure(Scores(paper_cells(n_seeds=1)))
    inside = {
        line.get_markerfacecolor() == "white"
        for line in figure.axes[0].get_lines()
        if line.get_color() == colour_of("AC") and line.get_marker() == "o"
    }
    assert inside == {True, False}


def test_all_pictures_are_drawn(tmp_path):
    paths = write_sweep_figures(Scores(paper_cells(n_seeds=1)), tmp_path)
    assert [path.stem for path in paths] == [
        "bits_by_parameters",
        "bits_by_flops",
        "bits_by_bytes_per_step",
        "bits_by_window",
    ]
    for path in paths:
        drawn(path)


def test_costs_that_are_equal_are_not_drawn_apart():
    def axis(*costs):
        records = [
            cell(method, "25m", 1.0, inference_flops_per_byte=cost)
            for method, cost in zip(("Bytes", "GZip[v=256]"), costs, strict=True)
        ]
        scores = Scores(records)
        cost = lambda method, size: scores.mean(method, size, "inference_flops_per_byte")  # noqa: E731
        (axes,) = _scatter(scores, cost, "cost", "FLOPs", log=True).axes
        return axes

    axes = axis(9.995e5, 9.999e5)
    low, high = axes.get_xlim()
    assert axes.get_xscale() == "linear" and low < 0.85e6 and high > 1.15e6
    assert axes.xaxis.get_major_formatter()(1e6, 0) == "1M"
    assert axis(1e6, 3e6).get_xscale() == "log"
    assert around([]) is None and around([1e6, 2e6]) is None
