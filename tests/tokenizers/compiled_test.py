"""The compiled code against the step-by-step one that it was made from."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax import tokenizers
from latent_jax.tokenizers import CompiledCode, EqualInfoAC, trie
from tests.tokenizers.base_test import ANY_BYTES, FRAGMENTS
from tests.tokenizers.bit_tokenizers_test import TOPICS
from tests.tokenizers.byte_models import byte_model


@pytest.fixture(scope="module")
def steps():
    return EqualInfoAC(byte_model(lanes=64), 12, 4096)


@pytest.fixture(scope="module")
def compiled(steps):
    return CompiledCode.compile(steps)


def test_both_agree_on_every_byte(steps, compiled):
    texts = [*FRAGMENTS, bytes(range(256)), *(topic[:100] for topic in TOPICS[:40]), bytes(200)]
    texts += [np.random.default_rng(0).bytes(200)]
    for (ids, lengths), (expected, expected_lengths) in zip(
        compiled.encode_batch(texts), steps.encode_batch(texts), strict=True
    ):
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(lengths, expected_lengths)
    assert (compiled.name, compiled.vocab_size) == (steps.name, steps.vocab_size)


@given(text=ANY_BYTES)
def test_any_bytes_come_back(compiled, text):
    ids = compiled.encode(text)
    assert ids.dtype == np.int32
    assert compiled.decode(ids) == text
    assert compiled.byte_lengths(ids).sum() == len(text)


def test_every_text_is_one_id_and_every_prefix_of_it_another(compiled):
    pieces = compiled.pieces[:-1]
    assert len(set(pieces)) == 4096 and max(map(len, pieces)) > 3
    for id_, piece in enumerate(pieces):
        assert compiled.encode(piece).tolist() == [id_]
        assert len(piece) == 1 or piece[:-1] in pieces[:id_]


def test_many_texts_are_shared_among_threads_in_order(compiled):
    texts = [b"", *TOPICS, b"", b"x"]
    encoded = compiled.encode_batch(texts)
    assert compiled.decode_batch([ids for ids, _ in encoded]) == texts
    for text, (ids, lengths) in list(zip(texts, encoded, strict=True))[::17]:
        np.testing.assert_array_equal(ids, compiled.encode(text))
        np.testing.assert_array_equal(lengths, compiled.byte_lengths(ids))
    assert compiled.encode_batch([]) == []


def test_saved_and_loaded(compiled, tmp_path):
    compiled.save(tmp_path / "code")
    loaded = tokenizers.load(tmp_path / "code")
    assert loaded.fingerprint() == compiled.fingerprint()
    assert loaded.pieces == compiled.pieces
    size = sum(path.stat().st_size for path in (tmp_path / "code").iterdir())
    assert size < 3 * 4096, "a depth and a byte for each id, compressed"


def test_what_is_no_table_cannot_be_compiled():
    model = byte_model()
    for tokenizer in (
        EqualInfoAC(model, 16, 256),
        EqualInfoAC(model, 12, 4096, reset="never"),
        EqualInfoAC(model, 16, 65536, rule="paper"),
    ):
        with pytest.raises(ValueError, match=r"cannot be compiled: .* one text"):
            CompiledCode.compile(tokenizer)


def test_damaged_trees_are_refused(compiled):
    depths = compiled._depths.copy()
    depths[5] = 200
    with pytest.raises(ValueError, match="the text of id 5 has no parent"):
        CompiledCode("broken", depths, compiled._labels)
    with pytest.raises(ValueError, match="every byte"):
        CompiledCode("short", compiled._depths[:100], compiled._labels[:100])


@given(st.sets(st.binary(min_size=1, max_size=6), max_size=60), st.randoms(use_true_random=False))
def test_the_trie_finds_the_longest_match(words, draw):
    nodes = {bytes([b]) for b in range(256)}
    for word in words:
        nodes |= {word[: i + 1] for i in range(len(word))}
    nodes = sorted(nodes)
    number = {node: i for i, node in enumerate(nodes)}
    parents = np.array([number.get(node[:-1], -1) for node in nodes], np.int32)
    labels = np.array([node[-1] for node in nodes], np.uint8)
    built = trie.build(parents, labels)
    text = b"".join(draw.choices(nodes, k=20))
    out = np.zeros(len(text), np.int32)
    n_ids = trie.longest_matches(np.frombuffer(text, np.uint8), *built, out)
    found = [nodes[i] for i in out[:n_ids]]
    expected, at = [], 0
    while at < len(text):
        match = max((n for n in range(1, 8) if text[at : at + n] in number), default=1)
        expected.append(text[at : at + match])
        at += match
    assert found == expected
    assert all(len(a + b[:1]) > 0 and a + b[:1] not in number for a, b in itertools.pairwise(found))
