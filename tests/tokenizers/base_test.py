"""The promises that every tokenizer makes, and the folder that it is saved in."""

import json
import pickle
import pydoc_data.topics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import latent_jax
from latent_jax import tokenizers
from latent_jax.tokenizers import BPE, Bytes, FingerprintError, SentencePiece, Tokenizer
from latent_jax.tokenizers.pretrained_bpe import PretrainedBPE

# What subword libraries are known to change: their own marks, odd white space, broken UTF-8.
PLAIN = ["a", "The", " the", "'s", "12", ".", " ", "  ", "\n", "\r\n", "\t", "\0", "\x85"]
MARKS = ["<s>", "</s>", "<unk>", "<0x41>", "<|endoftext|>", "#version", "▁", "▅", "⁇", "Ġ"]
UNICODE = ["é", "e\u0301", "ﬁ", "Ａ", "中", "😀", "\u00a0", "\u3000", "\u2028", "\ufeff", "\ufffd"]
BROKEN = [b"\xff", b"\x80", b"\xc3", b"\xe2\x96", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
FRAGMENTS = [*(part.encode() for part in PLAIN + MARKS + UNICODE), *BROKEN]
ANY_BYTES = st.one_of(
    st.binary(),
    st.text().map(str.encode),
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join),
)


def assert_exact(tokenizer: Tokenizer, text: bytes):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert tokenizer.decode(ids) == text
    lengths = tokenizer.byte_lengths(ids)
    assert lengths.dtype == np.int32 and lengths.shape == ids.shape
    assert lengths.sum() == len(text)
    for id_ in np.unique(ids):
        assert (lengths[ids == id_] == len(tokenizer.decode([id_]))).all()
    assert tokenizer.separator_id not in ids
    assert ids.size == 0 or (ids.min() >= 0 and ids.max() < tokenizer.vocab_size)


@given(text=ANY_BYTES)
def test_any_bytes_come_back(tokenizer, text):
    assert_exact(tokenizer, text)


@pytest.mark.parametrize("text", [b"", *FRAGMENTS], ids=repr)
def test_awkward_bytes_come_back(tokenizer, text):
    assert_exact(tokenizer, text)
    assert_exact(tokenizer, b" " + text + text + b" x\n")


def test_every_byte_and_a_sample_of_all_characters_come_back(tokenizer):
    assert_exact(tokenizer, bytes(range(256)) * 3)
    codes = [c for c in range(0, 0x110000, 31) if not 0xD800 <= c < 0xE000]
    assert_exact(tokenizer, " ".join(map(chr, codes)).encode())
    assert_exact(tokenizer, "".join(map(chr, codes)).encode())


@pytest.mark.parametrize("unit", [b"\0", b" ", b"\n", b"a", b"\xff", "▁".encode()], ids=repr)
def test_long_runs_come_back(tokenizer, unit):
    text = unit * (200_000 // len(unit))
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.byte_lengths(ids).sum() == len(text)


def test_held_out_text_comes_back(tokenizer):
    topics = pydoc_data.topics.topics
    documents = [topics[name].encode() for name in sorted(topics)[20:]]
    n_bytes = sum(tokenizer.byte_lengths(tokenizer.encode(text)).sum() for text in documents)
    assert n_bytes == sum(map(len, documents)) > 100_000
    for text in documents:
        assert_exact(tokenizer, text[:3000])


def test_trained_subwords_are_shorter_than_bytes(bpe, sentencepiece, corpus):
    n_bytes = sum(map(len, corpus))
    for tokenizer in (bpe, sentencepiece):
        assert tokenizer.vocab_size == 600
        assert sum(tokenizer.encode(text).size for text in corpus) < 0.6 * n_bytes


def test_separator_is_nothing_between_documents(tokenizer):
    separator = [tokenizer.separator_id]
    ids = np.concatenate([tokenizer.encode(b"one"), separator, separator, tokenizer.encode(b" 2")])
    assert tokenizer.decode(ids) == b"one 2"
    assert tokenizer.byte_lengths(separator).tolist() == [0]


def test_only_the_separator_and_marks_are_empty(tokenizer):
    lengths = tokenizer.byte_lengths(np.arange(tokenizer.vocab_size))
    marks = tokenizer.vocabulary.marks if isinstance(tokenizer, PretrainedBPE) else set()
    empty = {tokenizer.separator_id, *marks}
    assert np.flatnonzero(lengths == 0).tolist() == sorted(empty)


def test_byte_lengths_keep_the_shape(tokenizer):
    ids = tokenizer.encode(b"a row of ids, twice")[:4]
    lengths_BT = tokenizer.byte_lengths(np.stack([ids, ids]))
    assert lengths_BT.tolist() == [tokenizer.byte_lengths(ids).tolist()] * 2


@pytest.mark.parametrize("read", ["decode", "byte_lengths"])
def test_foreign_ids_are_refused(tokenizer, read):
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=rf"id {wrong} is outside the vocabulary"):
            getattr(tokenizer, read)([0, wrong])
    with pytest.raises(ValueError, match="must be integers"):
        getattr(tokenizer, read)([0.0])


def test_no_ids_are_no_bytes(tokenizer):
    assert tokenizer.decode([]) == b""
    assert tokenizer.byte_lengths([]).shape == (0,)


def test_pickle_gives_the_same_code(tokenizer):
    text = "naïve ▁ text\xff".encode("latin-1", "replace") + b"\xff the end"
    ids = tokenizer.encode(text)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert type(copy) is type(tokenizer)
    assert copy.fingerprint() == tokenizer.fingerprint()
    assert copy.encode(text).tolist() == ids.tolist()
    assert copy.decode(ids) == text


def test_save_and_load(tokenizer, tmp_path):
    folder = tmp_path / "runs" / "tokenizer"
    tokenizer.save(folder)
    saved = json.loads((folder / "tokenizer.json").read_text())
    assert saved == {
        "kind": tokenizer.kind,
        "name": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "fingerprint": tokenizer.fingerprint(),
    }
    for loaded in (tokenizers.load(folder), type(tokenizer).load(folder)):
        assert type(loaded) is type(tokenizer)
        assert (loaded.name, loaded.vocab_size, loaded.separator_id) == (
            tokenizer.name,
            tokenizer.vocab_size,
            tokenizer.separator_id,
        )
        text = b"the loaded one codes \xfe\xff alike"
        assert loaded.encode(text).tolist() == tokenizer.encode(text).tolist()


def test_saving_again_changes_nothing_and_another_is_refused(tokenizer, bpe, tmp_path):
    tokenizer.save(tmp_path / "t")
    tokenizer.save(tmp_path / "t")
    other = Bytes() if tokenizer is bpe else bpe
    with pytest.raises(ValueError, match="already exists and holds something other"):
        other.save(tmp_path / "t")
    assert tokenizers.load(tmp_path / "t").fingerprint() == tokenizer.fingerprint()


@pytest.mark.parametrize("change", ["truncate", "edit", "empty"])
@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "sentencepiece.model"])
def test_changed_files_are_noticed(bpe, sentencepiece, tmp_path, name, change):
    tokenizer = sentencepiece if name == "sentencepiece.model" else bpe
    tokenizer.save(tmp_path / "t")
    path = tmp_path / "t" / name
    content = bytearray(path.read_bytes())
    if change == "edit":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: {"truncate": len(content) - 100, "edit": None, "empty": 0}[change]])
    with pytest.raises(FingerprintError) as raised:
        tokenizers.load(tmp_path / "t")
    message = str(raised.value)
    assert tokenizer.fingerprint() in message
    assert message.count("fingerprint") == 1 and "the files give" in message
    assert "train and save the tokenizer again" in message


def test_swapped_ids_are_noticed(bpe, tmp_path):
    bpe.save(tmp_path / "t")
    path = tmp_path / "t" / "vocab.json"
    vocab = json.loads(path.read_text())
    vocab["!"], vocab["#"] = vocab["#"], vocab["!"]
    path.write_text(json.dumps(vocab))
    swapped = BPE.from_files(path, tmp_path / "t" / "merges.txt")
    assert swapped.fingerprint() != bpe.fingerprint()
    with pytest.raises(FingerprintError, match=bpe.fingerprint()):
        tokenizers.load(tmp_path / "t")


def test_missing_files_are_named(tokenizer, tmp_path):
    for name in (*tokenizer.file_names, "tokenizer.json"):
        folder = tmp_path / f"without_{name}"
        tokenizer.save(folder)
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f" {name} cannot be read"):
            tokenizers.load(folder)


def test_false_metadata_is_refused(bpe, tmp_path):
    bpe.save(tmp_path / "t")
    path = tmp_path / "t" / "tokenizer.json"
    saved = json.loads(path.read_text())

    path.write_text(json.dumps({**saved, "fingerprint": "0" * 64}))
    with pytest.raises(FingerprintError, match=f"{'0' * 64}.*{bpe.fingerprint()}"):
        tokenizers.load(tmp_path / "t")
    path.write_text(json.dumps({**saved, "vocab_size": 601}))
    with pytest.raises(ValueError, match=r"describes .*601.* but the files"):
        tokenizers.load(tmp_path / "t")
    path.write_text(json.dumps({"kind": "bpe"}))
    with pytest.raises(ValueError, match="lacks fingerprint, name, vocab_size"):
        tokenizers.load(tmp_path / "t")
    path.write_text(json.dumps(saved)[:20])
    with pytest.raises(ValueError, match="damaged"):
        tokenizers.load(tmp_path / "t")


def test_fingerprints_tell_tokenizers_apart(bpe, sentencepiece, corpus):
    others = [BPE.train(corpus[:15], 600), BPE.train(corpus, 599), SentencePiece.train(corpus, 599)]
    prints = [t.fingerprint() for t in (Bytes(), bpe, sentencepiece, *others)]
    assert len(set(prints)) == len(prints)


def test_room_needs_neither_jax_nor_flax():
    code = (
        "import sys, latent_jax.tokenizers\n"
        "assert 'tokenizers' in sys.modules\n"
        "assert not {'jax', 'flax'} & sys.modules.keys()\n"
    )
    root = Path(latent_jax.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
