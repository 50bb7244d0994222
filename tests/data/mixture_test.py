"""Mixtures: shares of raw bytes, each held-out document once, and entries that make no mixture."""

import json
import pickle

import pytest

from latent_jax.data import CorpusError, DataConfig, open_corpus, train_batches
from latent_jax.tokenizers import Bytes


@pytest.fixture
def config(tmp_path):
    """A small corpus of short texts and a larger one of longer texts."""
    for name, n, size in (("small", 60, 20), ("large", 200, 50)):
        lines = [json.dumps({"id": f"{name}{i}", "text": name[0] * size}) for i in range(n)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    mixture = (f"a=3:{tmp_path}/small.jsonl", f"b=1:{tmp_path}/large.jsonl")
    words = dict(source="files", mixture=mixture, cache_dir=f"{tmp_path}/cache")
    return DataConfig(**words, validation_percent=20.0, test_percent=0.0)


def texts(documents):
    return [document.text.decode() for document in documents]


def test_an_epoch_has_the_shares_and_every_document_of_the_rarest(config):
    corpus = open_corpus(config)
    documents = list(corpus.documents("train"))
    n_bytes = {letter: sum(t.count(letter) for t in texts(documents)) for letter in "sl"}
    assert n_bytes["s"] / n_bytes["l"] == pytest.approx(3.0, rel=0.02)
    assert corpus.n_bytes["train"] == pytest.approx(sum(n_bytes.values()), rel=0.02)
    assert abs(len(documents) - corpus.n_documents["train"]) <= 2
    assert corpus.repeats[1] == 1.0 < corpus.repeats[0]
    keys = [d.key for d in documents if d.key.startswith("large")]
    assert len(keys) == len(set(keys)) == corpus.parts["b"].n_documents["train"]
    # Any stretch is a sample of the mixture, not one part after the other.
    start = "".join(texts(documents[: len(documents) // 5]))
    assert start.count("s") / start.count("l") == pytest.approx(3.0, rel=0.2)


def test_held_out_documents_stand_once(config):
    corpus = open_corpus(config)
    keys = [document.key for document in corpus.documents("validation")]
    expected = [d.key for part in corpus.parts.values() for d in part.documents("validation")]
    assert sorted(keys) == sorted(expected) and len(set(keys)) == len(keys) > 20
    assert corpus.n_documents["validation"] == len(keys)


def test_it_is_another_corpus_with_other_shares_and_the_same_with_the_same(config, tmp_path):
    corpus = open_corpus(config)
    assert open_corpus(config).fingerprint == corpus.fingerprint
    other = [text.replace("=3:", "=4:") for text in config.mixture]
    words = dict(source="files", mixture=other, cache_dir=config.cache_dir)
    changed = open_corpus(DataConfig(**words, validation_percent=20.0, test_percent=0.0))
    assert changed.fingerprint != corpus.fingerprint
    assert changed.parts["a"].fingerprint == corpus.parts["a"].fingerprint


def test_batches_are_those_of_the_mixture_and_it_can_be_sent_to_workers(config):
    corpus = open_corpus(config)
    records = pickle.loads(pickle.dumps(corpus.split("train")))
    assert [records[i] for i in range(5)] == [corpus.split("train")[i] for i in range(5)]
    with train_batches(corpus, Bytes(), batch_size=4, row_length=64, seed=0) as batches:
        ids = [next(batches)["ids"] for _ in range(40)]
    n_s, n_l = (sum((batch == ord(letter)).sum() for batch in ids) for letter in "sl")
    assert n_s / n_l == pytest.approx(3.0, rel=0.25)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (("wiki:0.7:x",), r"data\.mixture has 'wiki:0\.7:x': write NAME=SHARE:FILES"),
        (("wiki=0:x",), r"with a share from 1e-06 to 1e\+06"),
        (("wiki=1.2.3:x",), r"with a share from 1e-06 to 1e\+06"),
        (("wiki=nan:x",), "write NAME=SHARE:FILES"),
        (("a=1:{here}/small.jsonl", "a=2:{here}/large.jsonl"), "a name twice, a, a: name each"),
        (("a=1:{here}/none.jsonl",), "does not exist"),
    ],
)
def test_what_makes_no_mixture_is_refused(config, tmp_path, mixture, message):
    mixture = [text.replace("{here}", str(tmp_path)) for text in mixture]
    with pytest.raises(CorpusError, match=message):
        open_corpus(DataConfig(source="files", mixture=mixture, cache_dir=config.cache_dir))


def test_the_part_that_holds_no_text_is_named(config, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    words = dict(source="files", cache_dir=config.cache_dir)
    mixture = (config.mixture[0], f"novels=1:{tmp_path}/empty.jsonl")
    with pytest.raises(CorpusError, match=r"data\.mixture, part novels \(.*empty\.jsonl\): "):
        open_corpus(DataConfig(**words, mixture=mixture))


@pytest.mark.parametrize("share", ["1e-7", "1e308", "2e6"])
def test_a_share_beyond_reason_is_refused(config, share):
    mixture = (f"a={share}:{config.mixture[0].partition(':')[2]}", config.mixture[1])
    with pytest.raises(CorpusError, match=r"with a share from 1e-06 to 1e\+06, such as"):
        open_corpus(DataConfig(source="files", mixture=mixture, cache_dir=config.cache_dir))


def test_an_epoch_of_too_many_documents_is_refused(config):
    parts = [part.partition(":")[2] for part in config.mixture]
    mixture = (f"a=1e-6:{parts[0]}", f"b=1e6:{parts[1]}")
    with pytest.raises(CorpusError, match=r"reads b .* times in an epoch, .* give it a smaller"):
        open_corpus(DataConfig(source="files", mixture=mixture, cache_dir=config.cache_dir))


def test_a_mixture_names_its_own_files():
    with pytest.raises(CorpusError, match=r"set data\.source=files and leave data\.files empty"):
        DataConfig(source="files", files=("x",), mixture=("a=1:x",))
    with pytest.raises(CorpusError, match=r"set data\.source=files"):
        DataConfig(mixture=("a=1:x",))
