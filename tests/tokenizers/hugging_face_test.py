"""The export gives the same ids, and survives its own file."""

import pytest
import tokenizers as hf

from latent_jax.tokenizers import CompiledCode, EqualInfoAC
from latent_jax.tokenizers.hugging_face import SEPARATOR, to_hugging_face
from tests.tokenizers.bit_tokenizers_test import TOPICS
from tests.tokenizers.byte_models import byte_model


@pytest.fixture(scope="module")
def code():
    return CompiledCode.compile(EqualInfoAC(byte_model(lanes=64), 12, 4096))


def test_the_export_gives_the_same_ids_and_text(code, tmp_path):
    path = tmp_path / "tokenizer.json"
    to_hugging_face(code).save(str(path))
    exported = hf.Tokenizer.from_file(str(path))
    assert exported.get_vocab_size() == code.vocab_size
    assert exported.token_to_id(SEPARATOR) == code.separator_id
    for text in (*(topic[:700].decode() for topic in TOPICS[:30]), "", " ", "naïve 中文 😀\n\tx"):
        ids = exported.encode(text, add_special_tokens=False).ids
        assert ids == code.encode(text.encode()).tolist()
        assert exported.decode(ids) == text


def test_a_text_that_is_too_long_is_given_up(code):
    ids = to_hugging_face(code, max_bytes=10).encode("eleven byte").ids
    assert ids == [code.separator_id]
