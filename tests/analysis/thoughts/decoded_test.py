"""Nearest tokens, how much they recur, and what they look like."""

import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.analysis.thoughts.decoded import (
    Words,
    decoded_record,
    nearest,
    recurrence,
    script_of,
)
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


def test_shares_of_bytes():
    words = Words(Bytes())
    shares = words.shares(np.frombuffer(b"a1=2", np.uint8))
    assert shares["number_share"] == 0.5 and shares["latin_share"] == 0.25
    assert shares["other_share"] == 0.75 and shares["cjk_share"] == 0
    assert words.shares(np.arange(257))["latin_share"] == pytest.approx(52 / 257)


def test_results_are_looked_for_among_five():
    top_N5 = np.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    record = decoded_record(
        Words(Bytes()), top_N5, np.array([5, 1]), np.array([0, 0]), np.array([1, 6])
    )
    assert record["result_in_five_share"] == 0.5 and record["other_result_in_five_share"] == 0
    assert record["written_first_share"] == 1 and record["n_vectors"] == 2
