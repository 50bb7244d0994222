"""Text written by models over bytes, subwords, compressed streams and latents."""

import functools
import pydoc_data.topics

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation import Sampling, TokenDecoder, draw, start
from latent_jax.generation.latent_writer import LatentWriter
from latent_jax.generation.prompts import decode_valid, open_ids
from latent_jax.generation.token_writer import TokenWriter
from latent_jax.generation.written import END, FULL, INVALID, LENGTH
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.latent_lm import LatentLanguageModel
from latent_jax.tokenizers import BPE, Bytes, GZip, StaticAC
from tests.latent_fixtures import T, make_batch, make_config

TEXT = pydoc_data.topics.topics["lambda"].encode()
PROMPTS = [b"lambda", b"A function is", b""]
ROW = 64


def keys(n):
    return jax.random.split(jax.random.key(5), n)


def make_writer(tokenizer, row_length=ROW, scale=6.0, **words):
    shape = dict(max_length=row_length, n_layers=1, d_model=16, n_heads=2) | words
    config = GPTConfig(vocab_size=tokenizer.vocab_size, **shape)
    variables = make_variables(config, scale)
    decoder = TokenDecoder(config, tokenizer.separator_id)
    return TokenWriter(decoder, variables, tokenizer, row_length), config, variables


@functools.cache
def make_variables(config, scale):
    variables = jax.jit(GPT(config).init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    return jax.tree.map(lambda leaf: scale * leaf if leaf.ndim > 1 else leaf, variables)


@pytest.fixture(scope="module")
def far():
    """A writer that goes on beyond its row, as positions are relative."""
    return make_writer(Bytes(), positions="relative")[0]


def test_bytes_are_those_that_the_decoder_draws():
    writer, config, variables = make_writer(Bytes())
    written = writer.write(PROMPTS, keys(3), Sampling(), 20)
    ids = np.zeros((3, 13), np.int32)
    for row, prompt in zip(ids, PROMPTS, strict=True):
        row[: len(prompt)] = np.frombuffer(prompt, np.uint8)
    decoder = TokenDecoder(config, Bytes().separator_id)
    for lane, (prompt, one) in enumerate(zip(PROMPTS, written, strict=True)):
        alone = slice(lane, lane + 1)
        lanes = start(decoder, variables, ids[alone], np.array([len(prompt)], np.int32), ROW)
        drawn = draw(decoder, variables, lanes, keys(3)[alone], Sampling(), 20)[1]
        text = Bytes().decode(np.asarray(drawn.ids_BN[0]))
        assert one.prompt == one.kept == prompt and one.text == text[: len(one.text)]
        if one.stop == LENGTH:
            assert len(one.text) == one.n_ids == 20
            np.testing.assert_allclose(one.nats, drawn.nats_BN.sum(), rtol=1e-4)


def test_text_stops_where_it_should_and_says_why(far):
    writer, *_ = make_writer(Bytes())
    full = writer.write([b"x" * 40] * 8, keys(8), Sampling(), 50)
    assert {one.stop for one in full} <= {FULL, END} and FULL in {one.stop for one in full}
    for one in full:
        assert one.stop == END or len(one.text) == ROW - 40 == one.n_ids
    with pytest.raises(ValueError, match="a prompt of 63 ids leaves no room: Bytes was trained"):
        writer.write([b"x" * 63], keys(1), Sampling(), 10)
    # Relative positions go on beyond the row.
    many = far.write([b"x" * 40] * 20, keys(20), Sampling(), 150)
    assert {one.stop for one in many} == {LENGTH, END}
    for one in many:
        if one.stop == LENGTH:
            assert len(one.text) == 150
        else:
            assert len(one.text) == one.n_ids - 1 < 150
    assert len({one.text for one in many}) == 20


def test_what_is_shown_on_the_way_is_a_beginning_of_the_end(far):
    shown = []
    prompts = [b"abc" * 13 + b"d"] * 20
    written = far.write(prompts, keys(20), Sampling(), 90, lambda texts: shown.append(texts[0]))
    whole = prompts[0] + written[0].text
    assert len(shown) >= 2 and shown[-1] == whole
    assert all(whole.startswith(text) for text in shown)


def test_subwords_are_read_as_text():
    writer, *_ = make_writer(BPE.train([TEXT], 300), positions="relative")
    one = writer.write([b"A function"], keys(1), Sampling(), 60)[0]
    assert one.kept == b"A function" and (len(one.text) == 60 or one.stop == END)


def test_streams_are_read_as_text_and_ids_that_are_no_stream_end_it():
    """Both codes have the same vocabulary, so that one program draws the ids of both."""
    sampling = Sampling(1.0, 0, 1.0)
    writer, *_ = make_writer(StaticAC.train([TEXT], 256), positions="relative")
    one, *_ = writer.write([b"A function is defined"] * 8, keys(8), sampling, 60)
    # A stream holds all but the last bytes of a prompt, and never others.
    assert b"A function is defined".startswith(one.kept) and 10 < len(one.kept) < 21
    assert len(one.text) == 60 or one.stop == END
    writer, *_ = make_writer(GZip(256), positions="relative")
    written = writer.write([b"A function is"] * 8, keys(8), sampling, 200)
    assert INVALID in {one.stop for one in written}
    for one in written:
        assert len(one.text) <= 200


def test_the_longest_valid_beginning_is_found():
    tokenizer = GZip(256)
    ids = tokenizer.encode(TEXT[:500])
    broken = np.concatenate([ids[:50], 255 - ids[50:]])
    (whole, n_whole), (text, n_valid) = decode_valid(tokenizer, [ids, broken])
    assert whole == TEXT[:500] and n_whole == len(ids)
    assert 50 <= n_valid < len(broken) and text.startswith(tokenizer.decode(ids[:50]))
    tokenizer.decode(broken[:n_valid])
    with pytest.raises(ValueError, match="cannot follow"):
        tokenizer.decode(broken[: n_valid + 1])


@pytest.mark.parametrize("text", [b"", b"a", TEXT[:300]])
def test_open_ids_do_not_depend_on_what_follows(text):
    for tokenizer in (StaticAC.train([TEXT], 256), StaticAC.train([TEXT], 2)):
        ids = open_ids(tokenizer, text)
        for more in (b"!", b" lambda", b"\n\n\n", b"q" * 50):
            np.testing.assert_array_equal(tokenizer.encode(text + more)[: len(ids)], ids)
        assert text.startswith(tokenizer.decode(ids))
        assert len(tokenizer.decode(ids)) >= len(text) - 4
    np.testing.assert_array_equal(open_ids(Bytes(), text), Bytes().encode(text))


@pytest.fixture(scope="module")
def latent():
    config, batch = make_config(), make_batch()
    model = LatentLanguageModel(config)
    key = {"params": jax.random.key(0)}
    variables = jax.jit(model.init)(key, batch["ids"], batch["weights"] > 0)
    return config, LatentWriter(config, variables, Bytes(), T), variables


def test_a_latent_language_gives_its_prompt_back_as_its_codes_hold_it(latent):
    _, writer, _ = latent
    written = writer.write([b"lambda", b"odd", b""], keys(3), Sampling(), 9)
    for one, prompt in zip(written, [b"lambda", b"odd", b""], strict=True):
        # Separators decode to nothing.
        assert len(one.kept) <= len(prompt) and one.prompt == prompt
        assert len(one.text) == 9 or one.stop == END
        assert one.n_ids == 5 and one.nats > 0
    again = writer.write([b"lambda"], keys(3)[:1], Sampling(), 9)
    assert again[0] == written[0]
    other = writer.write([b"lambda"], keys(4)[3:], Sampling(), 9)
    assert other[0].kept != written[0].kept or other[0].text != written[0].text


def test_a_latent_prompt_without_room_is_refused(latent):
    _, writer, _ = latent
    full = writer.write([b"x" * (T - 4)], keys(1), Sampling(), 50)[0]
    assert full.n_ids == 2 and full.stop in (FULL, END)
    with pytest.raises(ValueError, match=f"a prompt of {T} bytes leaves no room"):
        writer.write([b"x" * T], keys(1), Sampling(), 5)


def test_cost_grows_with_the_text(latent):
    _, writer, _ = latent
    assert writer.flops(2, 4) > writer.flops(2, 2) > writer.flops(1, 1) > 0
    tokens, *_ = make_writer(Bytes())
    assert tokens.flops(2, 4) > tokens.flops(2, 2) > 0
