import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.text import Text

from latent_jax.reports import RunFolderError, read_run, write_comparison, write_curves
from latent_jax.reports.comparison import _comparison_figure
from latent_jax.reports.curves import _latent_figure, _single_figure
from latent_jax.reports.style import house_style


def texts(axes):
    return [text.get_text() for text in axes.texts]


def draw(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def assert_inside(figure):
    """Every text must lie within the picture."""
    renderer = draw(figure)
    width, height = figure.get_size_inches() * figure.dpi
    for text in [*figure.texts, *(t for axes in figure.axes for t in axes.texts)]:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0 and box.x1 <= width, text.get_text()
        assert box.y0 >= 0 and box.y1 <= height, text.get_text()


def test_a_language_model_gets_one_panel_with_its_last_values(make_run):
    run = read_run(make_run(steps=11))
    with house_style():
        figure = _single_figure(run)
        assert_inside(figure)
    (axes,) = figure.axes
    assert sorted(texts(axes)) == ["training 3.05", "validation 3.05"]
    assert axes.get_xlabel() == "text read in training, kB"
    np.testing.assert_allclose(axes.get_lines()[-1].get_xdata(), np.arange(0, 110, 10))


def test_a_run_that_counts_no_text_is_drawn_over_what_it_counts(make_run, tmp_path):
    run = read_run(make_run(steps=11, unit="answers"))
    assert run.unit == "answers"
    with house_style():
        figure = _single_figure(run)
        assert_inside(figure)
    (axes,) = figure.axes
    assert sorted(texts(axes)) == ["training 3.05", "validation 3.05"]
    assert axes.get_xlabel() == "seen in training, answers"
    assert "100 steps, 100,000 answers" in figure.texts[1].get_text()
    folders = [run.folder, make_run("text")]
    with pytest.raises(ValueError, match="runs that count answers and bytes share no axis"):
        write_comparison(folders, tmp_path / "both.png")


def test_a_latent_run_gets_its_parts_and_its_codebook(make_run, latent_metrics):
    run = read_run(make_run(method="Latent[conv1d,c=2,k=512]", metrics=latent_metrics))
    with house_style():
        figure = _latent_figure(run)
        assert_inside(figure)
    code_length, parts, restored, codebook = map(texts, figure.axes)
    assert sorted(code_length) == ["training 3.12", "validation 3.12"]
    assert parts == [
        "reconstruction 0.50",
        "LM over codes 2.50",
        "sum 3.12",
        "unigram 3.50",
        "uniform 4.50",
    ]
    assert sorted(restored) == ["training 95.0 %", "validation 95.0 %"]
    assert codebook == ["perplexity 128", "used 256", "codebook size 512"]
    dashed = figure.axes[3].get_lines()[-1]
    assert set(dashed.get_ydata()) == {512}


def test_the_comparison_shows_full_code_lengths_over_raw_bytes(make_run, latent_metrics):
    runs = [
        read_run(make_run("latent", "Latent[conv1d,c=2,k=512]", metrics=latent_metrics)),
        read_run(make_run("bpe", "BPE[v=1024]", steps=3)),
    ]
    with house_style():
        figure = _comparison_figure(runs)
        assert_inside(figure)
    curves, bars = figure.axes
    assert sorted(texts(curves)) == ["BPE[v=1024]", "Latent[conv1d,c=2,k=512]"]
    np.testing.assert_allclose(curves.get_lines()[0].get_ydata()[-1], 3.0 + 5 / 41)
    np.testing.assert_allclose(curves.get_lines()[1].get_xdata()[-1], 20.0)
    assert "= 2.50 LM + 0.50 reconstruction" in texts(bars)
    widths = [patch.get_width() for patch in bars.patches]
    np.testing.assert_allclose(widths, [2.5, 0.5, 3.0 + 5 / 21])


def test_sixteen_runs_keep_apart(make_run):
    runs = [read_run(make_run(f"run{i}", f"Latent[sequence_linear,c={i}]")) for i in range(16)]
    with house_style():
        figure = _comparison_figure(runs)
        assert_inside(figure)
        renderer = draw(figure)
        # Text's own method: that of an annotation counts its leader line in.
        boxes = [Text.get_window_extent(text, renderer) for text in figure.axes[0].texts]
        looks = {(str(line.get_color()), str(line._dash_pattern)) for line in figure.axes[0].lines}
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert len(looks) == 16


@pytest.mark.parametrize("latent", [False, True])
def test_writes_a_picture_even_after_the_first_evaluation(make_run, latent_metrics, latent):
    run = make_run(steps=1, metrics=latent_metrics if latent else None)
    path = write_curves(run)
    assert path == run / "curves.png"
    assert imread(path).shape == ((1520, 2320, 4) if latent else (860, 1520, 4))


def test_writes_the_comparison(make_run, tmp_path):
    path = write_comparison([make_run("a"), make_run("b")], tmp_path / "pictures" / "both.png")
    assert imread(path).std() > 0.01


def test_drawing_changes_no_global_setting(make_run):
    before = dict(matplotlib.rcParams)
    write_curves(make_run())
    assert dict(matplotlib.rcParams) == before


def test_nothing_to_draw_is_said(make_run, tmp_path):
    run = make_run()
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(RunFolderError, match="no validation record yet"):
        write_curves(run)
    assert not (run / "curves.png").exists()
    with pytest.raises(ValueError, match="at least one run folder"):
        write_comparison([], tmp_path / "both.png")
