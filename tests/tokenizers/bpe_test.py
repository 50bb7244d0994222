"""BPE: the same ids as Hugging Face's own pipeline, GPT-2's files, and what training promises."""

import json

import numpy as np
import pytest
import tokenizers as hf
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers import BPE
from latent_jax.tokenizers import bpe as bpe_module

WORDS = [
    "a",
    "The",
    "the",
    "word",
    "'s",
    "'ll",
    "'",
    "1",
    "23",
    ".",
    "--",
    "_",
    "é",
    "中文",
    "\u0301",
]
SPACES = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "\0",
    "\x0b",
    "\x1c",
    "\x85",
    "\u00a0",
    "\u3000",
    "\u200b",
]
MIXED = st.one_of(st.text(), st.lists(st.sampled_from(WORDS + SPACES), max_size=40).map("".join))


@pytest.fixture(scope="module")
def folder(bpe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe") / "saved"
    bpe.save(folder)
    return folder


def hugging_face(folder, **words) -> hf.Tokenizer:
    model = hf.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    pipeline = hf.Tokenizer(model)
    pipeline.pre_tokenizer = hf.pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **words})
    return pipeline


@pytest.fixture(scope="module")
def reference(folder):
    return hugging_face(folder)


@given(text=MIXED)
def test_ids_are_those_of_the_whole_pipeline(bpe, reference, text):
    assert bpe.encode(text.encode()).tolist() == reference.encode(text).ids


def test_ids_of_real_text_are_those_of_the_whole_pipeline(bpe, reference, folder, corpus):
    ids = [bpe.encode(text).tolist() for text in corpus]
    assert ids == [reference.encode(text.decode()).ids for text in corpus]
    # The comparison can fail: other pre-tokenisers give other ids.
    for words in ({"add_prefix_space": True}, {"use_regex": False}):
        other = hugging_face(folder, **words)
        assert ids != [other.encode(text.decode()).ids for text in corpus]


def test_cache_does_not_change_ids(bpe, corpus, monkeypatch):
    text = corpus[0]
    ids = bpe.encode(text).tolist()
    assert bpe._cache
    monkeypatch.setattr(bpe_module, "_CACHED_WORDS", 3)
    monkeypatch.setattr(bpe, "_cache", {})
    assert bpe.encode(text).tolist() == bpe.encode(text).tolist() == ids
    assert 0 < len(bpe._cache) <= 3


def test_broken_bytes_are_spelled_and_split_the_text(bpe):
    byte_id = [int(bpe.encode(bytes([b]))[0]) for b in range(256)]
    assert sorted(bpe.decode([i]) for i in byte_id) == [bytes([b]) for b in range(256)]
    parts = [bpe.encode(b"the caf"), [byte_id[0xC3]], bpe.encode(b" the "), [byte_id[0xFF]]]
    assert bpe.encode(b"the caf\xc3 the \xff").tolist() == np.concatenate(parts).tolist()
    # Half of a character must not be merged with what it is merged with in whole ones.
    assert bpe.encode(b"\xe2\x80").tolist() == [byte_id[0xE2], byte_id[0x80]]


def test_separator_spelled_in_the_text_is_text(bpe):
    ids = bpe.encode(b"<|endoftext|>")
    assert bpe.separator_id == bpe.vocab_size - 1 not in ids
    assert ids.size > 1 and bpe.decode(ids) == b"<|endoftext|>"


def test_bytes_have_the_ids_that_they_have_in_gpt2(bpe):
    known = {
        b"!": 0,
        b"A": 32,
        b"~": 93,
        b"\xa1": 94,
        b"\xff": 187,
        b"\0": 188,
        b"\n": 198,
        b" ": 220,
    }
    assert {bpe.pieces[i]: i for i in known.values()} == known
    assert set(bpe_module._ALPHABET) == set(hf.pre_tokenizers.ByteLevel.alphabet())


def test_from_files_reads_what_save_wrote(bpe, folder, tmp_path):
    read = BPE.from_files(folder / "vocab.json", folder / "merges.txt")
    assert read.fingerprint() == bpe.fingerprint()
    # Other layouts of the same vocabulary are the same vocabulary.
    vocab = json.loads((folder / "vocab.json").read_text())
    scattered = dict(sorted(vocab.items()))
    (tmp_path / "v.json").write_text(json.dumps(scattered, ensure_ascii=False, indent=1), "utf-8")
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")[1:]
    (tmp_path / "m.txt").write_bytes("\r\n".join(lines).encode())
    read = BPE.from_files(tmp_path / "v.json", tmp_path / "m.txt")
    assert read.fingerprint() == bpe.fingerprint()


def test_merges_may_begin_with_a_hash(tmp_path):
    hashes = BPE.train([b"## ## ## ####"], 259)
    hashes.save(tmp_path / "t")
    assert (tmp_path / "t" / "merges.txt").read_text().startswith("#version: 0.2\n# #\n")
    assert BPE.load(tmp_path / "t").encode(b"##").size == 1
    # Without the version line too.
    merges = tmp_path / "merges.txt"
    merges.write_text((tmp_path / "t" / "merges.txt").read_text().split("\n", 1)[1])
    assert BPE.from_files(tmp_path / "t" / "vocab.json", merges).encode(b"##").size == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, m: v.pop("<|endoftext|>"), "has no <|endoftext|>"),
        (lambda v, m: v.update({"!": 1}), "ids of the 600 tokens are not 0 to 599"),
        (lambda v, m: v.update({"!!!!!": v.pop("Ā")}), "lacks 1 single bytes, such as 'Ā'"),
        (lambda v, m: v.update({"a b": 600}), "'a b' is not spelled in GPT-2's byte alphabet"),
        (lambda v, m: m.append("Z Q"), "'Z' 'Q' uses a token not in the vocabulary"),
        (lambda v, m: m.append("Z"), "'Z' is not a pair"),
        (lambda v, m: m.append("<|endoftext|> a"), "<|endoftext|>' 'a'"),
    ],
)
def test_files_that_are_no_vocabulary_are_refused(folder, tmp_path, change, message):
    vocab = json.loads((folder / "vocab.json").read_text())
    merges = (folder / "merges.txt").read_text("utf-8").strip().split("\n")
    change(vocab, merges)
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("\n".join(merges), "utf-8")
    with pytest.raises(ValueError) as raised:
        BPE.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert message in str(raised.value) and str(tmp_path) in str(raised.value)


def test_missing_or_damaged_files_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json"):
        BPE.from_files(tmp_path / "nowhere.json", folder / "merges.txt")
    for content in (b"", b'{"a"', b"[]", b"\xff"):
        (tmp_path / "vocab.json").write_bytes(content)
        with pytest.raises(ValueError, match="are not a byte-level BPE vocabulary"):
            BPE.from_files(tmp_path / "vocab.json", folder / "merges.txt")


def test_training_is_deterministic(bpe, corpus):
    again = BPE.train(iter(corpus), 600)
    assert again.fingerprint() == bpe.fingerprint()
    assert BPE.train(corpus[1:], 600).fingerprint() != bpe.fingerprint()


def test_training_reads_the_valid_part_of_broken_text(corpus):
    broken = [text + b"\xff\xfe" for text in corpus]
    assert BPE.train(broken, 600).pieces == BPE.train(corpus, 600).pieces


def test_smallest_vocabulary_is_bytes_and_separator():
    tokenizer = BPE.train([], 257)
    assert tokenizer.encode(b"abc").size == 3
    with pytest.raises(ValueError, match="at least 257 ids"):
        BPE.train([b"abc"], 256)


def test_too_large_a_vocabulary_says_what_was_reached():
    # "ab" twice: one merge on top of bytes and separator.
    with pytest.raises(ValueError, match=r"BPE\[v=300\]: the corpus supports only 258 ids"):
        BPE.train([b"ab", b"ab", b"xy"], 300)
    assert BPE.train([b"ab", b"ab", b"xy"], 258).encode(b"ab").size == 1
