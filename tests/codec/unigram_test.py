"""Ids counted in stretches: the same counts as at once, however often the command is stopped."""

import json
import pydoc_data.topics

import numpy as np
import pytest

from latent_jax.codec import unigram
from latent_jax.codec.measure import MeasureOptions, measure, read_texts, whole_corpus
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import Bytes
from latent_jax.tokenizers.base import Tokenizer

NAMES = ("Bytes", "GZip[v=256]", "GZip[v=65k]", "AC[v=256]", "AC[v=4k]")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name, topic in list(pydoc_data.topics.topics.items())[:12]:
        (folder / f"{name.replace('/', '_')}.txt").write_text(topic)
    return folder


def count(text, folder, *names, **words):
    words = dict(counts=folder / "counts", max_bytes=20_000, cut_bytes=250) | words
    counts = words.pop("counts")
    return unigram.count_and_print(MeasureOptions(names=names, files=[str(text)], **words), counts)


def test_stretches_give_what_one_pass_gives_and_one_pass_serves_all_widths(
    text, tmp_path, monkeypatch
):
    passes = []
    monkeypatch.setattr(unigram, "TEXTS", 16)
    monkeypatch.setattr(unigram, "bytes_needed", lambda n_ids: 6_000)
    encode_batches = unigram.encode_batches
    monkeypatch.setattr(
        unigram, "encode_batches", lambda *a: passes.append(len(a[1])) or encode_batches(*a)
    )
    records = count(text, tmp_path, *NAMES, json_path=tmp_path / "all.json")
    assert [record["method"] for record in records] == [str(parse(name)) for name in NAMES]
    assert passes == [16, 16] and len(list((tmp_path / "counts").glob("*.json"))) == 4
    assert json.loads((tmp_path / "all.json").read_text()) == records
    byte, narrow, wide, ac, ac_wide = records
    # Methods without M1 read it all; those with it no more than their unigram needs.
    assert byte["n_bytes"] == narrow["n_bytes"] >= 20_000 > ac["n_bytes"] == ac_wide["n_bytes"]
    assert 6_000 <= ac["n_bytes"] < 6_000 + 16 * 250
    assert byte["uniform_bits_per_byte"] == 8.0 and byte["tokens_per_id"] == byte["n_bytes"] / 256
    assert byte["unigram_gain_bits_per_byte"] > 3
    assert "unigram_bits_per_byte" not in wide and "unigram_bits_per_byte" not in ac_wide
    assert byte["paper_uniform_bits_per_byte"] == 8.0 and "paper_unigram_bits_per_byte" not in wide
    # The same as counted at once, with the other command's code.
    corpus = whole_corpus([str(text)], "text")
    texts = read_texts(corpus, 20_000, 250)
    at_once = measure(make_tokenizer(parse("GZip[v=256]"), corpus), texts)
    for key in ("n_tokens", "bytes_per_token", "uniform_bits_per_byte", "unigram_bits_per_byte"):
        assert narrow[key] == pytest.approx(at_once[key])


def test_a_stopped_count_goes_on_where_it_stopped(text, tmp_path, monkeypatch):
    monkeypatch.setattr(unigram, "TEXTS", 16)
    # Two texts are encoded when a tokenizer is made; that is no part of the count.
    monkeypatch.setattr("latent_jax.methods.tokenizers.check_sample", lambda code: None)
    (whole,) = count(text, tmp_path / "whole", "Bytes")
    encode, calls = Bytes.encode_batch, []

    def stopping(self, texts):
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(Bytes, "encode_batch", stopping)
        with pytest.raises(KeyboardInterrupt):
            count(text, tmp_path / "stopped", "Bytes")
    (path,) = (tmp_path / "stopped" / "counts").glob("Bytes*.json")
    assert json.loads(path.read_text())["n_texts"] == 32
    counted = []
    with monkeypatch.context() as patch:
        patch.setattr(
            Bytes, "encode_batch", lambda self, t: counted.append(len(t)) or encode(self, t)
        )
        (again,) = count(text, tmp_path / "stopped", "Bytes")
    assert sum(counted) + 32 == len(read_texts(whole_corpus([str(text)], "text"), 20_000, 250))
    different = {key for key in whole if whole[key] != again[key]}
    assert different == {"count_seconds"}


def test_counts_of_another_text_are_refused(text, tmp_path):
    count(text, tmp_path, "Bytes")
    with pytest.raises(ValueError, match=r"holds counts of other text: choose another --counts"):
        count(text, tmp_path, "Bytes", cut_bytes=100)


def test_what_cannot_be_measured_is_a_dash_with_a_reason(text, tmp_path, capsys):
    count(text, tmp_path, "Bytes", "GZip[v=65k]")
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if line.startswith("GZip[v=65536]  ")]
    assert row.split()[-1] == "-"
    assert "GZip[v=65536] has no unigram: its 65,536 ids need 2.4 MB of text" in printed
    assert "Bytes has no unigram" not in printed


class Reversed(Tokenizer):
    """Ids of bytes with the separator first, as SentencePiece has it."""

    name, vocab_size, separator_id = "Reversed", 257, 0

    def fingerprint(self):
        return "reversed"

    def encode(self, text):
        return np.frombuffer(text, np.uint8).astype(np.int32) + 1

    def decode(self, ids):
        return bytes(np.asarray(ids) - 1)

    def byte_lengths(self, ids):
        return np.ones(np.shape(ids), np.int32)


def test_the_separator_is_no_id_wherever_it_stands():
    first, last = (measure(t, [b"what follows"] * 2_000) for t in (Reversed(), Bytes()))
    for key in ("uniform_bits_per_byte", "unigram_bits_per_byte", "used_ids_share", "n_ids"):
        assert first[key] == last[key]
    assert last["uniform_bits_per_byte"] == 8.0 and last["uniform_perplexity_per_token"] == 256
    bits = last["unigram_bits_per_byte"]
    assert last["unigram_perplexity_per_token"] == pytest.approx(2**bits)
