import numpy as np
import pytest

from latent_jax.analysis.codes import Coded, TokenizerCode
from latent_jax.analysis.contingency import agreement
from latent_jax.analysis.stability.consistency import word_table
from latent_jax.tokenizers import Bytes, StaticAC
from tests.analysis.made_codes import pieces_of


def test_the_ids_of_a_word_are_those_that_overlap_it():
    # "|" where ids end: "so wha|t|ever", "whatever", "whatev|er": never the same ids.
    texts = [b"so whatever", b"whatever", b"whatever"]
    coded = [
        Coded(np.array(ids, np.int32), np.array(lengths, np.int32))
        for ids, lengths in (((1, 2, 3), (6, 1, 4)), ((4,), (8,)), ((5, 6), (6, 2)))
    ]
    table = word_table(texts, coded)
    assert table.rows.tolist() == [0, 0, 0] and table.counts.tolist() == [1, 1, 1]
    assert agreement(table) == 0


def test_neighbours_count_only_where_an_id_reaches_into_them():
    texts = [b"an able man", b"the able one"]
    coded = [
        Coded(np.array([1, 7, 2], np.int32), np.array([2, 5, 4], np.int32)),
        Coded(np.array([3, 7, 4], np.int32), np.array([3, 5, 4], np.int32)),
    ]
    assert agreement(word_table(texts, coded)) == 1
    # The space belongs to the word before: other ids in front, the same word all the same.
    coded[1] = Coded(np.array([3, 8, 4], np.int32), np.array([4, 4, 4], np.int32))
    assert agreement(word_table(texts, coded)) == 0


def test_bytes_spell_every_word_alike_and_an_arithmetic_code_none():
    texts = pieces_of(3000, 4)
    assert agreement(word_table(texts, TokenizerCode(Bytes()).encode(texts))) == 1
    code = TokenizerCode(StaticAC.train(texts, 256))
    assert agreement(word_table(texts, code.encode(texts))) == pytest.approx(0, abs=0.02)
