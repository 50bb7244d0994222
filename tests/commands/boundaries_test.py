"""`launch/analyze.py boundaries` on models that were never trained, and what it refuses."""

import json
import pydoc_data.topics
import types

import jax
import pytest

from latent_jax.analysis.boundaries.measure import BoundariesOptions
from latent_jax.analysis.boundaries.noise import noised
from latent_jax.commands.analyze import analyze
from latent_jax.commands.boundaries import Texts
from latent_jax.commands.report_page import DRAWERS
from latent_jax.experiments.evaluate import score_corpus
from latent_jax.experiments.samples import write_samples
from latent_jax.models.gpt import GPTConfig
from latent_jax.reports.page.parts import CutText
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.tasks.language_modeling import LanguageModeling
from tests.analysis.pictures import drawn
from tests.commands.made_runs import made_run
from tests.small_hierarchy import SEPARATOR, T, make_config, variables_of

TOPICS = [topic.encode() for topic in pydoc_data.topics.topics.values()]
HELD_OUT = [TOPICS[0][:300], TOPICS[1][:400]]


@pytest.fixture(scope="module")
def runs():
    """A run that cuts at words, one that cuts where it likes, in two stages, and a plain one."""
    found = {}
    for name, words in {"words": {"router": "whitespace"}, "likes": {"stages": 2}}.items():
        config = make_config(**words)
        task = HierarchicalLanguageModeling(config, row_length=T, bytes_per_token=1.0)
        found[name] = made_run("HNet[n=3]", task, variables_of(config))
    config = GPTConfig(vocab_size=257, max_length=T, n_layers=1, d_model=8, n_heads=2)
    task = LanguageModeling(config, separator_id=256, row_length=T, bytes_per_token=1.0)
    batch = {"ids": jax.numpy.zeros((8, T), int)}
    found["plain"] = made_run("Bytes", task, jax.jit(task.init)(jax.random.key(0), batch))
    return found


@pytest.fixture
def opened(runs, monkeypatch, tmp_path):
    """The runs as if they lay in folders, with their text."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def documents(split, max_bytes=0):
        return Texts(HELD_OUT if split == "validation" else TOPICS[2:20]).split(split)

    corpus = types.SimpleNamespace(
        fingerprint="one", documents=documents, folder=tmp_path, split=documents
    )
    module = "latent_jax.commands.boundaries"
    monkeypatch.setattr(f"{module}.load_run", lambda workdir, checkpoint: runs[workdir])
    monkeypatch.setattr(f"{module}.text_of", lambda workdir: corpus)
    return corpus


def of_part(records, part, **words):
    own = [record for record in records if record["part"] == part]
    return [r for r in own if all(r.get(key) == value for key, value in words.items())]


def test_runs_are_measured_side_by_side(opened, runs, tmp_path, capsys):
    (tmp_path / "french.txt").write_text("L’été dernier, où l’on s'était égaré à Orléans. " * 8)
    options = BoundariesOptions(
        workdir=("words", "likes", "plain"),
        tokenizer=("BPE[v=300]",),
        text=(f"French={tmp_path / 'french.txt'}",),
        json=str(tmp_path / "boundaries.json"),
        out=str(tmp_path / "out"),
    )
    records = analyze("boundaries", options)["boundaries"]
    assert json.loads((tmp_path / "boundaries.json").read_text()) == records
    assert {record["text"] for record in records} == {"held-out", "French"}
    # The router of white space ends a chunk with the byte behind each word, and nowhere else.
    words = dict(run="words", text="held-out", reference="words")
    at, behind = of_part(records, "agreement", **words)
    assert behind["f1_share"] == 1 and behind["random_f1_share"] < 0.5 and at["f1_share"] < 0.2
    assert len(of_part(records, "agreement", run="likes", text="French")) == 2 * 2 * 2
    # Bytes per chunk are those of the run's own metrics, and so are bits per byte.
    for name in ("words", "likes"):
        metrics = score_corpus(runs[name], Texts(HELD_OUT), "validation")
        for chunks in of_part(records, "chunks", run=name, text="held-out"):
            for key in ("bytes_per_chunk", "overflow_share"):
                assert chunks[key] == pytest.approx(metrics[f"{key}_{chunks['stage']}"])
        plain, case, typos = of_part(records, "noise", run=name, text="held-out")
        assert plain["bits_per_byte"] == pytest.approx(metrics["bits_per_byte"])
        assert plain["n_noised_bytes"] == case["n_noised_bytes"] == sum(map(len, HELD_OUT))
        n_bytes = sum(map(len, noised(HELD_OUT, "typos, 5 %", 0)))
        assert typos["noise"] == "typos, 5 %" and typos["n_noised_bytes"] == n_bytes
    assert len(of_part(records, "noise", run="plain")) == 2 * 3
    assert not of_part(records, "chunks", run="plain")
    pairs = of_part(records, "pair")
    assert [(r["run"], r["other_run"], r["stage"]) for r in pairs] == 2 * [("words", "likes", 1)]
    seconds = of_part(records, "chunks", run="likes", stage=2, text="held-out")
    assert seconds[0]["bytes_per_chunk"] > 1
    printed = capsys.readouterr().out
    assert "French" in printed and "F1" in printed and "||" in printed
    for name in ("chunks", "agreement", "noise", "places"):
        drawn(tmp_path / "out" / f"boundaries_{name}.png")
    shown = next(filter(None, (draw("boundaries", records) for draw in DRAWERS)))
    assert isinstance(shown[0], CutText) and len(shown) == 4


def test_what_cannot_be_measured_is_refused(opened, runs, tmp_path, monkeypatch):
    def refused(said, **words):
        with pytest.raises(ValueError, match=said):
            analyze("boundaries", BoundariesOptions(**words))

    refused("say which runs to analyze: --workdir RUN")
    refused("names a run twice: words, words", workdir=("words", "words"))
    refused(
        r"no run cuts its text by itself: Bytes \(plain\)\. Name one of a .*HNet\[n=4\]",
        workdir=("plain",),
    )
    refused("--text held-out=.*name it otherwise", workdir=("words",), text=("held-out=a.txt",))
    refused("--shown=-1 is below 0", shown=-1)
    refused("--morphemes=none.txt cannot be read", workdir=("words",), morphemes="none.txt")
    problems = made_run("Thoughts[latent,k=3]", None, None)
    monkeypatch.setitem(runs, "problems", problems)
    refused("reads problems and no text: leave it out", workdir=("words", "problems"))
    other = types.SimpleNamespace(**{**vars(opened), "fingerprint": "another"})
    module = "latent_jax.commands.boundaries"
    corpora = {"words": opened, "likes": other}
    monkeypatch.setattr(f"{module}.text_of", corpora.get)
    refused("words and likes were trained on different texts", workdir=("words", "likes"))


def test_a_run_shows_what_it_cuts_while_it_trains(runs, tmp_path):
    run = runs["words"]
    ids = jax.numpy.asarray([[*b"An owl, or two ", SEPARATOR, *b"flew off"][:T]] * 8)
    batch = {"ids": ids, "weights": jax.numpy.ones((8, T)), "n_bytes": jax.numpy.full(8, T - 1)}
    write_samples(tmp_path, 3, run.task, run.variables, run.tokenizer, [batch])
    first, *others = (tmp_path / "step_0000003.txt").read_text().split("\n\n")
    assert (
        first == ("  text: An owl, or two ¶flew off\nchunks: An │owl,│ or │two │¶│flew │off")
        and len(others) == 3
    )
