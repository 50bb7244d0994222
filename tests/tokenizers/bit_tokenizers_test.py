"""The promises of every tokenizer that groups bits, whatever the bits come from."""

import pickle
import pydoc_data.topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_jax import tokenizers
from latent_jax.tokenizers import FingerprintError, ac, streams
from latent_jax.tokenizers.ac import AC
from latent_jax.tokenizers.equal_info import EqualInfoAC
from latent_jax.tokenizers.gzip import GZip
from latent_jax.tokenizers.static_ac import StaticAC
from latent_jax.tokenizers.streams import EXAMPLE_BYTES
from tests.exact.models import integer_model
from tests.tokenizers.base_test import FRAGMENTS
from tests.tokenizers.byte_models import byte_model

TOPICS = [pydoc_data.topics.topics[name].encode() for name in sorted(pydoc_data.topics.topics)]


def make(name):
    model = byte_model()
    return {
        "gzip 256": lambda: GZip(256),
        "gzip 65k": lambda: GZip(65536),
        "gzip 65k, no header": lambda: GZip(65536, header=False),
        "static 256": lambda: StaticAC.train(TOPICS[:20], 256),
        "static 65k": lambda: StaticAC.train(TOPICS[:20], 65536, precision=16),
        "ac 2": lambda: AC(model, 2, precision=16),
        "ac 256": lambda: AC(model, 256),
        "ac 65k": lambda: AC(model, 65536),
        "b8": lambda: EqualInfoAC(model, 8, 256),
        "b16": lambda: EqualInfoAC(model, 16, 65536),
        "b16, 256": lambda: EqualInfoAC(model, 16, 256, precision=16),
        "b24": lambda: EqualInfoAC(model, 24, 65536),
        "b32, 2": lambda: EqualInfoAC(model, 32, 2),
        "b128": lambda: EqualInfoAC(model, 128, 65536),
        "every other": lambda: EqualInfoAC(model, 32, 256, reset="every_other"),
        "never": lambda: EqualInfoAC(model, 16, 65536, reset="never"),
        "delay": lambda: EqualInfoAC(model, 32, 65536, rule="delay"),
        "integer ac": lambda: AC(integer_model(), 512),
        "integer b32": lambda: EqualInfoAC(integer_model(), 32, 65536),
    }[name]()


NAMES = {
    "gzip 256": "GZip[v=256]",
    "gzip 65k, no header": "GZip[v=65536,header=no]",
    "static 256": "StaticAC[v=256]",
    "static 65k": "StaticAC[v=65536,p=16]",
    "ac 2": "AC[v=2,p=16]",
    "ac 65k": "AC[v=65536]",
    "b8": "EqualInfoAC[b=8,v=256,rule=exact]",
    "b16, 256": "EqualInfoAC[b=16,v=256,p=16]",
    "b24": "EqualInfoAC[b=24,v=65536]",
    "b32, 2": "EqualInfoAC[b=32,v=2]",
    "b128": "EqualInfoAC[b=128,v=65536]",
    "every other": "EqualInfoAC[b=32,v=256,reset=every_other]",
    "never": "EqualInfoAC[b=16,v=65536,reset=never]",
    "delay": "EqualInfoAC[b=32,v=65536,rule=delay]",
    "integer ac": "AC[v=512]",
    "integer b32": "EqualInfoAC[b=32,v=65536]",
}


@pytest.fixture(scope="module", params=list(NAMES))  # every value of every option
def tokenizer(request):
    made = make(request.param)
    assert made.name == NAMES[request.param]
    return made


def assert_exact(tokenizer, texts):
    encoded = tokenizer.encode_batch(texts)
    assert tokenizer.decode_batch([ids for ids, _ in encoded]) == list(texts)
    for text, (ids, lengths) in zip(texts, encoded, strict=True):
        assert ids.dtype == lengths.dtype == np.int32 and ids.shape == lengths.shape
        assert lengths.sum() == len(text)
        assert ids.size == 0 or 0 <= ids.min() <= ids.max() < tokenizer.separator_id
        assert bool(len(text)) == bool(len(ids))
    return encoded


@given(texts=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(FRAGMENTS)), max_size=12))
@settings(max_examples=8)  # lists of texts, and a step of M1 for each byte
def test_any_bytes_come_back(tokenizer, texts):
    assert_exact(tokenizer, texts)


def test_text_and_awkward_bytes_come_back_and_the_lengths_are_those_of_the_ids(tokenizer):
    texts = [b"", *FRAGMENTS, bytes(range(256)), TOPICS[0][:150], bytes(150)]
    encoded = assert_exact(tokenizer, texts)
    for text, (ids, lengths) in list(zip(texts, encoded, strict=True))[-2:]:
        np.testing.assert_array_equal(tokenizer.byte_lengths(ids), lengths)
        # One text by itself is what it was among others.
        np.testing.assert_array_equal(tokenizer.encode(text), ids)
        assert tokenizer.decode(ids) == text


def test_texts_with_separators_between_them_come_back(tokenizer):
    texts = [TOPICS[2][:100], b"", b"\xff\x00", TOPICS[3][:60]]
    encoded = tokenizer.encode_batch(texts)
    row = np.concatenate([np.append(ids, tokenizer.separator_id) for ids, _ in encoded])
    assert tokenizer.decode(row) == b"".join(texts)
    lengths = tokenizer.byte_lengths(row)
    assert lengths.sum() == sum(map(len, texts))
    assert (lengths[row == tokenizer.separator_id] == 0).all()


def test_the_beginning_of_a_text_is_read_as_far_as_it_is_settled(tokenizer):
    text = TOPICS[4][:150]
    ids, _ = tokenizer.encode_batch([text])[0]
    part = ids[: len(ids) // 2]
    found = tokenizer.decode(part)
    assert text.startswith(found) and 0 < len(found) < len(text)
    assert tokenizer.byte_lengths(part).sum() == len(found)


def test_any_ids_are_read_or_refused_and_end(tokenizer):
    random = np.random.default_rng(0)
    for _ in range(3):
        ids = random.integers(0, tokenizer.vocab_size, 20)
        try:
            found = tokenizer.decode(ids)
        except ValueError as error:
            assert isinstance(tokenizer, GZip) and "were not made by this tokenizer" in str(error)
        else:
            assert tokenizer.byte_lengths(ids).sum() == len(found)


def test_foreign_ids_are_refused(tokenizer):
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=rf"id {wrong} is outside the vocabulary"):
            tokenizer.decode([0, wrong])
    with pytest.raises(ValueError, match="one axis"):
        tokenizer.byte_lengths([[0]])


def test_saved_loaded_and_pickled_it_is_the_same_code(tokenizer, tmp_path):
    text = TOPICS[5][:80]
    ids = tokenizer.encode(text)
    tokenizer.save(tmp_path / "tokenizer")
    loaded = tokenizers.load(tmp_path / "tokenizer")
    for copy in (loaded, pickle.loads(pickle.dumps(tokenizer))):
        assert type(copy) is type(tokenizer)
        assert (copy.name, copy.fingerprint()) == (tokenizer.name, tokenizer.fingerprint())
        assert copy.encode(text).tolist() == ids.tolist()
        assert copy.decode(ids) == text


def around(size):
    """Return texts of one example, of two, and of a byte more or less."""
    unit = b"no two examples share a stream; " * (size // 16)
    return [unit[: size - 1], unit[:size], unit[: size + 1], unit[: 2 * size]]


@pytest.mark.parametrize(
    "name", ["gzip 65k", "static 256", pytest.param("ac 256", marks=pytest.mark.slow)]
)
def test_texts_of_one_example_and_a_byte_more_or_less(name):
    assert_exact(make(name), around(EXAMPLE_BYTES))


def test_examples_that_m1_codes_end_where_the_next_one_begins(monkeypatch):
    """With examples of 64 bytes, as a step of M1 is made for each; a compiled size is fixed."""
    monkeypatch.setattr(streams, "EXAMPLE_BYTES", 64)
    monkeypatch.setattr(ac, "EXAMPLE_BYTES", 64)
    for name in ("_encode_step", "_decode_step"):
        monkeypatch.setattr(ac, name, getattr(ac, name).py_func)
    texts = around(64)
    for text, n_streams in zip(texts, (1, 1, 2, 2), strict=True):
        assert len(streams.examples_of(text)) == n_streams
    encoded = assert_exact(make("ac 256"), texts)
    # The second example begins with an empty context, so it is coded as the first one was.
    again = assert_exact(make("ac 256"), [texts[1] * 2])[0][0]
    np.testing.assert_array_equal(again, np.tile(encoded[1][0], 2))


@pytest.mark.parametrize("name", ["gzip 256", "static 256", "static 65k"])
def test_a_million_zeros_come_back(name):
    assert_exact(make(name), [bytes(1_000_000)])


@pytest.mark.parametrize("name", ["ac 256", "b16", "b128", "never"])
@pytest.mark.parametrize("size", [1000, pytest.param(12_000, marks=pytest.mark.slow)])
def test_many_zeros_come_back(name, size):
    assert_exact(make(name), [bytes(size)])


def test_more_texts_than_lanes_are_shared_among_threads():
    texts = [topic[:50] for topic in TOPICS]
    assert len(texts) > byte_model().lanes
    for name in ("ac 256", "b16"):
        tokenizer = make(name)
        together = assert_exact(tokenizer, texts)
        for text, (ids, _) in list(zip(texts, together, strict=True))[::20]:
            np.testing.assert_array_equal(tokenizer.encode(text), ids)


def test_header_and_checksum_of_gzip_are_six_bytes():
    text = TOPICS[0][:1000]
    assert len(make("gzip 256").encode(text)) == len(GZip(256, header=False).encode(text)) + 6
    with pytest.raises(ValueError, match=r"v must be 256 or 65536"):
        GZip(2)


def test_static_ac_comes_near_the_entropy_of_bytes():
    texts = TOPICS[20:40]
    tokenizer = make("static 256")
    counts = np.bincount(np.frombuffer(b"".join(texts), np.uint8), minlength=256)
    p = counts[counts > 0] / counts.sum()
    entropy = -(p * np.log2(p)).sum()
    n_bits = 8 * sum(len(ids) for ids, _ in tokenizer.encode_batch(texts))
    assert 1.0 < n_bits / counts.sum() / entropy < 1.05


def test_numbers_that_do_not_come_out_are_refused(tmp_path):
    """A tokenizer whose model computes other counts here than where it was saved."""
    for name in ("ac 256", "b16"):
        files = make(name)._files()
        own = next(key for key in files if key.endswith(".json"))
        digest = make(name)._probed.digest
        files[own] = files[own].replace(digest.encode(), digest[::-1].encode())
        other = type(make(name))._from_files(files)
        with pytest.raises(FingerprintError, match="gives other numbers here"):
            other.decode([0])
        with pytest.raises(FingerprintError, match="build the tokenizer here"):
            other.encode(b"a")
