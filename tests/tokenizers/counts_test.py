import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latent_jax.tokenizers.counts import check_precision, cumulative_counts, find_symbol

SCALES = st.sampled_from([1e-30, 1e-6, 1e-3, 1.0])


def counts_of(probabilities, precision):
    cumulative = np.zeros(len(probabilities) + 1, np.int64)
    cumulative_counts(np.asarray(probabilities, np.float32), precision, cumulative)
    return cumulative


@given(
    weights=st.lists(st.tuples(st.floats(0, 1, width=32), SCALES), min_size=2, max_size=257),
    precision=st.integers(9, 16),
)
def test_every_symbol_has_a_count_and_the_sum_is_exact(weights, precision):
    probabilities = np.array([w * scale for w, scale in weights]) + 1e-35
    cumulative = counts_of(probabilities / probabilities.sum(), precision)
    assert cumulative[0] == 0 and cumulative[-1] == 1 << precision
    assert np.diff(cumulative).min() >= 1


@pytest.mark.parametrize("precision", [9, 14, 16])
def test_one_certain_symbol_takes_all_but_one_count_each(precision):
    probabilities = np.zeros(257)
    probabilities[97] = 1.0
    counts = np.diff(counts_of(probabilities, precision))
    assert counts[97] == (1 << precision) - 256 and (np.delete(counts, 97) == 1).all()


@pytest.mark.parametrize("n_symbols", [256, 257, 511])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_more_symbols_than_half_of_all_counts_get_theirs(n_symbols, dtype):
    """257 symbols in 2^9, which is the least precision, and as many as there can be."""
    random = np.random.default_rng(n_symbols)
    tables = [random.dirichlet(np.full(n_symbols, a)) for a in (1e-3, 0.05, 1.0, 100.0)]
    tables += [np.full(n_symbols, 1 / n_symbols), np.eye(n_symbols)[-1]]
    for table in tables:
        scale = 1 if dtype == np.float32 else (1 << 20) / table.max()
        table = (table * scale).astype(dtype)
        cumulative = np.zeros(n_symbols + 1, np.int64)
        cumulative_counts(table, 9, cumulative)
        counts = np.diff(cumulative)
        assert cumulative[0] == 0 and cumulative[-1] == 512 and counts.min() >= 1
        above = np.maximum(table.astype(np.float64) * 512 / table.sum(dtype=np.float64) - 1, 0)
        shares = above / above.sum() * (512 - n_symbols) if above.sum() else above
        assert np.abs(counts - 1 - shares).max() <= 1


def test_rounding_costs_little():
    random = np.random.default_rng(0)
    costs = {}
    for precision in (9, 14, 16):
        cost = []
        for _ in range(50):
            p = random.dirichlet(np.full(256, 0.05)).astype(np.float32)
            q = np.diff(counts_of(p, precision)) / 2**precision
            seen = p > 0
            cost.append(np.sum(p[seen] * np.log2(p[seen] / q[seen])))
        costs[precision] = np.mean(cost)
    assert costs[16] < 0.005 < costs[14] < 0.02 < costs[9]


def test_a_count_points_to_its_symbol():
    cumulative = counts_of(np.random.default_rng(0).dirichlet(np.full(257, 0.1)), 12)
    for count in range(1 << 12):
        symbol = find_symbol(cumulative, count)
        assert cumulative[symbol] <= count < cumulative[symbol + 1]


def integer_counts(weights, precision):
    cumulative = np.zeros(len(weights) + 1, np.int64)
    cumulative_counts(np.asarray(weights, np.int32), precision, cumulative)
    return cumulative


@given(
    weights=st.lists(st.integers(0, (1 << 20) - 1), min_size=2, max_size=257),
    precision=st.integers(9, 16),
)
@example(weights=[(1 << 20) - 1] * 257, precision=16)
@example(weights=[0] * 256 + [1], precision=9)
def test_integers_are_shared_as_python_would(weights, precision):
    """The rule of the specification, in numbers without a width."""
    weights = [*weights, (1 << 20) - 1][-257:]  # the largest is always there
    above = [max((w << precision) - sum(weights), 0) for w in weights]
    rest, running, expected = (1 << precision) - len(weights), 0, [0]
    for v, part in enumerate(above):
        running += part
        expected.append(v + 1 + (running * rest + sum(above) // 2) // sum(above))
    assert integer_counts(weights, precision).tolist() == expected
    assert expected[-1] == 1 << precision


def test_where_no_integer_is_more_than_0_all_are_equal():
    counts = np.diff(integer_counts([0] * 256, 9))
    assert counts.tolist() == [2] * 256


def test_integers_and_floats_are_shared_alike():
    weights = (np.random.default_rng(0).dirichlet(np.full(257, 0.1)) * 2**20).astype(np.int64)
    difference = integer_counts(weights, 14) - counts_of(weights / weights.sum(), 14)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("precision", [8, 17])
def test_a_precision_out_of_range_is_refused(precision):
    with pytest.raises(ValueError, match=rf"precision={precision} is outside 9 to 16"):
        check_precision(precision)
