"""Nearest tokens, how much they recur, and what they look like."""

import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.analysis.thoughts.decoded import (
    NO_SCRIPTS,
    Words,
    decoded_record,
    decoded_records,
    nearest,
    recurrence,
    script_of,
)
from latent_jax.analysis.thoughts.probes import Stands
from latent_jax.tokenizers import Bytes


def test_nearest_by_angle_and_by_logit_differ_where_rows_have_different_lengths():
    table_VD = jnp.array([[1.0, 0.0], [9.0, 9.0], [0.0, 1.0]])
    x_ND = jnp.array([[2.0, 0.1], [0.1, 2.0]])
    np.testing.assert_array_equal(nearest(table_VD, x_ND, by_cosine=True), [[0, 1, 2], [2, 1, 0]])
    np.testing.assert_array_equal(nearest(table_VD, x_ND, by_cosine=False), [[1, 0, 2], [1, 2, 0]])


def test_recurrence_is_the_entropy_and_the_share_of_five():
    assert recurrence(np.array([7, 7, 7])) == {"entropy_bits": 0.0, "most_frequent_share": 1.0}
    found = recurrence(np.arange(8))
    assert found == {"entropy_bits": pytest.approx(3), "most_frequent_share": pytest.approx(5 / 8)}
    found = recurrence(np.array([1, 1, 2, 3]))
    assert found["entropy_bits"] == pytest.approx(0.5 * 1 + 2 * 0.25 * 2)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (" the", "latin"),
        ("12é", "latin"),
        ("漢字", "cjk"),
        ("ひら", "cjk"),
        ("한", "cjk"),
        ("نص", "arabic"),
        ("да", "cyrillic"),
        ("ไทย", "thai"),
        ("λ", "other"),
        ("12 =", "other"),
    ],
)
def test_a_token_has_the_script_of_its_first_letter(text, script):
    assert script_of(text.encode()) == script


def test_a_token_that_is_half_a_character_has_no_script():
    assert script_of("漢".encode()[:2]) == "other"


class Pieces:
    """A vocabulary of the same few pieces."""

    pieces = (b" the", b" 12", b"1", "да".encode(), "漢".encode(), b"$", b"")
    vocab_size = len(pieces)

    def decode_batch(self, ids):
        return [b"".join(self.pieces[number] for number in row) for row in ids]


def test_bytes_have_no_shares_of_scripts_and_say_so():
    words = Words(Bytes())
    assert words.shares(np.frombuffer(b"a1=2", np.uint8)) == {"number_share": 0.5}
    seen = {
        "result_BJ": np.array([[49], [50]]),
        "problems": {
            "breakpoints_BJ": np.array([[2], [2]]),
            "segment_BT": np.array([[0, 1, 1], [0, 1, 1]]),
        },
    }
    near = np.array([49, 97, 98, 99, 100])
    for way in ("cosine", "logits"):
        seen[f"thoughts_by_{way}"] = np.broadcast_to(near, (2, 1, 1, 5))
        seen[f"text_by_{way}"] = np.broadcast_to(near, (2, 3, 5))
    one = np.ones((2, 1, 1), int)
    standing = Stands(49 * one, 0 * one, one > 0)
    records = decoded_records(words, seen, one > 0, standing)
    assert [(r["what"], r["by"]) for r in records[:4]] == [
        ("thoughts", "cosine"),
        ("text at breakpoints", "cosine"),
        ("text of answers", "cosine"),
        ("states before thoughts", "logits"),
    ]
    # The first problem has the result "1", which is among the five, and the second one has not.
    for record in records[:2]:
        assert record["result_in_five_share"] == record["digit_in_five_share"] == 0.5
        assert record["other_digit_in_five_share"] == 0.5 and record["entropy_bits"] == 0
    assert records[0]["written_first_share"] == 1
    assert records[-1]["what"] == "all tokens" and records[-1]["note"] == NO_SCRIPTS
    assert not any("cjk_share" in record for record in records)


def test_shares_of_scripts_stand_beside_those_of_the_vocabulary():
    words = Words(Pieces())
    everything = words.shares(np.arange(7))
    assert everything["cyrillic_share"] == everything["cjk_share"] == pytest.approx(1 / 7)
    assert everything["latin_share"] == pytest.approx(1 / 7) and everything["thai_share"] == 0
    assert words.shares(np.array([3, 3, 4, 0]))["cyrillic_share"] == 0.5


def test_the_first_digit_of_a_result_is_found_in_another_token():
    top_N5 = np.array([[1, 0, 0, 0, 0], [3, 4, 0, 0, 0], [2, 0, 0, 0, 0]])
    results_N, others_N = np.array([2, 2, 5]), np.array([5, 2, 2])
    record = decoded_record(Words(Pieces()), top_N5, results_N, others_N)
    assert record["result_in_five_share"] == 0
    assert record["digit_in_five_share"] == 0.5  # the third result begins without a digit
    assert record["other_digit_in_five_share"] == 0.5


def test_results_are_looked_for_among_five():
    top_N5 = np.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    record = decoded_record(
        Words(Bytes()), top_N5, np.array([5, 1]), np.array([0, 0]), np.array([1, 6])
    )
    assert record["result_in_five_share"] == 0.5 and record["other_result_in_five_share"] == 0
    assert record["written_first_share"] == 1 and record["n_vectors"] == 2
