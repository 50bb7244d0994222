"""Records, the picture, and what is refused."""

from types import SimpleNamespace

import jax
import pytest

from latent_jax.analysis.choices.measure import ChoicesOptions, draw, measure, show, summarize
from latent_jax.analysis.choices.readings import READINGS
from latent_jax.tasks.latent_language import LatentLanguage
from latent_jax.tokenizers import Bytes
from tests.analysis.pictures import drawn
from tests.latent_fixtures import T, make_batch, make_config


@pytest.fixture(scope="module")
def run():
    task = LatentLanguage(make_config(), row_length=T)
    variables = jax.jit(task.init)(jax.random.key(0), make_batch())
    config = SimpleNamespace(row_length=T, method="Latent[conv1d,c=2,k=16]")
    return SimpleNamespace(config=config, tokenizer=Bytes(), task=task, variables=variables)


TEXTS = {"held out": [b"a lambda is a function " * 5], "training": [b"def f(x): return x\n" * 7]}


def test_every_reading_of_every_split_is_a_record(run, tmp_path):
    options = ChoicesOptions(places=3, decoder_steps=2)
    tables = measure(options, run, TEXTS)
    found = [(record["split"], record["reading"]) for record in tables["choices"]]
    assert found == [(split, reading) for split in TEXTS for reading in READINGS]
    assert all(record["choice_nats_per_byte"] >= 0 for record in tables["choices"])
    named = {name: [{"name": "a run", **r} for r in rows] for name, rows in tables.items()}
    printed = show(named)
    assert "every code is a choice; all bytes" in printed and "needed for" in printed
    (path,) = draw(named, tmp_path)
    drawn(path)
    # Text that the run has not read keeps its name.
    texts = {"held out": TEXTS["held out"], "other text": TEXTS["training"]}
    other = measure(options, run, texts)["choices"]
    assert [r["split"] for r in other if r["split"] != "held out"] == ["other text"] * len(READINGS)
    same = [
        {**record, "split": record["split"].replace("other text", "training")} for record in other
    ]
    assert same == tables["choices"]
    without = measure(ChoicesOptions(places=3), run, TEXTS)["choices"]
    assert "all, trained" not in {record["reading"] for record in without}


SUMS = {
    "accuracy": (30.0, 100.0),
    "own codes": (1.0, 100.0),
    "one": (350.0, 100.0),
    "one, right": (2.0, 100.0),
    "one, wrong": (500.0, 100.0),
    "one, whole row": (20.0, 100.0),
}


def test_the_needed_accuracy_gives_the_blogs_number():
    found = {record["reading"]: record for record in summarize(SUMS, T)}
    assert set(found) == set(SUMS) - {"accuracy"}
    assert {record["language_model_accuracy"] for record in found.values()} == {0.3}
    right, wrong = (found[f"one, {kind}"]["choice_nats_per_byte"] for kind in ("right", "wrong"))
    assert (right, wrong) == (0.02, 5.0)
    share = found["one"]["needed_accuracy"]
    assert share * right + (1 - share) * wrong == pytest.approx(0.07)
    # One code made the T bytes of a row dearer by 0.19 nats each.
    assert found["one, whole row"]["added_nats_per_code"] == pytest.approx(0.19 * T)
    dear = summarize({**SUMS, "one, right": (20.0, 100.0)}, T)
    assert {r["reading"]: r for r in dear}["one"]["needed_accuracy"] is None


def test_what_cannot_be_measured_is_refused(run):
    with pytest.raises(ValueError, match=f"fills no row of {T} bytes"):
        measure(ChoicesOptions(), run, {"held out": [b"short"], "training": [b"a" * 99]})
    other = SimpleNamespace(**{**vars(run), "task": object()})
    with pytest.raises(ValueError, match="no learned codes"):
        measure(ChoicesOptions(), other, TEXTS)
