"""`launch/analyze.py robustness`: any run under noise, with intervals over documents."""

import gc
import json
import pydoc_data.topics
import types
import weakref

import jax
import numpy as np
import pytest

from latent_jax.analysis.boundaries.noise import NOISES, noised
from latent_jax.analysis.options import NoisedTextOptions
from latent_jax.analysis.robustness import (
    MOST_GROUPS,
    Scored,
    grouped,
    robustness_records,
)
from latent_jax.commands import robustness
from latent_jax.commands.analyze import analyze
from latent_jax.commands.boundaries import Texts
from latent_jax.commands.report_page import DRAWERS
from latent_jax.experiments.evaluate import score_corpus
from latent_jax.models.gpt import GPTConfig
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tokenizers import BPE
from tests.analysis.pictures import drawn
from tests.commands.made_runs import made_run
from tests.small_hierarchy import T, make_config, variables_of

TOPICS = [topic.encode() for topic in pydoc_data.topics.topics.values()]
HELD_OUT = [topic[:120] for topic in TOPICS[:5]]


def plain_run(method, tokenizer=None):
    n_ids = tokenizer.vocab_size if tokenizer else 257
    config = GPTConfig(vocab_size=n_ids, max_length=T, n_layers=1, d_model=8, n_heads=2)
    words = dict(separator_id=n_ids - 1, row_length=T, bytes_per_token=1.0)
    task = LanguageModeling(config, **words)
    batch = {"ids": jax.numpy.zeros((8, T), int)}
    return made_run(method, task, jax.jit(task.init)(jax.random.key(0), batch), tokenizer)


@pytest.fixture(scope="module")
def runs():
    """One that cuts, one of bytes, and one of subwords."""
    config = make_config()
    task = HierarchicalLanguageModeling(config, row_length=T, bytes_per_token=1.0)
    pieces = BPE.train(iter(TOPICS[5:20]), 300)
    return {
        "cuts": made_run("HNet[n=3]", task, variables_of(config)),
        "bytes": plain_run("Bytes"),
        "pieces": plain_run("BPE[v=300]", pieces),
    }


@pytest.fixture
def opened(runs, monkeypatch):
    """The runs as if they lay in folders, with their text."""
    corpus = types.SimpleNamespace(
        fingerprint="one", documents=lambda split, max_bytes=0: Texts(HELD_OUT).split(split)
    )
    monkeypatch.setattr(robustness, "load_run", lambda workdir, checkpoint: runs[workdir])
    monkeypatch.setattr(robustness, "read_config", lambda path: runs[path.name].config)
    monkeypatch.setattr(robustness, "text_of", lambda workdir: corpus)
    return corpus


def test_runs_of_all_kinds_read_the_same_noised_bytes(opened, runs, tmp_path, capsys):
    options = NoisedTextOptions(
        workdir=(*runs,), json=str(tmp_path / "noise.json"), out=str(tmp_path / "out"), seed=3
    )
    records = analyze("robustness", options)["robustness"]
    assert json.loads((tmp_path / "noise.json").read_text()) == records
    assert [(r["run"], r["noise"]) for r in records] == [(r, n) for r in runs for n in NOISES]
    for record in records:
        noise = record["noise"]
        assert record["n_noised_bytes"] == sum(map(len, noised(HELD_OUT, noise, 3)))
        assert record["n_documents"] == record["n_groups"] == len(HELD_OUT)
        assert record["bits_per_byte_low"] < record["bits_per_byte"] < record["bits_per_byte_high"]
    # The bits of all documents are those of each one, scored as a run's metrics are.
    for name, run in runs.items():
        for noise in NOISES:
            texts = noised(HELD_OUT, noise, 3)
            bits = sum(
                score_corpus(run, Texts([text]), "validation")["bits_per_byte"] * len(text)
                for text in texts
            )
            (own,) = (r for r in records if (r["run"], r["noise"]) == (name, noise))
            assert own["bits_per_byte"] == pytest.approx(bits / sum(map(len, texts)), rel=1e-5)
    printed = capsys.readouterr().out
    assert "BPE[v=300]" in printed and "typos, 5 %" in printed and "in 5 groups" in printed
    assert "±" in printed.splitlines()[3]
    drawn(tmp_path / "out" / "robustness_noise.png")
    assert any(draw("robustness", records) for draw in DRAWERS)


class Held(types.SimpleNamespace):
    """A run that can be referred to weakly."""


def test_one_run_is_in_memory_at_a_time(opened, runs, monkeypatch):
    found = []

    def load(workdir, checkpoint):
        gc.collect()
        assert not any(run() for run in found)
        run = Held(**vars(runs[workdir]))
        found.append(weakref.ref(run))
        return run

    monkeypatch.setattr(robustness, "load_run", load)
    bits = Scored(np.ones(2), np.ones(2, int))
    monkeypatch.setattr(robustness, "scored_noises", lambda *_: dict.fromkeys(NOISES, bits))
    assert len([*robustness.measured(NoisedTextOptions(workdir=(*runs,)))]) == len(found) == 3


def test_other_text_needs_no_text_of_the_runs(opened, monkeypatch, tmp_path, capsys):
    def away(workdir):
        raise AssertionError("the text of a run is not asked for")

    monkeypatch.setattr(robustness, "text_of", away)
    (tmp_path / "own.txt").write_text("Many owls, and one mouse. " * 4)
    options = NoisedTextOptions(workdir=("bytes",), text=(f"Owls={tmp_path / 'own.txt'}",))
    records = analyze("robustness", options)["robustness"]
    assert {record["text"] for record in records} == {"Owls"}
    assert "bits_per_byte_low" not in records[0]
    assert "One document has no interval" in capsys.readouterr().out


def test_what_cannot_be_measured_is_refused(opened, runs, monkeypatch):
    def refused(said, **words):
        with pytest.raises(ValueError, match=said):
            analyze("robustness", NoisedTextOptions(**words))

    refused("say which runs to analyze: --workdir RUN")
    refused("names a run twice: bytes, bytes", workdir=("bytes", "bytes"))
    refused("--max_bytes=-1 is below 0", max_bytes=-1)
    refused("--seed=-1 is below 0", seed=-1)
    monkeypatch.setitem(runs, "problems", made_run("Thoughts[latent,k=3]", None, None))
    refused("reads problems and no text: leave it out", workdir=("bytes", "problems"))
    other = types.SimpleNamespace(**{**vars(opened), "fingerprint": "another"})
    monkeypatch.setattr(robustness, "text_of", {"bytes": opened, "cuts": other}.get)
    refused("bytes and cuts were trained on different texts", workdir=("bytes", "cuts"))


def test_documents_are_grouped_by_their_bytes_in_order():
    texts = [b"a" * n for n in (1, 500, 3, *[10] * 300)]
    groups = grouped(texts)
    assert [text for group in groups for text in group] == texts
    assert MOST_GROUPS - 8 < len(groups) <= MOST_GROUPS
    sizes = [sum(map(len, group)) for group in groups]
    assert max(sizes) < 700 and sorted(sizes)[len(sizes) // 2] == pytest.approx(110, abs=20)
    assert grouped([b"one"]) == [[b"one"]]


def test_what_noise_adds_is_surer_than_the_bits_themselves():
    rng = np.random.default_rng(0)
    bytes_G = rng.integers(50, 150, 200)
    hard_G = rng.uniform(1.0, 5.0, 200)
    plain = Scored(hard_G * bytes_G, bytes_G)
    found = Scored((hard_G + 0.5 + rng.normal(0, 0.1, 200)) * bytes_G, bytes_G)
    _, record = robustness_records({"none": plain, "typos": found}, 200, 0)
    wide = record["bits_per_byte_high"] - record["bits_per_byte_low"]
    narrow = record["added_bits_per_byte_high"] - record["added_bits_per_byte_low"]
    assert narrow < wide / 5
    # Of a mean of 200 numbers with a deviation of 0.1, twice 1.96 errors.
    assert narrow == pytest.approx(2 * 1.96 * 0.1 / 200**0.5, rel=0.25)
    assert record["added_bits_per_byte"] == pytest.approx(0.5, abs=0.03)


def test_intervals_of_few_groups_hold_as_often_as_they_say():
    rng, n_groups, n_draws = np.random.default_rng(0), 5, 1000
    bytes_G, held = np.full(n_groups, 100), {"bits_per_byte": 0, "added_bits_per_byte": 0}
    for _ in range(n_draws):
        hard_G, noise_G = rng.normal(2, 0.3, n_groups), rng.normal(0.5, 0.1, n_groups)
        plain = Scored(hard_G * bytes_G, bytes_G)
        found = Scored((hard_G + noise_G) * bytes_G, bytes_G)
        _, record = robustness_records({"none": plain, "typos": found}, n_groups, 0)
        for (name, n), true in zip(held.items(), (2.5, 0.5), strict=True):
            held[name] = n + (record[f"{name}_low"] <= true <= record[f"{name}_high"])
    # Those of the normal distribution hold 878 times of 1000.
    assert all(n == pytest.approx(950, abs=25) for n in held.values()), held
