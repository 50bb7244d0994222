import json
import math

import numpy as np
import pytest
from matplotlib.image import imread

from latent_jax.reports.command import report
from latent_jax.reports.per_character import (
    PANELS,
    _figure,
    character_records,
    last_records,
    write_per_character,
)
from latent_jax.reports.style import house_style
from tests.reports.curves_test import assert_inside, texts

LN2 = math.log(2)


@pytest.fixture
def folders(make_run, latent_metrics):
    latent_metrics |= dict(bytes_per_latent=1.9998, language_model_nats_per_byte=2.5 * LN2)
    bpe = dict(bits_per_byte=2.0, nats_per_token=4.8, bytes_per_token=2.4)
    return [
        make_run("bpe", "BPE[v=1024]", metrics=bpe, name="BPE model"),
        make_run("latent", "Latent[conv1d,c=2,k=512]", metrics=latent_metrics, name="latent one"),
    ]


def test_each_evaluation_has_both_measures(folders):
    records = character_records(folders)
    assert [(r["name"], r["split"]) for r in records[::5]] == [
        (name, split) for name in ("BPE model", "latent one") for split in ("train", "validation")
    ]
    assert [r["step"] for r in records[:5]] == [0, 10, 20, 30, 40]
    bpe, latent = last_records(records)
    assert bpe["characters"] == 4 and latent["characters"] == 2
    assert bpe["blog_nats_per_character"] == pytest.approx(4.8 / 4)
    assert bpe["nats_per_byte"] == pytest.approx((2.0 + 5 / 41) * LN2)
    # A code's nats, divided by C, are those per byte without the separators.
    assert latent["blog_nats_per_character"] == pytest.approx(2.5 * LN2 * 1.9998 / 2)
    assert latent["nats_per_byte"] == pytest.approx((3.0 + 5 / 41) * LN2)
    assert latent["blog_nats_per_character"] < latent["nats_per_byte"]


def test_the_picture_has_both_panels_on_one_scale(folders):
    with house_style():
        figure = _figure(character_records(folders))
        assert_inside(figure)
    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == list(PANELS.values())
    assert left.get_ylim() == right.get_ylim()
    assert sorted(texts(left)) == ["BPE model\n1.20", "latent one\n1.73"]
    bpe, latent = sorted(texts(right))
    assert bpe == "BPE model\n1.47 nats = 2.12 bits\n2.40 bytes per token"
    assert latent.startswith("latent one\n2.16 nats = 3.12 bits\n0.43 nats reconstruction")
    (shade,) = right.collections
    heights = shade.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(2.5 * LN2)
    assert heights.max() == right.lines[3].get_ydata()[0]
    np.testing.assert_allclose(left.lines[0].get_ydata(), 1.2)


def test_the_command_writes_records_and_the_picture(folders, tmp_path, capsys):
    path = tmp_path / "curves.json"
    report([str(folder) for folder in folders], per_character=str(path))
    printed = capsys.readouterr().out
    assert "divided" in printed and "per_character.png" in printed
    records = json.loads(path.read_text())
    assert records == character_records(folders)
    picture = folders[0] / "per_character.png"
    assert imread(picture).std() > 0.01
    # The records alone make the same picture again.
    again = write_per_character(records, tmp_path / "again.png")
    assert again.read_bytes() == picture.read_bytes()


def test_what_cannot_be_compared_is_refused(make_run, folders, tmp_path):
    other = make_run("ac", "AC[v=256]")
    with pytest.raises(ValueError, match=r"AC\[v=256\] is neither a latent language nor one of"):
        character_records([other])
    twice = character_records([folders[0], folders[0]])
    with pytest.raises(ValueError, match="two runs are called 'BPE model'"):
        write_per_character(twice, tmp_path / "two.png")
    with pytest.raises(ValueError, match="no run to compare"):
        write_per_character([], tmp_path / "none.png")
    with pytest.raises(ValueError, match="name their folder"):
        report([], readme="README.md", per_character="x.json")
