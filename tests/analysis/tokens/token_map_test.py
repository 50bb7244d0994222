import collections
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.analysis.codes import Coded, TokenizerCode
from latent_jax.analysis.tokens.token_map import (
    label_spans,
    map_records,
    map_tokens,
    token_scores,
)
from latent_jax.spelling import printable
from latent_jax.tokenizers import Bytes, StaticAC
from tests.analysis.made_codes import TEXT, Words, pieces_of


def coded(*pairs):
    ids, lengths = zip(*pairs, strict=True)
    return Coded(np.array(ids, np.int32), np.array(lengths, np.int32))


def test_ids_cover_the_bytes_that_their_lengths_say():
    texts = [b"abcab", b"ab"]
    tokens = map_tokens(texts, [coded((7, 2), (1, 0), (1, 1), (7, 2)), coded((7, 1), (1, 1))], 2)
    spelled = [tokens.spellings[label] for label in tokens.labels]
    assert spelled == [b"ab", b"", b"c", b"ab", b"a", b"b"]
    assert tokens.positions.tolist() == [0, 1, 0, 1, 0, 1]
    assert tokens.texts_of(7) == [(b"ab", 2), (b"a", 1)]
    assert tokens.at(0).texts_of(7)[:1] == [(b"a", 1)]
    assert map_records(tokens) == [
        {"id": 1, "position": 0, "text": "c", "count": 1},
        {"id": 1, "position": 1, "text": "", "count": 1},
        {"id": 1, "position": 1, "text": "b", "count": 1},
        {"id": 7, "position": 0, "text": "a", "count": 1},
        {"id": 7, "position": 0, "text": "ab", "count": 1},
        {"id": 7, "position": 1, "text": "ab", "count": 1},
    ]


def test_lengths_of_another_text_are_refused():
    with pytest.raises(ValueError, match="cover 3 bytes are not those of 2"):
        map_tokens([b"ab"], [coded((0, 3))])


@given(st.lists(st.binary(max_size=12), max_size=30))
def test_spans_have_one_number_for_each_byte_string(strings):
    lengths = np.array([*map(len, strings)], np.int64)
    labels, spellings = label_spans(b"".join(strings), np.cumsum(lengths) - lengths, lengths)
    assert [spellings[label] for label in labels] == strings
    assert len(spellings) == len(set(strings))


def test_a_code_of_fixed_texts_leaves_nothing_open():
    code, texts = Words(), pieces_of(500, 6)
    scores = token_scores(map_tokens(texts, code.encode(texts)))
    assert scores["text_given_id_bits"] == scores["id_given_text_bits"] == 0
    assert scores["same_text_probability"] == scores["same_id_probability"] == 1
    assert scores["texts_per_id"] == scores["one_text_ids_share"] == 1
    assert scores["text_given_shuffled_id_bits"] > 1


def test_tokens_of_an_arithmetic_code_say_hardly_anything():
    texts = pieces_of(5000, 6)
    code = TokenizerCode(StaticAC.train(texts, 256))
    scores = token_scores(map_tokens(texts, code.encode(texts)))
    assert scores["same_text_probability"] < 0.05 and scores["one_text_ids_share"] == 0
    shuffled = scores["text_given_shuffled_id_bits"]
    assert scores["text_given_id_bits"] == pytest.approx(shuffled, abs=0.1)
    counts = collections.Counter(
        label for label in map_tokens(texts, code.encode(texts)).labels.tolist()
    )
    p = np.array([*counts.values()]) / scores["n_tokens"]
    assert scores["text_bits"] == pytest.approx(-(p * np.log2(p)).sum())


def test_a_megabyte_takes_seconds():
    texts = [TEXT[:500_000]] * 2
    code = TokenizerCode(Bytes())
    encoded = code.encode(texts)
    start = time.process_time()
    token_scores(map_tokens(texts, encoded))
    assert time.process_time() - start < 10


@given(st.lists(st.one_of(st.binary(max_size=4), st.text(max_size=3).map(str.encode)), max_size=8))
def test_printed_texts_are_as_different_as_the_texts(texts):
    assert len({*map(printable, texts)}) == len({*texts})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a\nb", "a\\nb"),
        ("Dörpfeld".encode(), "Dörpfeld"),
        (b"\xc3", "\\xc3"),
        ("\xa0".encode(), "\\u00a0"),
        (b"\xa0", "\\xa0"),
        (b"\\xa0", "\\\\xa0"),
    ],
)
def test_texts_are_printed_on_one_line(text, line):
    assert printable(text) == line
