"""Latents as a code, against the model itself."""

import functools
import pydoc_data.topics

import jax
import numpy as np
import pytest

from latent_jax.analysis.codes import LatentCode, TokenizerCode
from latent_jax.models.latent_lm import LatentLanguageModel
from latent_jax.tokenizers import Bytes
from tests.latent_fixtures import CODES, C, T, make_batch, make_config

TEXTS = [topic.encode() for topic in [*pydoc_data.topics.topics.values()][:3]]
TEXTS = [TEXTS[0][: 3 * T], TEXTS[1][: T + 5], b"", TEXTS[2][:1]]


@pytest.fixture(scope="module")
def made():
    config, batch = make_config(), make_batch()
    model = LatentLanguageModel(config)
    key = {"params": jax.random.key(0)}
    variables = jax.jit(model.init)(key, batch["ids"], batch["weights"] > 0)
    code = LatentCode("Latent[conv1d,c=2,k=16]", config, variables, Bytes(), T, batch_size=2)
    return code, model, variables


def test_texts_are_cut_into_rows_and_every_byte_is_counted_once(made):
    code, model, variables = made
    for text, coded in zip(TEXTS, code.encode(TEXTS), strict=True):
        assert coded.byte_lengths.sum() == len(text)
        # A group begins anew with every row of T bytes.
        whole, rest = divmod(len(text), T)
        assert len(coded.ids) == len(coded.byte_lengths) == whole * (T // C) + -(-rest // C)
        assert (coded.ids >= 0).all() and (coded.ids < code.n_ids).all()
    assert code.n_ids == CODES
    row = np.frombuffer(TEXTS[0][T : 2 * T], np.uint8).astype(np.int32)[None]
    encode = jax.jit(functools.partial(model.apply, method="encode_codes"))
    codes, _ = encode(variables, row, np.ones((1, T), bool))
    second = slice(T // C, 2 * T // C)
    np.testing.assert_array_equal(code.encode(TEXTS)[0].ids[second], codes[0])


def test_codes_decode_as_the_model_reads_them(made):
    code, model, variables = made
    ids = [np.arange(T // C, dtype=np.int32) % CODES, np.arange(3, dtype=np.int32)]
    texts = code.decode([*ids, np.zeros(0, np.int32)])
    assert [len(text) for text in texts] == [T, 3 * C, 0]
    mask = np.ones((1, T), bool)
    decode = jax.jit(functools.partial(model.apply, method="decode_codes"))
    logits = decode(variables, ids[0][None], mask[:, ::C], mask)
    assert texts[0] == bytes(np.asarray(logits[0, :, :256].argmax(axis=-1), np.uint8))


def test_the_separator_of_a_tokenizer_is_no_id_of_its_code():
    code = TokenizerCode(Bytes())
    assert code.n_ids == 256
    assert code.decode([coded.ids for coded in code.encode(TEXTS)]) == TEXTS
