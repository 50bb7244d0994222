import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.analysis.contingency import (
    agreement,
    conditional_entropy_bits,
    contingency,
    entropy_bits,
    row_sums,
    single_column_share,
    transposed,
)

labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


def test_pairs_are_counted():
    table = contingency([3, 0, 3, 3], [1, 2, 1, 0])
    assert table.rows.tolist() == [0, 3, 3]
    assert table.columns.tolist() == [2, 0, 1]
    assert table.counts.tolist() == [1, 1, 2]
    assert [part.tolist() for part in row_sums(table)] == [[0, 3], [1, 3]]
    assert [part.tolist() for part in transposed(table)] == [[0, 1, 2], [3, 3, 0], [1, 2, 1]]


def test_entropies_of_a_table_whose_answer_is_known():
    # Row 0 says all of the column, row 1 leaves one bit: half of the pairs each.
    table = contingency([0, 0, 1, 1], [5, 5, 6, 7])
    assert conditional_entropy_bits(table) == pytest.approx(0.5)
    assert conditional_entropy_bits(transposed(table)) == pytest.approx(0.0, abs=1e-12)
    assert entropy_bits([2, 1, 1, 0]) == pytest.approx(1.5)
    assert math.copysign(1, entropy_bits([7])) == 1


@given(labels)
def test_agreement_is_that_of_all_pairs_of_occurrences(pairs):
    rows, columns = zip(*pairs, strict=True)
    means = []
    for i, row in enumerate(rows):
        others = [j for j in range(len(rows)) if rows[j] == row and j != i]
        if others:
            means.append(np.mean([columns[j] == columns[i] for j in others]))
    found = agreement(contingency(rows, columns))
    assert found == (pytest.approx(np.mean(means)) if means else None)


@given(labels)
def test_rows_with_one_column_agree_fully(pairs):
    table = contingency(*zip(*pairs, strict=True))
    share = single_column_share(table)
    if share == 1:
        assert agreement(table) == 1 and conditional_entropy_bits(table) == 0
    elif share is not None:
        assert agreement(table) < 1


def test_what_occurs_once_tells_nothing():
    table = contingency([0, 1, 2], [0, 0, 0])
    assert agreement(table) is None and single_column_share(table) is None
    assert agreement(transposed(table)) == 0


def test_agreement_does_not_depend_on_the_number_of_columns():
    """Independent labels agree as often as two draws of a column do; entropies are biased."""
    generator = np.random.default_rng(0)
    rows, columns = generator.integers(50, size=2000), generator.integers(400, size=2000)
    table = contingency(rows, columns)
    assert agreement(table) == pytest.approx(1 / 400, abs=2e-3)
    assert conditional_entropy_bits(table) < np.log2(400) - 3
