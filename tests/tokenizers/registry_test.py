"""Loading by the kind that a folder states."""

import json

import pytest

from latent_jax import tokenizers
from latent_jax.tokenizers import BPE, Bytes
from latent_jax.tokenizers.registry import KINDS


def test_kinds_are_named_once():
    assert {kind: cls.kind for kind, cls in KINDS.items()} == {kind: kind for kind in KINDS}
    assert set(KINDS) == {
        "ac",
        "bpe",
        "bytes",
        "compiled",
        "equal_info",
        "gzip",
        "sentencepiece",
        "static_ac",
    }


def test_unknown_kind_names_the_known_ones(tmp_path):
    Bytes().save(tmp_path / "t")
    path = tmp_path / "t" / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kind": "wordpiece"}))
    with pytest.raises(ValueError, match="unknown kind 'wordpiece'; known are bytes, bpe"):
        tokenizers.load(tmp_path / "t")


def test_class_refuses_another_kind(tmp_path):
    Bytes().save(tmp_path / "t")
    with pytest.raises(ValueError, match="kind 'bytes', not 'bpe'"):
        BPE.load(tmp_path / "t")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a complete saved tokenizer"):
        tokenizers.load(tmp_path / "nowhere")
