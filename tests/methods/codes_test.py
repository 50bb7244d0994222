"""The code of every registered family keeps what `Tokenizer` promises, on any text."""

import pydoc_data.topics

import numpy as np
import pytest

from latent_jax import tokenizers
from latent_jax.data import DataConfig, open_corpus
from latent_jax.methods.names import parse
from latent_jax.methods.registry import families
from latent_jax.methods.tokenizers import make_tokenizer
from tests.tokenizers.byte_models import byte_model

TEXTS = [
    b"",
    b"a",
    b"The three currently living species are: African savanna elephants,",
    bytes(range(256)),
    "Ünïcödé, 象 and \U0001f418".encode(),
    b"\xff\xfe\x00\x00 \xf0\x9f no UTF-8 \xc3(",
    b"  \t\r\n\n  " * 9,
    b"a" * 300,
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Text to learn from, and a byte model that drives coders."""
    folder = tmp_path_factory.mktemp("codes")
    (folder / "text.txt").write_text("".join(pydoc_data.topics.topics.values()))
    (folder / "m1.msgpack").write_bytes(byte_model(lanes=8).to_bytes())
    data = DataConfig(
        source="files", files=(f"{folder}/text.txt",), cache_dir=str(folder / "cache")
    )
    return {"corpus": open_corpus(data), "m1": str(folder / "m1.msgpack"), "lanes": 8}


@pytest.mark.parametrize("name", [family.example for family in families().values()])
def test_a_code_keeps_its_promises(name, sources, tmp_path):
    method = parse(name)
    if name == families()["EqualInfoAC"].example:  # compiled for another model it takes a minute
        sources = {}
    code = make_tokenizer(method, **sources)
    assert code.vocab_size == families()[method.family].vocab_size(method)
    assert 0 <= code.separator_id < code.vocab_size
    encoded = code.encode_batch(TEXTS)
    for text, (ids, byte_lengths) in zip(TEXTS, encoded, strict=True):
        assert code.decode(ids) == text and np.issubdtype(ids.dtype, np.integer)
        assert byte_lengths.sum() == len(text) and (np.asarray(byte_lengths) >= 0).all()
        assert len(ids) == len(byte_lengths)
        assert ((ids >= 0) & (ids < code.vocab_size) & (ids != code.separator_id)).all()
        np.testing.assert_array_equal(code.byte_lengths(ids), byte_lengths)
    assert code.decode_batch([ids for ids, _ in encoded]) == TEXTS
    np.testing.assert_array_equal(code.encode(TEXTS[2]), encoded[2][0])
    assert code.decode([code.separator_id]) == b""

    code.save(tmp_path / "code")
    again = tokenizers.load(tmp_path / "code")
    assert again.fingerprint() == code.fingerprint() and again.name == code.name
    np.testing.assert_array_equal(again.encode(TEXTS[4]), encoded[4][0])


def test_a_family_that_misstates_its_size_is_refused(monkeypatch):
    family = families()["Bytes"]
    monkeypatch.setattr(type(family), "vocab_size", lambda self, method: 256)
    with pytest.raises(ValueError, match=r"family Bytes says that Bytes has 256 ids, .* has 257"):
        make_tokenizer(parse("Bytes"))
