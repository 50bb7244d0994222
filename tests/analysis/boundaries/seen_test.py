"""What is seen of a batch, and what follows from it, by hand."""

import numpy as np
import pytest

from latent_jax.analysis.boundaries.measure import chunk_record, length_records
from latent_jax.analysis.boundaries.seen import chunk_lengths, joined, places, seen_batch, starts
from latent_jax.chunking.dynamic.ends import StageEnds
from latent_jax.tokenizers import Bytes
from tests.analysis.boundaries.made_cuts import made

SEPARATOR = 256


def test_a_position_that_reads_an_id_says_whether_a_chunk_ends_with_it():
    ids_BT = np.array([[*b"ab cd", SEPARATOR, *b"ef"], [*b"gh", *6 * [SEPARATOR]]])
    weights_BT = np.array([8 * [1.0], 3 * [1.0] + 5 * [0.0]])
    is_first_BT = np.zeros((2, 8), bool)
    is_first_BT[0, [0, 3, 6, 7]] = True  # row, behind the space, document, behind e
    is_first_BT[1, [0, 2]] = True
    p_BT = np.where(is_first_BT, 0.9, 0.1)
    nats_BT = np.arange(16.0).reshape(2, 8)
    batch = {"ids": ids_BT, "weights": weights_BT}
    stage = StageEnds(is_first_BT, p_BT, 6, 1.0)
    seen = seen_batch(batch, [stage], nats_BT, Bytes())
    assert seen.text == b"ab cdefgh"
    assert seen.row_N.tolist() == 7 * [0] + 2 * [1]
    first, second, third = (seen.stretch_N == n for n in np.unique(seen.stretch_N))
    assert [x.sum() for x in (first, second, third)] == [5, 2, 2]
    np.testing.assert_array_equal(seen.nats_N, [0, 1, 2, 3, 4, 6, 7, 8, 9])
    (own,) = seen.stages
    assert np.flatnonzero(own.ends_N).tolist() == [2, 5, 8]
    assert np.flatnonzero(~seen.is_decided_N).tolist() == [6]  # the last one of its row
    assert np.isnan(own.p_N[6]) and own.p_N[2] == pytest.approx(0.9)
    is_start_N, is_told_N = starts(seen, own)
    assert np.flatnonzero(is_start_N).tolist() == [3, 6]
    assert np.flatnonzero(~is_told_N).tolist() == [0, 5, 7]
    assert places(seen, own).tolist() == [0, 0, 0, 1, 2, 0, 1, 0, 0]


def test_lengths_are_of_chunks_between_two_decisions():
    seen = made("ab|cde|f|ghij", "abc|d|e")
    (stage,) = seen.stages
    lengths = chunk_lengths(seen, stage)
    assert lengths.tolist() == [3, 1, 1]
    record = chunk_record(seen, stage._replace(n_dropped=2.0), lengths)
    assert record["n_bytes"] == 15 and record["n_chunks"] == 7
    assert record["bytes_per_chunk"] == pytest.approx(15 / 7)
    assert record["whole_chunk_bytes"] == pytest.approx(5 / 3)
    # Of 3, 1 and 1 the deviation is sqrt(8) / 3.
    assert record["variation_ratio"] == pytest.approx(8**0.5 / 5)
    assert record["overflow_share"] == pytest.approx(2 / 9)
    shares = [(r["length_bytes"], r["chunks_share"]) for r in length_records(lengths)]
    assert shares == [(1, pytest.approx(2 / 3)), (2, 0), (3, pytest.approx(1 / 3))]
    long = length_records(np.array([40, 2]))
    assert len(long) == 32 and long[-1]["is_this_and_longer"] and long[-1]["chunks_share"] == 0.5
    assert length_records(np.zeros(0, int)) == []


def test_a_text_without_a_whole_chunk_has_no_length():
    seen = made("abcdef")
    record = chunk_record(seen, seen.stages[0], chunk_lengths(seen, seen.stages[0]))
    assert record["variation_ratio"] is None and record["bytes_per_chunk"] == 6
    with pytest.raises(ValueError, match="the text is empty"):
        joined([])
