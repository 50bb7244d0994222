"""Windows that hold an id, by its place in them."""

import itertools

import numpy as np
import pytest

from latent_jax.analysis.codes import Code, Coded, TokenizerCode
from latent_jax.analysis.tokens.window_texts import read_ids, window_text_records
from latent_jax.tokenizers import CompiledCode

TEXTS = [b"leadthisthe", b"ledimaglewun"]
CODED = [
    Coded(np.array([7, 1, 2, 7, 3], np.int32), np.array([2, 2, 0, 4, 3], np.int32)),
    Coded(np.array([7, 2, 7, 7], np.int32), np.array([3, 4, 3, 2], np.int32)),
]


class Windows(Code):
    """Windows of two ids, made by hand."""

    name, n_ids, window_tokens = "Windows", 8, 2

    def encode(self, texts):
        return CODED

    def decode(self, batch):
        raise NotImplementedError


def records_of(ids, seed=0):
    return window_text_records(Windows(), TEXTS, CODED, ids, seed)


def test_windows_have_their_whole_text_in_the_order_of_the_documents():
    first, second = records_of([7])
    assert (first["token_id"], first["window_position"]) == (7, 1)
    assert first["window_texts"] == "[lead] / [ledimag] / [lewun]"
    assert (second["window_position"], second["window_texts"]) == (2, "[this] / [lewun]")
    assert (first["n_windows"], first["n_window_texts"]) == (3, 3)
    assert records_of([3])[0]["window_texts"] == "[the]", "the last window may be short"


def test_likeness_is_the_mean_over_pairs():
    (first, _) = records_of([7])
    windows = [b"lead", b"ledimag", b"lewun"]
    pairs = [*itertools.combinations(windows, 2)]
    shared = [
        len([*itertools.takewhile(lambda both: both[0] == both[1], zip(*pair, strict=False))])
        for pair in pairs
    ]
    assert first["shared_window_bytes"] == pytest.approx(np.mean(shared))
    assert first["same_window_probability"] == 0
    (one, other) = records_of([2])
    assert one["same_window_probability"] is one["shared_window_bytes"] is None
    assert other["n_windows"] == 1


def test_an_id_that_is_not_there_is_said_to_be_none():
    unused, _, absent = records_of([5, 8])
    assert unused["n_windows"] == 0 and unused["window_texts"] == ""
    assert absent["token_id"] == 8 and absent["window_texts"] == "the code has the ids 0 to 7"
    assert absent.keys() == unused.keys()


def test_an_id_of_one_text_shows_it_where_the_texts_have_none():
    code = TokenizerCode(CompiledCode.of_texts("Letters", [bytes([b]) for b in range(256)]))
    coded = code.encode([b"text"])
    (record,) = window_text_records(code, [b"text"], coded, [ord("a")], 0)
    assert record["n_windows"] == 0 and record["window_texts"] == "[a]"


def test_of_many_windows_eight_are_drawn_by_the_seed():
    texts = [bytes([97 + i % 26]) * 2 for i in range(40)]
    coded = [Coded(np.array([4, 4], np.int32), np.array([1, 1], np.int32)) for _ in texts]
    found = [window_text_records(Windows(), texts, coded, [4], seed)[0] for seed in (0, 0, 1)]
    assert found[0] == found[1] and found[0]["window_texts"] != found[2]["window_texts"]
    assert found[0]["window_texts"].count("[") == 8 and found[0]["n_window_texts"] == 26
    pairs = 14 * 2 * 1 + 12 * 1 * 0  # 14 letters come twice, 12 once
    assert found[0]["same_window_probability"] == pytest.approx(pairs / (40 * 39))


def test_long_windows_are_fewer():
    texts = [bytes([97 + i]) * 50 for i in range(20)]
    coded = [Coded(np.array([4, 4], np.int32), np.array([25, 25], np.int32)) for _ in texts]
    shown = window_text_records(Windows(), texts, coded, [4], 0)[0]["window_texts"]
    assert shown.count("[") == 3


@pytest.mark.parametrize("words", [("x",), ("-1",), ("1", ""), ("²",)])
def test_what_is_no_id_is_refused(words):
    with pytest.raises(ValueError, match="is no id; write --ids=151,185"):
        read_ids(words)


def test_ids_are_read():
    assert read_ids(("151", "185")) == [151, 185]
