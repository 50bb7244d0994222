"""Loading by the kind that a folder states."""

import json

import pytest

from latent_jax import tokenizers
from latent_jax.tokenizers import BPE, Bytes, Tokenizer


def test_kinds_are_named_once():
    kinds = Tokenizer.kinds
    assert {kind: cls.kind for kind, cls in kinds.items()} == {kind: kind for kind in kinds}
    assert set(kinds) >= {
        "ac",
        "bpe",
        "bytes",
        "compiled",
        "equal_info",
        "gzip",
        "sentencepiece",
        "static_ac",
    }


def test_a_kind_belongs_to_one_class():
    with pytest.raises(TypeError, match="two tokenizers have the kind 'bytes'"):
        type("Other", (Bytes,), {"kind": "bytes"})
    assert Tokenizer.kinds["bytes"] is Bytes


def test_a_tokenizer_says_what_is_saved():
    with pytest.raises(TypeError, match="Half states neither arguments nor _files"):
        type("Half", (Tokenizer,), {"kind": "half"})


def test_unknown_kind_names_the_known_ones(tmp_path):
    Bytes().save(tmp_path / "t")
    path = tmp_path / "t" / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kind": "wordpiece"}))
    with pytest.raises(ValueError, match=r"unknown kind 'wordpiece'; known are .*bytes"):
        tokenizers.load(tmp_path / "t")


def test_class_refuses_another_kind(tmp_path):
    Bytes().save(tmp_path / "t")
    with pytest.raises(ValueError, match="kind 'bytes', not 'bpe'"):
        BPE.load(tmp_path / "t")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a complete saved tokenizer"):
        tokenizers.load(tmp_path / "nowhere")
