import numpy as np

from latent_jax.analysis.codes import Coded, TokenizerCode
from latent_jax.analysis.tokens.vocabulary import length_records, longest_pieces, most_used_pieces
from latent_jax.tokenizers import BPE, Bytes
from tests.analysis.made_codes import pieces_of


def test_lengths_are_counted_by_ids_and_by_tokens():
    pieces = (b"a", b"bc", b"d", b"efgh")
    coded = [Coded(np.array(ids, np.int32), np.zeros(0, np.int32)) for ids in ([0, 3, 0], [3, 3])]
    records, uses = length_records(pieces, coded)
    assert uses.tolist() == [2, 0, 0, 3]
    assert records == [
        {"piece_bytes": 1, "n_ids": 2, "n_used_ids": 1, "n_tokens": 2},
        {"piece_bytes": 2, "n_ids": 1, "n_used_ids": 0, "n_tokens": 0},
        {"piece_bytes": 4, "n_ids": 1, "n_used_ids": 1, "n_tokens": 3},
    ]
    assert longest_pieces(pieces, 2) == [3, 1]
    assert most_used_pieces(uses, 2) == [3, 0]


def test_every_id_of_a_trained_vocabulary_is_counted_once():
    texts = pieces_of(3000, 4)
    code = TokenizerCode(BPE.train(texts, 400))
    assert len(code.pieces) == code.n_ids == 399
    coded = code.encode(texts)
    records, uses = length_records(code.pieces, coded)
    assert sum(record["n_ids"] for record in records) == 399
    assert uses.sum() == sum(len(c.ids) for c in coded)
    assert sum(r["piece_bytes"] * r["n_tokens"] for r in records) == sum(map(len, texts))


def test_a_code_without_a_table_has_no_vocabulary():
    assert TokenizerCode(Bytes()).pieces is None
